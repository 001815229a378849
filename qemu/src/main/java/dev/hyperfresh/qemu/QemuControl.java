package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import tools.jackson.databind.JsonNode;

/// The control channel of a QEMU that is the hardware of a machine: the devices of that machine
/// come and go through it. Thread-safe.
public final class QemuControl implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  /// The options that give every such QEMU its sandbox.
  public static final List<String> SANDBOX = List.of("-sandbox", CommandLine.SANDBOX);

  /// QEMU refused a command, or does not answer.
  public static final class RefusedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private RefusedException(Throwable cause) {
      super(cause.getMessage(), cause);
    }
  }

  private final Qmp qmp;
  private final Path log;
  private final Transcript transcript;
  private final Gone gone;

  private QemuControl(Qmp qmp, Path log, Transcript transcript, Gone gone) {
    this.qmp = qmp;
    this.log = log;
    this.transcript = transcript;
    this.gone = gone;
  }

  /// Takes over a connected socket.
  ///
  /// @param name for people
  /// @param log where the last messages are written to when the channel is closed
  /// @param limit how long the greeting is awaited
  /// @throws RefusedException when there is none
  public static QemuControl open(UnixSocket socket, String name, Path log, Duration limit) {
    Transcript transcript = new Transcript();
    Gone gone = new Gone();
    try {
      return new QemuControl(
          Qmp.open(
              socket,
              new Qmp.Use(ControlWatcher.NONE, new ControlWatcher.Party("", 0, 0), PATIENCE),
              name,
              transcript,
              gone,
              limit),
          log,
          transcript,
          gone);
    } catch (Qmp.QmpException e) {
      throw new RefusedException(e);
    }
  }

  /// Runs one command and returns its `return` member; descriptors travel with it.
  ///
  /// @throws RefusedException when it fails
  public JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    try {
      return qmp.execute(command, arguments, descriptors);
    } catch (Qmp.QmpException e) {
      throw new RefusedException(e);
    }
  }

  /// Waits for the event `DEVICE_DELETED` of a device, which may have come already.
  ///
  /// @return false when it does not come within `limit`
  public boolean awaitDeleted(String device, Duration limit) {
    return gone.await(device, limit);
  }

  /// Whether the channel has not ended.
  public boolean isOpen() {
    return qmp.isOpen();
  }

  /// Lets go of QEMU, which goes on.
  @Override
  public void close() {
    qmp.close();
    transcript.writeTo(log, "machine");
  }

  /// The devices that are gone.
  private static final class Gone implements Qmp.Listener {
    /// Far more than a machine loses between two waits.
    private static final int MOST = 1000;

    /// Longer than any name that is given to a device here.
    private static final int LONGEST = 100;

    private final List<String> devices = new ArrayList<>();

    @Override
    public synchronized void event(QmpMessage.Event event) {
      String device = event.data().path("device").asString("");
      if (event.name().equals("DEVICE_DELETED") && device.length() <= LONGEST) {
        if (devices.size() == MOST) {
          devices.removeFirst();
        }
        devices.add(device);
        notifyAll();
      }
    }

    @Override
    public synchronized void ended(String reason, boolean heardAll) {
      notifyAll();
    }

    synchronized boolean await(String device, Duration limit) {
      long deadline = Clock.monotonicNanos() + limit.toNanos();
      while (!devices.remove(device)) {
        long left = deadline - Clock.monotonicNanos();
        if (left <= 0) {
          return false;
        }
        try {
          TimeUnit.NANOSECONDS.timedWait(this, left);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          return false;
        }
      }
      return true;
    }
  }
}
