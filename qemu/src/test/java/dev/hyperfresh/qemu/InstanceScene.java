package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QmpConversation.Peer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// An instance whose process is scripted, so that its channel breaks at an exact moment.
@Timeout(60)
abstract class InstanceScene {
  static final int GENERATION = 3;

  @TempDir Path files;

  final MemFd memory = MemFd.create("test", 1 << 20);
  final BlockingQueue<InstanceEvent> events = new LinkedBlockingQueue<>();
  final ScriptedProcess process = new ScriptedProcess();
  final Peer first = new Peer();
  final Peer second = new Peer();

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

  QemuInstance instance() {
    return instance(GENERATION, Optional.empty(), Duration.ofSeconds(10));
  }

  QemuInstance instance(int generation, Optional<AdoptedMachine> adopted, Duration patience) {
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
            GuestMemory.of(memory),
            List.of(),
            files,
            files,
            generation,
            Confinement.NONE,
            events::add,
            adopted);
    return new QemuInstance(
        launch,
        process,
        first.ours,
        Qmp.Channel.OWN,
        Path.of(""),
        Rehearser.NONE,
        ControlWatcher.NONE,
        patience);
  }

  InstanceEvent next() throws InterruptedException {
    return Objects.requireNonNull(events.poll(20, TimeUnit.SECONDS), "no event");
  }

  static String status(String id, String status) {
    return QmpConversation.success(id, "{\"status\":\"" + status + "\"}");
  }
}
