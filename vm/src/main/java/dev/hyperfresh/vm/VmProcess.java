package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuProcess;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/// The process of this host that is the hardware of a virtual machine, and who is to be told of its
/// end. A thread of its own waits for that. Thread-safe.
final class VmProcess {
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);

  /// How soon it is seen that a machine is let go of.
  private static final Duration LOOK = Duration.ofMillis(200);

  private final String label;
  private final HostProcess process;

  /// What is to run when the machine has ended. Guarded by itself.
  private final List<Runnable> ends = new ArrayList<>();

  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread watcher;
  private volatile boolean released;

  /// @param label of the machine, for people
  VmProcess(String label, HostProcess process) {
    this.label = label;
    this.process = process;
    this.watcher =
        Thread.ofPlatform()
            .name("hf-" + label.replace(' ', '-'))
            .daemon()
            .start(this::awaitProcess);
  }

  private void awaitProcess() {
    while (!process.awaitEnd(LOOK)) {
      if (released) {
        return;
      }
    }
    ended.countDown();
    List<Runnable> whoWaits;
    synchronized (ends) {
      whoWaits = List.copyOf(ends);
      ends.clear();
    }
    whoWaits.forEach(Runnable::run);
  }

  /// Has `told` run once, on a thread that must not be held, when the process ends; at once when it
  /// has. Who asked first is told first.
  void onEnd(Runnable told) {
    boolean now;
    synchronized (ends) {
      now = ended();
      if (!now) {
        ends.add(told);
      }
    }
    if (now) {
      told.run();
    }
  }

  /// The machine, for people.
  String label() {
    return label;
  }

  /// By descriptor.
  PidFd pidFd() {
    return process.pidFd();
  }

  int pid() {
    return process.pid();
  }

  /// Whether it is gone, and those who wait are being told.
  boolean ended() {
    return ended.getCount() == 0;
  }

  /// Whether it has ended, also when nobody was told yet.
  boolean exited() {
    return ended() || process.pidFd().exited();
  }

  /// Whether it was let go of.
  boolean released() {
    return released;
  }

  /// Lets go of it: nobody is told of its end any more.
  void release() {
    released = true;
  }

  /// After [#release], until nobody looks at the process any more.
  void awaitRelease() {
    try {
      watcher.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Ends it, and returns when it is gone. Does nothing the second time.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#INTERNAL] when it lives on
  void kill() {
    try {
      process.kill();
    } catch (LinuxException | ClosedException | QemuProcess.TroubleException e) {
      if (!ended()) {
        throw Problem.INTERNAL.because(
            "Process " + pid() + " of " + label + " does not end: " + e.getMessage(), e);
      }
    }
    awaitEnd();
  }

  private void awaitEnd() {
    try {
      if (!ended.await(KILL_LIMIT.toSeconds(), TimeUnit.SECONDS)) {
        throw Problem.INTERNAL.because("Process " + pid() + " of " + label + " does not end.");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Closes what this process has of it, and leaves it as it is.
  void close() {
    process.close();
  }
}
