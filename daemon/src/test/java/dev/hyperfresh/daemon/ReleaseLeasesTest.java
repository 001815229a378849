package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

class ReleaseLeasesTest {
  private final ReleaseLeases leases = new ReleaseLeases();
  private final List<String> removed = new ArrayList<>();

  @Test
  void aReleaseIsRemovedWhenTheLastStartIsOver() {
    var first = hold("a");
    var second = hold("a");
    assertThat(first.release()).isEqualTo("a");
    refused("a");
    first.close();
    refused("a");
    second.close();
    remove("a");
    assertThat(removed).containsExactly("a");
  }

  @Test
  void anotherReleaseIsRemovedMeanwhile() {
    try (var _ = hold("a")) {
      remove("b");
    }
    assertThat(removed).containsExactly("b");
  }

  @Test
  void whatIsNotThereIsNotHeld() {
    HyperFreshException unknown = Problem.RELEASE_UNKNOWN.because("There is no a.");
    assertThatThrownBy(() ->
            leases.hold(
                () -> {
                  throw unknown;
                },
                String::valueOf))
        .isSameAs(unknown);
    remove("a");
    assertThat(removed).containsExactly("a");
  }

  private ReleaseLeases.Lease<String> hold(String name) {
    return leases.hold(() -> name, Function.identity());
  }

  private void remove(String name) {
    leases.remove(() -> name, removed::add);
  }

  private void refused(String name) {
    assertThatThrownBy(() -> remove(name))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_IN_USE));
    assertThat(removed).isEmpty();
  }
}
