package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.TcpListener;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/// The TCP port of a SPICE server. QEMU takes one when it starts or never, and when a later
/// instance starts, another one has it. So this process listens there in its place, and passes each
/// client on as it comes (`add_client`): who the client is, and whether it knows the password, is
/// for QEMU to see. While the guest changes hands, those who come wait.
///
/// One thread of its own waits for clients; all else may be called from any thread.
final class SpiceDoor implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(SpiceDoor.class.getName());

  /// As the QEMU calls what it is passed.
  private static final String CLIENT = "hf-spice-client";

  private static final Duration END_LIMIT = Duration.ofSeconds(2);

  /// Between two tries, where this process may have no more descriptors for example.
  private static final long PAUSE_NANOS = 1_000_000_000;

  private final String guest;
  private final Supplier<Qmp> qemu;
  private Optional<TcpListener> listener = Optional.empty();
  private Optional<Thread> thread = Optional.empty();
  private boolean held;
  private boolean closed;

  /// One that is not open yet.
  ///
  /// @param qemu the control channel that there is at the time
  SpiceDoor(String guest, Supplier<Qmp> qemu) {
    this.guest = guest;
    this.qemu = qemu;
  }

  /// Has it open where the instance has a port.
  Optional<TakenLater> takenLater(Launch launch) {
    return CommandLine.takenLater(launch)
        .spice()
        .flatMap(server ->
            server
                .port()
                .map(port ->
                    new TakenLater(
                        "Its SPICE server does not listen as before, at " + server.where(),
                        TakenLater.FREE,
                        (_, _) -> open(port))));
  }

  /// Listens, unless it does so already.
  ///
  /// @throws Qmp.QmpException when it cannot
  synchronized void open(InetSocketAddress port) {
    if (closed || listener.isPresent()) {
      return;
    }
    try {
      TcpListener opened = TcpListener.listen(port);
      listener = Optional.of(opened);
      thread =
          Optional.of(
              Thread.ofPlatform().name("hf-spice-" + guest).daemon().start(() -> serve(opened)));
    } catch (LinuxException e) {
      throw new Qmp.QmpException(String.valueOf(e.getMessage()));
    }
  }

  private void serve(TcpListener opened) {
    try (opened) {
      while (!isClosed()) {
        try (Fd client = opened.accept()) {
          pass(client);
        } catch (LinuxException e) {
          if (!isClosed()) {
            LOG.log(System.Logger.Level.DEBUG, "guest " + guest + ": a client of SPICE is lost", e);
            LockSupport.parkNanos(PAUSE_NANOS);
          }
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized boolean isClosed() {
    return closed;
  }

  private synchronized void pass(Fd client) throws InterruptedException {
    while (held && !closed) {
      wait();
    }
    if (closed) {
      return;
    }
    try {
      Qmp now = qemu.get();
      now.execute("getfd", Map.of("fdname", CLIENT), client);
      now.execute("add_client", Map.of("protocol", "spice", "fdname", CLIENT));
    } catch (Qmp.QmpException e) {
      LOG.log(
          System.Logger.Level.WARNING,
          "guest {0}: a client of SPICE is not passed on: {1}",
          guest,
          e.getMessage());
    }
  }

  /// Lets clients wait from now on. One that is just being passed on has been when this returns.
  synchronized void hold() {
    held = true;
  }

  /// Lets in who waits.
  synchronized void release() {
    held = false;
    notifyAll();
  }

  /// Listens no more; clients that were passed on stay.
  @Override
  public void close() {
    Optional<Thread> waiting;
    synchronized (this) {
      if (!closed) {
        listener.ifPresent(TcpListener::shutdown);
      }
      closed = true;
      waiting = thread;
      notifyAll();
    }
    waiting.ifPresent(LockSupport::unpark);
    try {
      if (waiting.isPresent()) {
        // The next instance has the same port.
        var _ = waiting.get().join(END_LIMIT);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
