package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/// A container that runs in an OS, or did.
public final class Container {
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

  /// What there is to be written down of it.
  ///
  /// @param move what is being done with it, if anything is
  Placement placement(Optional<Placement.Move> move) {
    return new Placement(spec, os.name(), pid, move);
  }

  /// Writes down where it is.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException
  ///   [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  void place(Placement at) {
    at.write(placements);
  }

  /// Nothing is written down of it any more.
  void forget() {
    Placement.remove(placements, name());
  }

  /// What a move writes into its folder.
  MoveFiles files() {
    return new MoveFiles(home);
  }
}
