package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// What one process alone can have of a guest is taken after a start, too.
@Timeout(30)
class AddressesTest extends LifeScene {
  private final List<String> steps = new ArrayList<>();

  @BeforeEach
  void stopped() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
  }

  private GuestView startTelling() {
    return hyperplexor.start(
        "g", Stage.OLD, StartReason.REQUEST, (state, text) -> steps.add(state + ": " + text));
  }

  @Test
  void aGuestThatStartsTakesItsAddresses() {
    stage.amiss = Optional.of("It does not listen at :1. Free that.");

    assertThat(startTelling().state()).isEqualTo(GuestView.State.RUNNING);

    assertThat(stage.calls).containsSubsequence("2.start", "2.takeAddresses");
    assertThat(steps).endsWith("start: It does not listen at :1. Free that.");
  }

  @Test
  void soDoesAGuestThatIsMade() {
    stage.amiss = Optional.of("It does not listen at :1. Free that.");

    hyperplexor.create(stage.spec("h"), Stage.OLD, (state, text) -> steps.add(state + ": " + text));

    assertThat(stage.calls).endsWith("1.takeAddresses");
    assertThat(steps).endsWith("start: It does not listen at :1. Free that.");
  }

  @Test
  void aFaultThereIsNoFaultOfTheStart() {
    stage.failing("2.takeAddresses", new IllegalStateException("no answer"));

    assertThat(startTelling().state()).isEqualTo(GuestView.State.RUNNING);

    assertThat(steps.getLast()).contains("not known whether it listens");
  }
}
