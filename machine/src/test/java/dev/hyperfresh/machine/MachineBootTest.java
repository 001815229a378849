package dev.hyperfresh.machine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import org.junit.jupiter.api.Test;

class MachineBootTest {
  /// With several, QEMU's translator ended machines now and then, and all guests in them.
  @Test
  void aTranslatedMachineHasOneProcessor() {
    assertThat(MachineBoot.granted(Accelerator.TCG, 1)).isEqualTo(1);
    assertThat(MachineBoot.granted(Accelerator.TCG, 8)).isEqualTo(1);
    assertThat(MachineBoot.granted(Accelerator.KVM, 8)).isEqualTo(8);
  }
}
