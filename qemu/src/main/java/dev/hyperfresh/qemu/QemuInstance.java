package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;

/// One QEMU process. See [Instance] for the order of calls.
final class QemuInstance implements Instance, Qmp.Listener {
  private static final String CHANNEL = "hf-channel";
  private static final String HAND_OVER = "hand-over";

  /// Far more than any local channel carries: QEMU must never throttle itself.
  private static final long MAX_BANDWIDTH = 1L << 40;

  /// Milliseconds; QEMU's own estimate decides when to stop the guest, and with the RAM left out
  /// nothing remains to be estimated.
  private static final long DOWNTIME_LIMIT = 2000;

  private final int generation;
  private final QemuRelease release;
  private final ChildProcess process;
  private final Path files;
  private final Path console;
  private final long guestMemoryBytes;
  private final InstanceEvents events;
  private final Transcript transcript = new Transcript();
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile CountDownLatch handOverOver = new CountDownLatch(1);
  private final byte[] handOverCommand =
      Qmp.encode("migrate", Map.of("uri", "fd:" + CHANNEL), HAND_OVER);
  private volatile boolean source;
  private long readBefore;
  private final Qmp qmp;

  /// Takes over `process` and opens its control channel at `qmpSocket`.
  ///
  /// @throws Qmp.QmpException when it does not answer; the caller still owns the process
  QemuInstance(
      Launch launch, QemuRelease release, ChildProcess process, Path qmpSocket, Path console) {
    this.generation = launch.generation();
    this.release = release;
    this.process = process;
    this.files = launch.files();
    this.console = console;
    this.guestMemoryBytes = launch.memory().bytes();
    this.events = launch.events();
    this.qmp =
        Qmp.open(
            UnixSocket.connect(qmpSocket),
            launch.spec().name() + "-" + generation,
            transcript,
            this,
            Qmp.PATIENCE);
  }

  @Override
  public int generation() {
    return generation;
  }

  @Override
  public Release release() {
    return release;
  }

  @Override
  public int pid() {
    return process.pid();
  }

  @Override
  public Path console() {
    return console;
  }

  @Override
  public void expect(Fd channel) {
    preparing(() -> {
      qmp.execute("getfd", Map.of("fdname", CHANNEL), channel);
      capabilities();
      readBefore = bytesRead();
      qmp.execute("migrate-incoming", Map.of("uri", "fd:" + CHANNEL));
    });
  }

  @Override
  public void connect(Fd channel) {
    preparing(() -> {
      source = true;
      handOverOver = new CountDownLatch(1);
      qmp.execute("getfd", Map.of("fdname", CHANNEL), channel);
      capabilities();
      qmp.execute(
          "migrate-set-parameters",
          Map.of("max-bandwidth", MAX_BANDWIDTH, "downtime-limit", DOWNTIME_LIMIT));
      var _ =
          qmp.expectAnswer(HAND_OVER)
              .whenComplete((_, refusal) -> {
                if (refusal != null) {
                  failed(String.valueOf(refusal.getMessage()));
                }
              });
    });
  }

  private void capabilities() {
    qmp.execute(
        "migrate-set-capabilities",
        Map.of("capabilities", List.of(capability("x-ignore-shared"), capability("events"))));
  }

  private static Map<String, ?> capability(String name) {
    return Map.of("capability", name, "state", true);
  }

  private void preparing(Runnable steps) {
    try {
      steps.run();
    } catch (Qmp.QmpException e) {
      throw Problem.REPLACE_PREPARE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void handOver() {
    qmp.post(handOverCommand);
  }

  @Override
  public void takeBack() {
    try {
      if (!isRunning()) {
        qmp.execute("migrate_cancel", Map.of());
        awaitHandOverOver();
      }
      if (!isRunning()) {
        qmp.execute("cont", Map.of());
      }
      qmp.execute("closefd", Map.of("fdname", CHANNEL));
    } catch (Qmp.QmpException e) {
      if (!isRunning()) {
        throw Problem.REPLACE_LOST.because(
            "The old hypervisor could not go on: " + e.getMessage(), e);
      }
    }
  }

  private boolean isRunning() {
    try {
      return qmp.execute("query-status", Map.of()).path("running").asBoolean(false);
    } catch (Qmp.QmpException e) {
      return false;
    }
  }

  /// A cancelled migration ends with an event; a migration that never began has none to wait for.
  private void awaitHandOverOver() {
    String status = qmp.execute("query-migrate", Map.of()).path("status").asString("none");
    if (List.of("active", "setup", "cancelling", "device").contains(status)) {
      try {
        if (!handOverOver.await(2, TimeUnit.SECONDS)) {
          throw new Qmp.QmpException("the hand-over did not end");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Override
  public long ramBytesCopied() {
    JsonNode ram = qmp.execute("query-migrate", Map.of()).path("ram");
    // QEMU's `total` counts every RAM block that the migration considered. The guest's RAM is one
    // block, so a smaller total says that it was left out as a whole, and what `normal-bytes`
    // counts are firmware images.
    boolean ramLeftOut = ram.path("total").asLong(Long.MAX_VALUE) < guestMemoryBytes;
    return ramLeftOut ? 0 : ram.path("normal-bytes").asLong(0);
  }

  @Override
  public long stateBytes() {
    return bytesRead() - readBefore;
  }

  /// `rchar` of proc(5): all bytes the process has read. The channel is a pipe because the kernel
  /// counts reads of pipes there, and not those of sockets.
  private long bytesRead() {
    try (Stream<String> lines = Files.lines(Path.of("/proc", Integer.toString(pid()), "io"))) {
      return lines
          .filter(line -> line.startsWith("rchar: "))
          .mapToLong(line -> Long.parseLong(line.substring(7)))
          .findFirst()
          .orElse(0);
    } catch (IOException | UncheckedIOException e) {
      return 0;
    }
  }

  @Override
  public void powerOff() {
    try {
      qmp.execute("system_powerdown", Map.of());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because("The guest cannot be asked: " + e.getMessage(), e);
    }
  }

  @Override
  public void end(Duration limit) {
    try {
      // The answer may never come: QEMU ends first.
      qmp.post(Qmp.encode("quit", Map.of(), "quit"));
    } catch (RuntimeException e) {
      transcript.sent("# quit: " + e.getMessage());
    }
    if (process.waitFor(limit).isEmpty()) {
      kill();
    }
    awaitEnded();
  }

  @Override
  public void kill() {
    process.kill();
    process.waitFor();
    awaitEnded();
  }

  /// After this every event of the instance has been delivered.
  private void awaitEnded() {
    try {
      if (!ended.await(10, TimeUnit.SECONDS)) {
        throw Problem.INTERNAL.because("The control channel of a dead process stays open.");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public int[] threads() {
    try (Stream<Path> tasks = Files.list(Path.of("/proc", Integer.toString(pid()), "task"))) {
      return tasks.mapToInt(task -> Integer.parseInt(task.getFileName().toString())).toArray();
    } catch (IOException | UncheckedIOException e) {
      return new int[0];
    }
  }

  @Override
  public void close() {
    qmp.close();
    awaitEnded();
    // Reaps the process if it has ended; if it lives, it goes on without us.
    var _ = process.waitFor(Duration.ZERO);
    transcript.writeTo(files.resolve("qmp.log"), release.name() + " generation " + generation);
    process.close();
  }

  @Override
  public void event(QmpMessage.Event event) {
    switch (event.name()) {
      case "STOP" -> events.on(new InstanceEvent.Stopped(generation, event.atMicros()));
      case "RESUME" -> events.on(new InstanceEvent.Resumed(generation, event.atMicros()));
      case "MIGRATION" -> migration(event.data().path("status").asString(""));
      case "SHUTDOWN" -> {
        if (event.data().path("guest").asBoolean(false)) {
          events.on(new InstanceEvent.PoweredOff(generation));
        }
      }
      default -> {}
    }
  }

  private void migration(String status) {
    switch (status) {
      case "completed" -> {
        handOverOver.countDown();
        if (source) {
          events.on(new InstanceEvent.HandOverSent(generation));
        }
      }
      case "failed" -> {
        handOverOver.countDown();
        failed("the migration failed");
      }
      case "cancelled" -> handOverOver.countDown();
      default -> {}
    }
  }

  private void failed(String reason) {
    events.on(new InstanceEvent.HandOverFailed(generation, reason));
  }

  @Override
  public void ended(String reason) {
    events.on(new InstanceEvent.Ended(generation, reason));
    ended.countDown();
  }
}
