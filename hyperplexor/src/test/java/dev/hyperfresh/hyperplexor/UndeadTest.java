package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import org.junit.jupiter.api.Test;

/// A source that could not be ended when the guest ran on the target already.
class UndeadTest extends ReplacementScene {
  @Override
  Endpoints ports() {
    return new RecordingPorts(stage.calls);
  }

  private void commitBesideTheSource() {
    HyperFreshException stays = Problem.INTERNAL.because("It does not end.");
    stage.handingOver().failing("1.end", stays).failing("1.kill", stays);
    assertThat(replace(LONG).detail()).contains("cannot be ended yet", "is not moved again");
  }

  private void endAtLast() {
    stage.on("1.end", _ -> {}).on("1.kill", _ -> {});
    stage.actor(1).die("ended at last");
    assertMailboxEmpty();
  }

  private List<String> callsSince(int before) {
    List<String> all = List.copyOf(stage.calls);
    return all.subList(before, all.size());
  }

  /// It still has its queues, and the target's are those that a spare would be.
  @Test
  void theGuestIsNotMovedBeforeItHasEnded() {
    commitBesideTheSource();
    int committed = stage.calls.size();

    assertThatThrownBy(() -> replace(LONG))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.REPLACE_OBSTACLES))
        .hasMessageContaining("process 1000000001, which could not be ended yet");
    assertThat(callsSince(committed)).isEmpty();

    endAtLast();
    assertThat(callsSince(committed)).containsExactly("keep", "1.close", "2.takeAddresses");
    stage.on(
        "2.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(2, 6_000_000));
          stage.actor(3).tell(new InstanceEvent.Resumed(3, 6_001_000));
        });
    assertThat(replace(LONG).committed()).isTrue();
    assertRunsOn(Stage.NEW, 3);
  }

  /// The next daemon would take it for a target, which has run the guest, and end the guest.
  @Test
  void itIsNotWrittenDownAsATarget() {
    commitBesideTheSource();

    GuestFile written = GuestFile.read(folder).orElseThrow();
    assertThat(written.running().generation()).isEqualTo(2);
    assertThat(written.waiting()).isEmpty();
    endAtLast();
  }

  @Test
  void itIsLetGoOfWithTheGuest() {
    commitBesideTheSource();

    stage.actor(2).die("killed by signal 11");

    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(stage.actor(1).closed).isTrue();
    assertThat(stage.calls).doesNotContain("2.takeAddresses");
    endAtLast();
  }

  /// Before the switch the packets go where they always did.
  @Test
  void whatWasNotSteeredIsNotSteeredBack() {
    stage.failing("2.expect", Problem.REPLACE_PREPARE.because("No channel."));

    assertThat(replace(LONG).problem()).isEqualTo(Problem.REPLACE_PREPARE.code());

    assertThat(stage.calls).contains("drop").doesNotContain("steer", "steer back");
  }
}
