package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PrintableTest {
  /// Escape sequences, a new line, and a character that turns the direction of what follows.
  private static final String HOSTILE = "no\u001b]0;owned\u0007 such\r\ndevice \u202e'x'\u2028";

  @Test
  void aTerminalIsToldNothing() {
    assertThat(Printable.of(HOSTILE)).isEqualTo("no ]0;owned  such device  'x'");
    assertThat(Printable.of("größer als 5 µs → 日本")).isEqualTo("größer als 5 µs → 日本");
  }

  @Test
  void neitherByAnErrorNorByACheck() {
    assertThat(Problem.REPLACE_SWITCH.because(HOSTILE).detail()).doesNotContain("\u001b", "\r");
    assertThat(Check.fail("a", HOSTILE, HOSTILE).sentences()).doesNotContain("\u001b", "\n");
  }
}
