package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class QemuBuildTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)|7.2.22|Debian 1:7.2+dfsg-7+deb12u18+b3|7.2",
        "9.2.0 (pve-qemu-kvm_9.2.0-7)|9.2.0|pve-qemu-kvm_9.2.0-7|9.2",
        "8.2.2 (qemu-8.2.2-1.fc40)|8.2.2|qemu-8.2.2-1.fc40|8.2",
        "10.1.0-rc2 (v10.1.0-rc2-5-gabc)|10.1.0-rc2|v10.1.0-rc2-5-gabc|10.1",
        "10.0.2|10.0.2|''|10.0",
      })
  void aProgramSaysWhichBuildItIs(String text, String version, String packaging, String series) {
    QemuBuild build =
        QemuBuild.of(QemuBuild.MARK + text + "\nCopyright (c) 2003-2022 Fabrice Bellard", "ab");

    assertThat(build).isEqualTo(new QemuBuild(version, packaging, "ab"));
    assertThat(build.isKnown()).isTrue();
    assertThat(build.series()).isEqualTo(series);
    assertThat(build.label()).isEqualTo(text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "QEMU", "QEMU emulator version ", "QEMU emulator version \u001b[2J"})
  void anotherTextSaysNothing(String text) {
    assertThat(QemuBuild.of(text, "").label()).isEqualTo("unknown");
    assertThat(QemuBuild.of(text, "0fbbd5ca8d2d0a325320").label()).isEqualTo("build 0fbbd5ca8d2d");
    assertThat(QemuBuild.of(text, "").series()).isEmpty();
  }

  /// Anybody can write a program.
  @Test
  void nothingOfItControlsATerminal() {
    assertThat(QemuBuild.of(QemuBuild.MARK + "1.0 (\u001b]0;x\u0007)", "").label())
        .isEqualTo("1.0");
    assertThat(QemuBuild.of(QemuBuild.MARK + "1.0 (" + "x".repeat(200) + ")", "").label())
        .isEqualTo("1.0");
    assertThat(QemuBuild.of(QemuBuild.MARK + "1." + "1".repeat(200), "").label().length())
        .isLessThan(50);
  }

  @Test
  void theShortLabelIsThatOfThePackage() {
    assertThat(new QemuBuild("7.2.22", "Debian 1:7.2+dfsg-7", "").shortLabel())
        .isEqualTo("1:7.2+dfsg-7");
    assertThat(new QemuBuild("7.2.22", "", "").shortLabel()).isEqualTo("7.2.22");
  }

  @ParameterizedTest
  @ValueSource(strings = {"qemu-system-x86_64", "qemu-system-aarch64", "kvm", "qemu-kvm"})
  void theseAreEmulators(String name) {
    assertThat(QemuBuild.isProgram(name)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"qemu-img", "qemu-system-", "qemu-x86_64", "virsh", "kvm2", "memfd:kvm"})
  void theseAreNot(String name) {
    assertThat(QemuBuild.isProgram(name)).isFalse();
  }
}
