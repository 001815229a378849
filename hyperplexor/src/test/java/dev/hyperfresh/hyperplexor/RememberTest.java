package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// What a spec names of the host is noted before anything else of it is.
class RememberTest extends LifeScene {
  @Test
  void itIsNotedWhenAGuestIsMadeAndWhenItIsEdited() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, false, NONE);
    assertThat(stage.remembered).as("before its first start").containsExactly("g");

    start("g");
    assertThat(stage.remembered).hasSize(1);

    hyperplexor.edit("g", stage.spec("g"), Stage.OLD, false);
    assertThat(stage.remembered).containsExactly("g", "g");
  }

  @Test
  void aGuestOfAnotherDiskIsNeitherMadeNorEdited() {
    create("g");
    GuestView before = hyperplexor.show("g");
    stage.otherDisk = Optional.of(Problem.GUEST_DISK.because("It is another one."));

    assertProblem(
        Problem.GUEST_DISK, () -> hyperplexor.edit("g", stage.spec("g"), Stage.NEW, true));
    assertProblem(Problem.GUEST_DISK, () -> create("h"));

    assertThat(hyperplexor.list()).containsExactly(before);
    assertThat(folder.resolve("state/guests/h")).doesNotExist();
    assertThat(stage.calls).doesNotContain("2.start");
  }
}
