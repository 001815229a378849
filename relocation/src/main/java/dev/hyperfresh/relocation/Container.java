package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Tap;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;

/// A container that runs in an OS, or did.
public final class Container {
  private static final System.Logger LOG = System.getLogger(Container.class.getName());

  /// What it does.
  public enum State {
    /// Its processes run.
    RUNNING,
    /// They stand still, between one OS and another.
    MOVING,
    /// They run, and a part of its memory is still in the OS that it has left.
    DRAINING,
    /// They have ended.
    STOPPED
  }

  private final ContainerSpec spec;
  private final Path home;
  private final Path placements;
  private final Optional<Tap> port;
  private final ReentrantLock lock = new ReentrantLock();
  private volatile OsVm os;
  private volatile State state = State.RUNNING;
  private volatile int pid;

  /// @param home its folder
  /// @param placements where its [Placement] is written
  Container(ContainerSpec spec, Path home, Path placements, Optional<Tap> port, OsVm os) {
    this.spec = spec;
    this.home = home;
    this.placements = placements;
    this.port = port;
    this.os = os;
  }

  /// What it is.
  public ContainerSpec spec() {
    return spec;
  }

  /// Its name.
  public String name() {
    return spec.name();
  }

  /// Where it runs.
  public OsVm os() {
    return os;
  }

  /// What it does.
  public State state() {
    return state == State.RUNNING && os.ended() ? State.STOPPED : state;
  }

  /// The number of its first process in its OS; 0 before there is one.
  public int pid() {
    return pid;
  }

  /// What it has written, on this host.
  public Path log() {
    return home.resolve("log");
  }

  /// Its folder on this host.
  Path home() {
    return home;
  }

  Optional<Tap> port() {
    return port;
  }

  /// Held while it is being moved, stopped or looked into.
  ReentrantLock lock() {
    return lock;
  }

  void is(State next) {
    state = next;
  }

  void runs(OsVm where, int process) {
    os = where;
    pid = process;
  }

  /// Writes down where it is.
  ///
  /// @param move what is being done with it, if anything is
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  void place(Optional<Placement.Move> move) {
    new Placement(spec, os.name(), pid, move).write(placements);
  }

  /// As [#place], where nothing else can be done when it fails: the next daemon asks once more.
  void placed(Optional<Placement.Move> move) {
    try {
      place(move);
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, name() + " is written down as it was", e);
    }
  }

  /// Nothing is written down of it any more.
  void forget() {
    Placement.remove(placements, name());
  }

  /// What an OS that fetches its memory has fetched.
  Path freed() {
    return home.resolve("freed");
  }

  /// What CRIU has written down of it.
  Path images() {
    return home.resolve("images");
  }

  /// Whether all that CRIU has written down of it is there.
  boolean hasImages() {
    return Files.exists(images().resolve("state.json"));
  }

  void forgetFreed() {
    delete(freed());
  }

  void forgetImages() {
    // With this one gone, the others are not used.
    delete(images().resolve("state.json"));
    delete(images());
  }

  private static void delete(Path path) {
    try (Stream<Path> files = Files.exists(path) ? Files.walk(path) : Stream.empty()) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    } catch (IOException | UncheckedIOException e) {
      LOG.log(System.Logger.Level.WARNING, path + " cannot be removed", e);
    }
  }
}
