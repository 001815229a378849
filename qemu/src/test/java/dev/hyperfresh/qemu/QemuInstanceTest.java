package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QmpConversation.Peer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// An instance whose process is scripted, so that its channel breaks at an exact moment.
@Timeout(60)
class QemuInstanceTest {
  private static final int GENERATION = 3;

  @TempDir Path files;

  private final MemFd memory = MemFd.create("test", 1 << 20);
  private final BlockingQueue<InstanceEvent> events = new LinkedBlockingQueue<>();
  private final Scripted process = new Scripted();
  private final Peer first = new Peer();
  private final Peer second = new Peer();

  @BeforeEach
  void greet() {
    for (Peer peer : List.of(first, second)) {
      peer.send(QmpConversation.GREETING);
      peer.start();
    }
  }

  @AfterEach
  void close() {
    first.close();
    second.close();
    memory.close();
  }

  @Test
  void aHandOverIsPreparedAndThenOneWrite() throws Exception {
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      assertThat(first.commands)
          .containsExactly(
              "qmp_capabilities", "getfd", "migrate-set-capabilities", "migrate-set-parameters");

      first.answer(
          "migrate",
          (id, peer) -> {
            peer.send(QmpConversation.success(id, "{}") + QmpConversation.event("STOP", 7));
            peer.send(migration("completed"));
          });
      source.handOver();

      assertThat(next()).isEqualTo(new InstanceEvent.Stopped(GENERATION, 1_000_007));
      assertThat(next()).isInstanceOf(InstanceEvent.HandOverSent.class);
      assertThat(first.commands).endsWith("migrate").hasSize(5);
    }
  }

  @Test
  void aHandOverThatIsRefusedHasFailed() throws Exception {
    first.answer(
        "migrate",
        (id, peer) -> peer.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"no\"}}\r\n"));
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      source.handOver();

      assertThat(next()).isEqualTo(new InstanceEvent.HandOverFailed(GENERATION, "no"));
    }
  }

  @Test
  void aTargetThatRanWhileNobodyHeardItHasResumed() throws Exception {
    second.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    second.answer("query-migrate", (id, peer) -> peer.send(status(id, "completed")));
    try (QemuInstance target = instance()) {
      target.expect(memory.fd());
      process.next = second;
      first.hangUp();

      assertThat(next()).isEqualTo(new InstanceEvent.Resumed(GENERATION, OptionalLong.empty()));
      assertThat(next()).isEqualTo(new InstanceEvent.Answering(GENERATION));
      assertThat(events).isEmpty();
    }
  }

  @Test
  void aSourceWhoseHandOverFailedUnheardTellsSo() throws Exception {
    second.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    second.answer("query-migrate", (id, peer) -> peer.send(status(id, "failed")));
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      process.next = second;
      first.hangUp();

      assertThat(next())
          .isEqualTo(new InstanceEvent.HandOverFailed(GENERATION, "the migration is failed"));
      assertThat(next()).isEqualTo(new InstanceEvent.Answering(GENERATION));
    }
  }

  @Test
  void theEndOfTheProcessIsTheEndOfTheInstance() throws Exception {
    try (QemuInstance source = instance()) {
      process.over = true;
      first.hangUp();

      assertThat(next())
          .isEqualTo(
              new InstanceEvent.Ended(GENERATION, "the hypervisor closed its control channel"));
      assertThatThrownBy(source::takeBack)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.REPLACE_LOST));
    }
    assertThat(files.resolve("qmp.log")).isNotEmptyFile();
  }

  @Test
  void aGuestThatStandsAfterAHandOverGoesOn() {
    first.answer(
        "query-status",
        (id, peer) ->
            peer.send(status(id, first.commands.contains("cont") ? "running" : "postmigrate")));
    try (QemuInstance source = instance()) {
      source.takeBack();
    }
    assertThat(first.commands)
        .containsSubsequence("query-migrate", "query-status", "cont", "query-status", "closefd");
  }

  private QemuInstance instance() {
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            1 << 20,
            "pc-q35-7.2",
            "qemu64",
            AcceleratorWish.AUTO,
            Optional.empty(),
            List.of(),
            List.of());
    QemuRelease release =
        new QemuRelease(
            "qemu-7.2.22",
            "7.2.22",
            Path.of("/opt/qemu/bin/qemu"),
            List.of(),
            List.of(),
            "0",
            Set.of("pc-q35-7.2"),
            Set.of("qemu64"),
            Set.of(),
            "a test");
    Launch launch =
        new Launch(
            spec,
            release,
            Accelerator.TCG,
            memory,
            List.of(),
            files,
            files,
            GENERATION,
            events::add);
    return new QemuInstance(
        launch,
        process,
        first.ours,
        Qmp.Channel.OWN,
        Path.of(""),
        Rehearser.NONE,
        ControlWatcher.NONE,
        Duration.ofSeconds(10));
  }

  private InstanceEvent next() throws InterruptedException {
    InstanceEvent event = events.poll(20, TimeUnit.SECONDS);
    if (event == null) {
      throw new AssertionError("no event");
    }
    return event;
  }

  private static String status(String id, String status) {
    return QmpConversation.success(id, "{\"status\":\"" + status + "\"}");
  }

  private static String migration(String status) {
    return "{\"timestamp\":{\"seconds\":1,\"microseconds\":9},\"event\":\"MIGRATION\","
        + "\"data\":{\"status\":\""
        + status
        + "\"}}\r\n";
  }

  /// A process that ends when the test says so, and is connected to the peer that the test says.
  private static final class Scripted implements QemuProcess {
    private volatile boolean over;
    private volatile @Nullable Peer next;

    @Override
    public int pid() {
      return 1;
    }

    @Override
    public Control reconnect() {
      Peer peer = next;
      if (peer == null) {
        throw new TroubleException("nobody listens");
      }
      return new Control(peer.ours, false);
    }

    @Override
    public void stop() {}

    @Override
    public boolean stands() {
      return true;
    }

    @Override
    public void goOn() {}

    @Override
    public void condemn() {
      over = true;
    }

    @Override
    public boolean awaitEnd(Duration limit) {
      return over;
    }

    @Override
    public void kill() {
      over = true;
    }

    @Override
    public long bytesRead() {
      return 0;
    }

    @Override
    public OptionalLong pageFaults() {
      return OptionalLong.empty();
    }

    @Override
    public long populate(MemFd memory) {
      return 0;
    }

    @Override
    public boolean sharesMemory(MemFd memory) {
      return true;
    }

    @Override
    public List<Check> diskChecks() {
      return List.of();
    }

    @Override
    public String confinement() {
      return "";
    }

    @Override
    public String lastWords() {
      return "";
    }

    @Override
    public void close() {}
  }
}
