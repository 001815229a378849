package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/// A container that runs in an OS, or did.
public final class Container {
  /// Where it is on its way.
  enum State {
    /// Its processes run.
    RUNNING,
    /// They stand still, between one OS and another.
    MOVING,
    /// They run, and a part of its memory is still in the OS that it has left.
    DRAINING
  }

  /// How it ended, if it was still in that OS.
  private record End(OsVm where, ContainerState how) {}

  private final ContainerSpec spec;
  private final ContainerFolder folder;
  private final Path placements;
  private final Optional<Tap> port;
  private final ReentrantLock lock = new ReentrantLock();
  private volatile OsVm os;
  private volatile State state = State.RUNNING;
  private volatile Optional<End> end = Optional.empty();
  private volatile Runnable changed = () -> {};
  private volatile int pid;

  /// @param placements where its [Placement] is written
  Container(
      ContainerSpec spec, ContainerFolder folder, Path placements, Optional<Tap> port, OsVm os) {
    this.spec = spec;
    this.folder = folder;
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

  /// What it does, or how it ended.
  public ContainerState state() {
    OsVm now = os;
    return end.filter(last -> last.where().equals(now)).map(End::how).orElseGet(() -> on(now));
  }

  private ContainerState on(OsVm now) {
    return switch (state) {
      case MOVING -> new ContainerState.Moving();
      case DRAINING -> new ContainerState.Draining();
      case RUNNING ->
          now.ended()
              ? new ContainerState.Lost(now.name(), Instant.now())
              : new ContainerState.Running();
    };
  }

  /// The number of its first process in its OS; 0 before there is one.
  public int pid() {
    return pid;
  }

  /// What it has written, on this host. An OS may put anything there.
  public Path log() {
    return folder.log();
  }

  /// Its folder on this host.
  ContainerFolder folder() {
    return folder;
  }

  Optional<Tap> port() {
    return port;
  }

  /// Held while it is being moved, stopped or looked into.
  ReentrantLock lock() {
    return lock;
  }

  /// Takes the lock if it becomes free in time.
  boolean lock(Duration patience) {
    try {
      return lock.tryLock(patience.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  void is(State next) {
    state = next;
    if (next == State.RUNNING) {
      changed.run();
    }
  }

  /// A move has found it ended. If it is known how, that stays.
  void stops(ContainerState.Ended how) {
    state = State.RUNNING;
    ended(os, how);
  }

  /// A move has lost it, and has killed what was left of it: that is how it ended, whatever was
  /// known before.
  void lost(ContainerState.Ended how) {
    state = State.RUNNING;
    is(new End(os, how));
  }

  void runs(OsVm where, int process) {
    synchronized (this) {
      os = where;
      pid = process;
      end = Optional.empty();
    }
    changed.run();
  }

  /// Its first process has ended in `where`, which counts if it is there. The first to say how is
  /// right.
  void ended(OsVm where, ContainerState how) {
    synchronized (this) {
      if (end.isPresent() || !where.equals(os)) {
        return;
      }
    }
    is(new End(where, how));
  }

  private void is(End next) {
    synchronized (this) {
      end = Optional.of(next);
      notifyAll();
    }
    changed.run();
  }

  /// Waits until its end is known.
  ///
  /// @return whether it is, within `limit`
  boolean hasEnded(Duration limit) {
    long deadline = System.nanoTime() + limit.toNanos();
    synchronized (this) {
      try {
        for (long left = limit.toNanos();
            left > 0 && end.isEmpty();
            left = deadline - System.nanoTime()) {
          TimeUnit.NANOSECONDS.timedWait(this, left);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
    return state().hasEnded();
  }

  /// Has `look` run when it has come to another OS or has ended. It must not wait: a container
  /// stands still meanwhile.
  void onChange(Runnable look) {
    changed = look;
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
}
