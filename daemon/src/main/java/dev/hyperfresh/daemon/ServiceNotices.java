package dev.hyperfresh.daemon;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.NotifySocket;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What the service manager that started this daemon is told; see sd_notify(3). Without one, nobody
/// is told anything. One thread, `hf-watchdog`, says at [#PERIOD] that the daemon answers, as long
/// as it does. Thread-safe.
final class ServiceNotices implements AutoCloseable {
  /// How often the daemon asks itself whether it answers; the unit allows 18 times as long.
  static final Duration PERIOD = Duration.ofSeconds(10);

  private static final Logger LOG = LoggerFactory.getLogger(ServiceNotices.class);
  private static final Duration ANSWER = Duration.ofSeconds(15);
  private static final byte[] QUESTION =
      "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
          .getBytes(StandardCharsets.US_ASCII);
  private static final String ANSWERED = "HTTP/1.1 200 ";

  private final Optional<Consumer<String>> listener;
  private final Duration period;
  private Optional<ScheduledExecutorService> watchdog = Optional.empty();
  private boolean closed;

  /// @param listener gets each message; empty when there is nobody
  ServiceNotices(Optional<Consumer<String>> listener, Duration period) {
    this.listener = listener;
    this.period = period;
  }

  /// Tells the manager that the environment names. One that cannot be reached is said once; it will
  /// find out itself what it was to be told.
  static ServiceNotices ofEnvironment() {
    Optional<Consumer<String>> listener = Optional.empty();
    try {
      listener = NotifySocket.ofEnvironment().map(socket -> socket::send);
    } catch (LinuxException | IllegalArgumentException e) {
      LOG.warn("the service manager cannot be told anything: {}", e.getMessage());
    }
    return new ServiceNotices(listener, PERIOD);
  }

  /// The daemon serves.
  void ready() {
    say("READY=1");
  }

  /// The daemon takes no new work, since a newer one asks to take over.
  void reloading() {
    say("RELOADING=1\nMONOTONIC_USEC=" + Clock.monotonicNanos() / 1000);
  }

  /// A newer daemon is the service from now on; this one has nothing more to say.
  void passOn(int pid) {
    say("MAINPID=" + pid);
    close();
  }

  /// The daemon ends.
  void stopping() {
    say("STOPPING=1");
  }

  private synchronized void say(String message) {
    if (closed || listener.isEmpty()) {
      return;
    }
    try {
      listener.get().accept(message);
    } catch (LinuxException e) {
      LOG.warn("the service manager was not told {}: {}", message, e.getMessage());
    }
  }

  /// Says at each period that all is well, while it is. Where it is not, nothing is said, and the
  /// manager ends the daemon in the end and starts another: guests run on meanwhile.
  synchronized void watch(BooleanSupplier healthy) {
    if (closed || listener.isEmpty()) {
      return;
    }
    ScheduledExecutorService thread =
        Executors.newSingleThreadScheduledExecutor(
            Thread.ofPlatform().name("hf-watchdog").daemon().factory());
    var _ =
        thread.scheduleWithFixedDelay(
            () -> {
              if (healthy.getAsBoolean()) {
                say("WATCHDOG=1");
              }
            },
            0,
            period.toMillis(),
            TimeUnit.MILLISECONDS);
    watchdog = Optional.of(thread);
  }

  /// Whether the daemon on `socket` lists its guests within some seconds.
  static boolean answers(Path socket) {
    try (UnixSocket connection = UnixSocket.connect(socket, ANSWER)) {
      connection.receiveTimeout(ANSWER);
      connection.send(QUESTION);
      byte[] head = new byte[ANSWERED.length()];
      int bytes = connection.receive(head, new ArrayList<>());
      boolean answered =
          bytes > 0 && new String(head, 0, bytes, StandardCharsets.US_ASCII).equals(ANSWERED);
      if (!answered) {
        LOG.warn("the daemon does not list its guests to itself");
      }
      return answered;
    } catch (LinuxException e) {
      LOG.warn("the daemon does not answer itself: {}", e.getMessage());
      return false;
    }
  }

  /// Says nothing more.
  @Override
  public synchronized void close() {
    closed = true;
    watchdog.ifPresent(ScheduledExecutorService::shutdownNow);
  }
}
