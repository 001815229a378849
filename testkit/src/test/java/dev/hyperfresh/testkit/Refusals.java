package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/// What must happen to an order that cannot be carried out.
final class Refusals {
  private Refusals() {}

  /// Fails unless `order` ends with `problem`.
  static void assertRefused(Problem problem, ThrowingCallable order) {
    assertRefused(problem, "", order);
  }

  /// Fails unless `order` ends with `problem`, and says `word` of this one.
  static void assertRefused(Problem problem, String word, ThrowingCallable order) {
    assertThatThrownBy(order)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(problem);
              assertThat(refused.detail()).contains(word);
            });
  }
}
