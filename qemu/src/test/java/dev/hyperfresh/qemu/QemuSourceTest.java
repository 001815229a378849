package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.MemoryPart;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// How a source is taken back, whose memory was copied or mapped.
class QemuSourceTest extends InstanceScene {
  private QemuInstance source(boolean privateMemory) {
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of(),
            Path.of("/run/qmp"),
            Optional.empty(),
            List.of(new Memory(privateMemory ? Memory.PRIVATE : 3, MemoryPart.ordinary(1 << 20))),
            List.of());
    return instance(1, Optional.of(machine), Duration.ofSeconds(10));
  }

  /// The stop of a hand-over has another name where the memory is copied: somebody else has paused
  /// the guest.
  @ParameterizedTest
  @CsvSource({"true, paused, false", "true, postmigrate, true", "false, paused, true"})
  void aGuestThatSomebodyPausedWhileItWasCopiedStaysSo(
      boolean privateMemory, String state, boolean continued) {
    first.answer(
        "query-status",
        (id, peer) -> peer.send(status(id, first.commands.contains("cont") ? "running" : state)));
    try (QemuInstance source = source(privateMemory)) {
      source.takeBack();
    }
    assertThat(first.commands.contains("cont")).isEqualTo(continued);
  }

  /// It gives all memory back that it had mapped, and answers nothing meanwhile.
  @Test
  void aSourceThatIsBusyWithItsCopyIsWaitedFor() {
    first.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    first.answer(
        "query-migrate",
        (id, peer) ->
            CompletableFuture.delayedExecutor(
                    Migration.LIMIT.toMillis() + 300, TimeUnit.MILLISECONDS)
                .execute(() -> peer.send(status(id, "failed"))));
    try (QemuInstance source = source(true)) {
      source.takeBack();
    }
    assertThat(first.commands).containsSubsequence("query-migrate", "query-status", "closefd");
  }
}
