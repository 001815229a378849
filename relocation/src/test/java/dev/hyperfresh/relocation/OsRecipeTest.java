package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Which kernels go with which CRIU.
class OsRecipeTest {
  @ParameterizedTest
  @CsvSource({
    "6.1.170, 4.1.1-1",
    "6.12.95, 4.1.1-1",
    "6.15.9, 1:4.1.1-1",
    "6.17.2, 4.2-1",
    "7.3.4, 4.3-1"
  })
  void theyMatch(String kernel, String criu) {
    assertThatCode(() -> OsRecipe.requireMatch(kernel, criu)).doesNotThrowAnyException();
  }

  @ParameterizedTest
  @CsvSource({
    "6.16, 4.1.1-1",
    "6.16.3, 4.1-1",
    "7.3.4, 4.1.1-1",
    "7.1, 4.2-1+b1",
    "7.3.4, 1:4.2.1-1"
  })
  void anOsThatNothingCouldLeaveIsRefused(String kernel, String criu) {
    assertThatThrownBy(() -> OsRecipe.requireMatch(kernel, criu))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("CRIU " + criu)
        .hasMessageContaining("Linux " + kernel)
        .hasMessageContaining("os-6.12");
  }
}
