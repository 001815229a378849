package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Which ends are followed by a start, and which are not, whenever somebody learns of them.
@Timeout(30)
class GuestEndTest extends LifeScene {
  private static final Duration SECOND = Duration.ofSeconds(1);

  private GuestSpec restarting() {
    return stage.spec("g").ending(new EndPolicy(Then.RESTART, Then.RESTART, Then.RESTART));
  }

  private void restartingOnCrash() {
    create("g", Then.RESTART, Then.RESTART, Then.STOP);
  }

  @Test
  void everyBootOfTheHostCountsAnew() {
    restartingOnCrash();
    hyperplexor.autostart("g", true);
    for (int boot = 0; boot <= GuestLife.MOST; boot++) {
      reboot();
      pace.pass(Duration.ZERO);
      assertState("g", GuestView.State.RUNNING);
      assertThat(settled("g").starts().inARow()).isEqualTo(1);
    }

    crash("g");
    nextDaemon();

    assertThat(settled("g").starts().inARow()).as("in the same boot").isEqualTo(1);
    assertThat(pace.next()).contains(Duration.ofSeconds(2));
  }

  @Test
  void aGuestOfWhichNothingCanBeReadIsNamedAndCanBeDeleted() throws Exception {
    create("g");
    hyperplexor.letGo();
    Path files = folder.resolve("state/guests/g");
    Files.writeString(files.resolve("guest.properties"), "spec.name=g");

    comesBack();

    assertProblem(Problem.GUEST_STATE, () -> hyperplexor.show("g"));
    assertProblem(Problem.GUEST_STATE, () -> hyperplexor.delete("g", false));
    assertThat(files).exists();
    hyperplexor.delete("g", true);
    assertThat(files).doesNotExist();
    assertProblem(Problem.GUEST_UNKNOWN, () -> hyperplexor.show("g"));
  }

  @Test
  void aGuestThatIsStartedBeforeItsTurnIsPlannedAnewWhenItEnds() {
    restartingOnCrash();
    crash("g");
    pace.pass(SECOND.dividedBy(2));
    start("g");
    crash("g");
    pace.pass(SECOND.dividedBy(2));
    assertState("g", GuestView.State.STOPPED);

    pace.pass(SECOND.dividedBy(2));

    assertState("g", GuestView.State.RUNNING);
    assertThat(started).containsExactly("g request", "g request", "g on-crash");
  }

  @Test
  void aGuestThatEndsBeforeTheDaemonBeginsIsStartedToo() throws Exception {
    surviving(() -> {
      restartingOnCrash();
      hyperplexor.letGo();
      takesBack();
      stage.actors.getLast().die("killed by signal 11");
      assertState("g", GuestView.State.STOPPED);
      begin(pace);

      pace.pass(SECOND);

      assertState("g", GuestView.State.RUNNING);
    });
  }

  @Test
  void anEditDoesNotStartAGuestThatHadEndedBefore() {
    create("g");
    crash("g");

    hyperplexor.edit("g", restarting(), Stage.OLD, false);

    assertThat(pace.next()).isEmpty();
    nextDaemon();
    assertThat(pace.next()).isEmpty();
    start("g");
    crash("g");
    assertThat(pace.next()).contains(SECOND);
  }

  @Test
  void whoeverStopsAGuestThatHasEndedMeansItToo() {
    create("g");
    hyperplexor.autostart("g", true);
    crash("g");
    hyperplexor.stop("g", Duration.ZERO);
    assertThat(hyperplexor.show("g").detail()).isEqualTo("stopped by request");
    hyperplexor.letGo();
    inEarlierBoot();
    takesBack();

    hyperplexor.stop("g", Duration.ZERO);

    begin(pace);
    assertThat(pace.next()).isEmpty();
    reboot();
    assertThat(pace.next()).contains(Duration.ZERO);
  }

  /// Otherwise what the last daemon wrote of a folder would be another guest's.
  @Test
  void aStateDirectoryIsTheSameByWhateverNameItIsGiven() throws Exception {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    Path files = hyperplexor.show("g").files();
    hyperplexor.letGo();
    Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("state"));

    hyperplexor = daemon(link);
    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, _ -> {}, _ -> {});

    assertThat(hyperplexor.show("g").files()).isEqualTo(files);
    assertThat(start("g").console()).contains(link.resolve("run/2.con"));
  }

  // ---- in doubt ----

  /// A guest that would be started after every end, stands in doubt, and has no daemon.
  private void doubtful() throws Exception {
    hyperplexor.create(restarting(), Stage.OLD, NONE);
    hyperplexor.autostart("g", true);
    stage.on("1.attach", actor -> actor.runState = RunState.SENT);
    hyperplexor.letGo();
    Files.writeString(
        folder.resolve("state/guests/g/guest.properties"),
        "doubt=the target ran it\n",
        StandardOpenOption.APPEND);
  }

  @Test
  void aGuestInDoubtThatEndsIsStartedOnlyByRequest() throws Exception {
    surviving(() -> {
      doubtful();
      nextDaemon();
      stage.actors.getLast().die("killed by signal 9");

      pace.pass(Duration.ofDays(1));

      assertState("g", GuestView.State.STOPPED);
    });
    assertThat(hyperplexor.show("g").detail())
        .isEqualTo(
            "killed by signal 9 when another hypervisor might have run it, and is not started by"
                + " itself");
    reboot();
    assertThat(pace.next()).isEmpty();
    assertThat(start("g").generation()).isEqualTo(2);
  }

  @Test
  void soIsOneThatEndsWithTheHostUntilSomebodyStopsIt() throws Exception {
    doubtful();
    inEarlierBoot();
    comesBack();
    assertThat(pace.next()).isEmpty();
    assertThat(settled("g").detail())
        .startsWith("ended with the host's last boot when another hypervisor");

    hyperplexor.stop("g", Duration.ZERO);

    reboot();
    pace.pass(Duration.ZERO);
    assertState("g", GuestView.State.RUNNING);
  }
}
