package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.nio.file.Files;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/// What becomes of a guest whose copy did not go as it should.
class FirstCopyEndTest extends FirstCopyScene {
  /// It may take the daemon a moment to have let go of it.
  private GuestView adoptAgain() throws InterruptedException {
    for (int attempt = 0; attempt < 200; attempt++) {
      try {
        return adopt(LONG);
      } catch (HyperFreshException e) {
        if (e.problem() != Problem.GUEST_EXISTS) {
          throw e;
        }
        Thread.sleep(50);
      }
    }
    throw new AssertionError("guest g is still there: " + hyperplexor.list());
  }

  private void assertIsNoGuestAndCanBeAdopted() throws InterruptedException {
    stage.handingOver();
    assertThat(adoptAgain().generation()).isEqualTo(2);
    assertThat(hyperplexor.list()).hasSize(1);
    assertThat(stage.calls).contains("1.close");
  }

  /// Nobody could move it from where it is.
  @Test
  void aGuestThatStoodAndGoesOnIsNoGuestAnyMore() throws Exception {
    stage
        .failing("1.takeBack", Problem.REPLACE_STANDS.because("No answer."))
        .on("1.handOver", source -> stage.actor("g", 2).die("somebody killed it"));
    assertNotAdopted(Problem.REPLACE_STANDS, LONG);
    assertThat(hyperplexor.list()).hasSize(1);
    assertThat(stage.calls).doesNotContain("1.close", "1.end", "1.kill");

    stage.on("1.takeBack", _ -> {});
    stage.actor("g", 1).tell(new InstanceEvent.Answering(1));

    assertIsNoGuestAndCanBeAdopted();
  }

  @Test
  void aGuestWhoseDoubtIsResolvedIsNoGuestAnyMore() throws Exception {
    stage.ran = Optional.of(true);
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          source.runState = RunState.SENT;
          stage.actor("g", 2).die("somebody killed it");
        });
    stage.on("1.takeBack", source -> source.runState = RunState.RUNNING);
    assertNotAdopted(Problem.REPLACE_DOUBT, LONG);

    assertThat(hyperplexor.resume("g").detail()).isEmpty();

    stage.ran = Optional.empty();
    assertIsNoGuestAndCanBeAdopted();
  }

  /// It was not touched.
  @Test
  void aGuestThatPowersItselfOffBeforeItsTurnIsNotAdopted() throws Exception {
    CompletableFuture<GuestView> next =
        waitingForG(() -> stage.actor("h", 1).tell(new InstanceEvent.PoweredOff(1)));

    assertThat(next.handle((_, refused) -> String.valueOf(refused)).get()).contains(Hosting.OFF);
    assertThat(hyperplexor.list()).extracting(view -> view.spec().name()).containsExactly("g");
    assertThat(state().resolve("guests/h")).doesNotExist();
  }

  @Test
  void aGuestThatEndsAsItArrivesIsShownAsStopped() {
    stage.handingOver().on("1.end", _ -> stage.actor("g", 2).die("killed by signal 11"));

    GuestView adopted = adopt(LONG);

    assertThat(adopted.state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(adopted.detail())
        .startsWith("killed by signal 11; adopted. Its memory was private. 0 MiB were copied");
    assertThat(hyperplexor.holdings()).isEmpty();
  }

  /// Its process lives, and so does what it maps.
  @Test
  void aTargetThatDoesNotEndIsNotForgottenWhenTheGuestIsOff() {
    turnOffBesideTheTarget();
    stage.failing("2.kill", Problem.INTERNAL.because("It stays."));

    assertNotAdopted(Problem.REPLACE_OFF, LONG);

    assertThat(hyperplexor.list()).hasSize(1);
    assertThat(stage.calls).contains("1.withdraw").doesNotContain("1.close", "2.close");
    assertThat(GuestFile.read(files()).orElseThrow().waiting()).isPresent();
    stage.on("2.kill", _ -> {});
  }

  @Test
  void aTargetThatEndsLateIsWaitedForWhenTheGuestIsOff() {
    turnOffBesideTheTarget();
    AtomicInteger tries = new AtomicInteger();
    stage.on(
        "2.kill",
        _ -> {
          if (tries.getAndIncrement() == 0) {
            throw Problem.INTERNAL.because("It stays.");
          }
        });

    assertNotAdopted(Problem.REPLACE_OFF, LONG);

    assertThat(stage.calls).containsSubsequence("2.kill", "2.kill", "2.close", "1.close");
    assertUntouched();
  }

  private void turnOffBesideTheTarget() {
    stage
        .failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."))
        .on("1.handOver", source -> source.tell(new InstanceEvent.PoweredOff(1)))
        .on(
            "1.copied",
            _ -> stage.actor("g", 2).tell(new InstanceEvent.HandOverFailed(2, "nothing comes")));
  }

  /// Nothing was written down yet.
  @Test
  void whatAnAdoptionLeavesBehindKeepsNoNameTaken() throws Exception {
    Files.createDirectories(files().resolve("firmware-files"));
    OwnFolder.begin(files());
    Files.createDirectories(state().resolve("guests/empty"));
    Files.createDirectories(state().resolve("guests/other/logs"));

    assertThat(takeBack()).isEmpty();

    assertThat(files()).doesNotExist();
    assertThat(state().resolve("guests/empty")).doesNotExist();
    assertThat(state().resolve("guests/other/logs")).as("somebody else's").exists();
    stage.handingOver();
    assertThat(adopt(LONG).generation()).isEqualTo(2);
    assertThat(OwnFolder.isUnfinished(files())).isFalse();
  }
}
