package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Processes that are refused by what they are, before they are asked anything.
@Timeout(60)
class QemuAdoptionTest {
  private static final GuestSpec SPEC =
      new GuestSpec(
          "web1",
          1,
          1 << 20,
          "pc-q35-7.2",
          "qemu64",
          GuestSpec.AcceleratorWish.TCG,
          Optional.empty(),
          List.of(),
          List.of());

  @TempDir Path folder;

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused(
      Problem problem, String... command) throws Exception {
    Process process = new ProcessBuilder(command).start();
    try {
      AdoptRequest request =
          new AdoptRequest(
              "web1",
              Math.toIntExact(process.pid()),
              folder.resolve("none.sock"),
              Optional.empty(),
              folder,
              false,
              Optional.empty(),
              false);
      return assertThatThrownBy(() -> new QemuAdoption(request).adopt())
          .isInstanceOfSatisfying(
              HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  /// What lies behind it in its file is not the guest's.
  @Test
  void aPartOfAFileIsTakenAgain() {
    int self = Math.toIntExact(ProcessHandle.current().pid());
    try (MemFd file = MemFd.create("whole", 1 << 20)) {
      int number = file.fd().number();
      Holdings held = new Qemu().holdings(SPEC, self, machine(number, 4096 + (1 << 19)));
      held.close();
      assertThat(held.memories()).hasSize(1);

      assertThatThrownBy(() -> new Qemu().holdings(SPEC, self, machine(number, (1 << 20) + 4096)))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_STATE))
          .hasMessageContaining("has 1048576 bytes and was memory of 1052672");
    }
  }

  private static AdoptedMachine machine(int descriptor, long bytes) {
    return new AdoptedMachine(
        List.of(),
        Path.of("/run/qmp"),
        Optional.empty(),
        List.of(new AdoptedMachine.Memory(descriptor, MemoryPart.ordinary(bytes))),
        List.of());
  }

  /// The program of the process is the loader, and a copy of that is no QEMU.
  @Test
  void aProgramThatADynamicLoaderRunsIsRefused() throws Exception {
    assertRefused(Problem.ADOPT_REFUSED, "/lib64/ld-linux-x86-64.so.2", "/bin/sleep", "60")
        .hasMessageContaining("started through the dynamic loader")
        .hasMessageContaining("start the QEMU itself");
  }

  @Test
  void oneThatWasStartedItselfIsLookedAtFurther() throws Exception {
    assertRefused(Problem.ADOPT_UNFIT, "/bin/sleep", "60").hasMessageContaining("none.sock");
  }
}
