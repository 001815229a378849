package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/// The control channel of one QEMU, for as long as its process lives. One that is lost before that
/// is opened again, by the thread that read the old one; what was reported meanwhile is asked for.
/// So its end is the end of the process.
final class QemuChannel {
  private static final Duration DRAIN_LIMIT = Duration.ofSeconds(2);

  /// How long after the end of its control channel a process is usually gone.
  private static final Duration END_GRACE = Duration.ofMillis(200);

  private static final Duration RECONNECT_LIMIT = Duration.ofSeconds(2);

  /// Longer than the last report of a process that is dead takes.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

  private final Launch launch;
  private final QemuProcess process;
  private final QemuReports reports;
  private final ControlWatcher watcher;
  private final Duration patience;
  private final Transcript transcript = new Transcript();
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile Qmp qmp;
  private volatile boolean closing;

  /// Whether every report of the process has reached us.
  private volatile boolean heardAll = true;

  /// Takes over a connected control channel.
  ///
  /// @param control belongs to this object even when this throws
  /// @param channel whose it is
  /// @param patience how long the answer to a command is awaited; a process that is starting has
  ///   longer
  /// @throws Qmp.QmpException when the process does not answer
  QemuChannel(
      Launch launch,
      QemuProcess process,
      QemuReports reports,
      UnixSocket control,
      Qmp.Channel channel,
      ControlWatcher watcher,
      Duration patience) {
    this.launch = launch;
    this.process = process;
    this.reports = reports;
    this.watcher = watcher;
    this.patience = patience;
    Connection first = new Connection();
    this.qmp = open(control, channel, first, startLimit(patience));
    first.establish();
  }

  private Qmp open(UnixSocket control, Qmp.Channel channel, Connection connection, Duration limit) {
    return Qmp.open(
        control,
        new Qmp.Use(
            watcher,
            new ControlWatcher.Party(launch.spec().name(), launch.generation(), process.pid()),
            patience,
            channel),
        launch.spec().name() + "-" + launch.generation(),
        transcript,
        connection,
        limit);
  }

  /// A process that is starting has longer for its first answers, but no longer than an ordinary
  /// one ever has: unless it always has longer, as in a machine that is translated.
  private static Duration startLimit(Duration patience) {
    Duration most = patience.compareTo(Qmp.PATIENCE) > 0 ? patience : Qmp.PATIENCE;
    Duration longer = patience.multipliedBy(3);
    return longer.compareTo(most) < 0 ? longer : most;
  }

  /// One connection. What comes of its end is nobody's affair until it has been opened.
  private final class Connection implements Qmp.Listener {
    private boolean established;
    private boolean over;

    @Override
    public void event(QmpMessage.Event event) {
      reports.heard(event);
    }

    @Override
    public void ended(String reason, boolean all) {
      synchronized (this) {
        over = true;
        notifyAll();
        if (!established) {
          return;
        }
      }
      lost(reason, all);
    }

    /// From now on its end is the process's affair.
    ///
    /// @throws Qmp.QmpException when it is over already
    synchronized void establish() {
      if (over) {
        throw new Qmp.QmpException("the control channel was lost at once");
      }
      established = true;
    }

    /// Waits for its end, so that the next channel has the peer for itself.
    synchronized void awaitOver() {
      long deadline = Clock.monotonicNanos() + RECONNECT_LIMIT.toNanos();
      try {
        for (long left = RECONNECT_LIMIT.toNanos(); !over && left > 0; ) {
          TimeUnit.NANOSECONDS.timedWait(this, left);
          left = deadline - Clock.monotonicNanos();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /// The connection that there is now.
  Qmp qmp() {
    return qmp;
  }

  /// Writes something down among the messages that passed.
  void note(String text) {
    transcript.sent("# " + text);
  }

  /// Whether every report of a process that writes no more has been delivered, after a wait.
  boolean hasHeardAll() {
    return (process.awaitEnd(Duration.ZERO) ? awaitEnded() : qmp.drain(DRAIN_LIMIT)) && heardAll;
  }

  /// Whether the process has ended and every report of it has been delivered, after a wait.
  boolean awaitEnded() {
    try {
      return ended.await(END_LIMIT.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /// The channel is over. On the thread that read it, which has nothing else to do any more.
  private void lost(String reason, boolean all) {
    heardAll &= all;
    if (closing) {
      ended.countDown();
      return;
    }
    if (process.awaitEnd(END_GRACE) || !reconnect(reason)) {
      if (!closing) {
        reports.ended(reason);
      }
      ended.countDown();
    }
  }

  /// Opens another channel, however long the process takes to serve it.
  ///
  /// @return false when the process ended instead, or nobody wants it any more
  private boolean reconnect(String reason) {
    heardAll = false;
    note(reason + "; the process lives, connecting again");
    while (!closing) {
      try {
        if (reconnected(process.reconnect())) {
          return true;
        }
      } catch (LinuxException | Qmp.QmpException | QemuProcess.TroubleException e) {
        note(String.valueOf(e.getMessage()));
      }
      if (process.awaitEnd(END_GRACE)) {
        return false;
      }
    }
    return false;
  }

  /// Opens a channel and asks on it for what was reported while nobody heard it. One on which that
  /// fails is ended before the next is opened: the process serves one client.
  private boolean reconnected(QemuProcess.Control control) {
    Connection connection = new Connection();
    Qmp next =
        open(
            control.socket(),
            control.kept() ? Qmp.Channel.FOUND : Qmp.Channel.OWN,
            connection,
            RECONNECT_LIMIT);
    try {
      catchUp(next);
      connection.establish();
    } catch (Qmp.QmpException e) {
      note(String.valueOf(e.getMessage()));
      next.close();
      connection.awaitOver();
      return false;
    }
    qmp = next;
    if (closing) {
      next.close();
    }
    reports.answering();
    return true;
  }

  private void catchUp(Qmp next) {
    RunState state = RunStates.ask(next);
    reports.saw(state);
    reports.catchUp(state, Migration.status(next, Migration.LIMIT));
    // Last of all: a freeze that sees it must also see the events above.
    heardAll = true;
  }

  /// Ends it and writes down what passed; the process, if it lives, goes on.
  void close() {
    end();
    writeDown();
  }

  /// As [#close], and writes nothing down.
  void end() {
    closing = true;
    qmp.close();
    if (!awaitEnded()) {
      note("the reader did not end");
    }
  }

  /// Writes down what passed until now.
  void writeDown() {
    transcript.writeTo(
        launch.files().resolve("qmp.log"),
        launch.release().name() + " generation " + launch.generation());
  }
}
