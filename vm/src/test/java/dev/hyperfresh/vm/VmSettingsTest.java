package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class VmSettingsTest {
  private static final Path NOWHERE = Path.of("/none");

  private static int granted(Accelerator accelerator, int asked) {
    QemuRelease qemu =
        new QemuRelease(
            "qemu-10.0.2",
            "10.0.2",
            NOWHERE,
            List.of(),
            List.of(),
            "",
            Set.of(),
            Set.of(),
            Set.of(),
            "a test");
    return new VmSettings<>("m1", new IdleHost.Plain("r1"), qemu, accelerator, asked, 1L << 30)
        .dependable(1)
        .vcpus();
  }

  /// With several, QEMU's translator ended machines now and then, and all guests in them.
  @Test
  void aTranslatedMachineHasOneProcessor() {
    assertThat(granted(Accelerator.TCG, 1)).isEqualTo(1);
    assertThat(granted(Accelerator.TCG, 8)).isEqualTo(1);
    assertThat(granted(Accelerator.KVM, 8)).isEqualTo(8);
  }
}
