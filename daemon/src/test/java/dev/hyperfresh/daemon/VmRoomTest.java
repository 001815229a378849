package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.QemuRelease;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// What virtual machines run on.
class VmRoomTest {
  private static final QemuRelease TOO_OLD = Installed.qemu("7.2.22");
  private static final QemuRelease LAST = Installed.qemu("10.0.2");
  private static final QemuRelease NEWEST = Installed.qemu("10.1.0");

  private static QemuRelease hardware(Optional<String> last, QemuRelease... installed) {
    return VmRoom.hardware(List.of(installed), last, Machines.ABOUT);
  }

  @Test
  void oneThatIsNewRunsOnTheNewest() {
    assertThat(hardware(Optional.empty(), TOO_OLD, LAST, NEWEST)).isEqualTo(NEWEST);
  }

  @Test
  void oneThatIsStartedAgainRunsOnWhatItRanOnWhileThatIsInstalled() {
    Optional<String> last = Optional.of(LAST.name());

    assertThat(hardware(last, TOO_OLD, LAST, NEWEST)).isEqualTo(LAST);
    assertThat(hardware(last, TOO_OLD, NEWEST)).isEqualTo(NEWEST);
    assertThatThrownBy(() -> hardware(last, TOO_OLD))
        .hasMessageContaining("needs a QEMU of this host as its hardware");
  }
}
