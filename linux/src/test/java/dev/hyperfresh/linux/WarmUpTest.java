package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class WarmUpTest {
  @Test
  void leavesNoDescriptorBehindAndMayRunAgain() {
    WarmUp.run();
    long before = Here.openDescriptors();
    for (int i = 0; i < 20; i++) {
      WarmUp.run();
    }

    assertThat(Here.openDescriptors()).isEqualTo(before);
    assertThat(Here.mappingsOf("warm-up")).isZero();
  }

  @Test
  void everySymbolOfTheTableCanBeLinked() {
    for (Symbol symbol : Symbol.values()) {
      assertThat(symbol.link().type().parameterCount()).isEqualTo(symbol.types().size());
    }
  }
}
