package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.util.Optional;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Processes that are refused by what they are, before they are asked anything.
@Timeout(60)
class QemuAdoptionTest {
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
