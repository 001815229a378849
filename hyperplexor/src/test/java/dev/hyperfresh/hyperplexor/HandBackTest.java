package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptRequest.Earlier;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.KvmProbe;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A guest that has a manager is taken for a while and given back, and its process notices nothing.
@Timeout(30)
class HandBackTest {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  private static final Duration LONG = Duration.ofSeconds(10);

  @TempDir Path folder;

  private final List<String> told = Collections.synchronizedList(new ArrayList<>());
  private Stage stage;
  private Process process;
  private Hyperplexor hyperplexor;

  @BeforeEach
  void open() throws IOException {
    stage = new Stage(folder);
    process = new ProcessBuilder("sleep", "60").start();
    stage.process = OptionalInt.of((int) process.pid());
    hyperplexor = hyperplexor();
  }

  @AfterEach
  void close() {
    hyperplexor.close();
    process.destroyForcibly();
    stage.close();
  }

  private Hyperplexor hyperplexor() {
    return new Hyperplexor(
        state(),
        new Kinds(stage),
        NO_KVM,
        new GuestWatch() {
          @Override
          public void changed(GuestView guest) {}

          @Override
          public void deleted(String guest) {
            told.add("deleted " + guest);
          }

          @Override
          public void handedBack(HandedBack guest) {
            told.add("handed back " + guest.name());
          }
        });
  }

  private Path state() {
    return folder.resolve("state");
  }

  private List<Path> handed() {
    if (!Files.exists(state().resolve("handed"))) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(state().resolve("handed"))) {
      return folders.toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void adopt(boolean borrowed) {
    var _ =
        hyperplexor.adopt(
            new AdoptOrder(
                "g",
                (int) process.pid(),
                Path.of("/control"),
                Optional.empty(),
                (_, _) -> Stage.OLD,
                Optional.empty(),
                borrowed),
            Progress.NONE);
  }

  private void replace() {
    stage.handingOver();
    assertThat(hyperplexor.replace("g", Stage.NEW, LONG, Progress.NONE).committed()).isTrue();
  }

  private void assertStays(Problem problem, String why) {
    int calls = stage.calls.size();
    assertThatThrownBy(() -> hyperplexor.handBack("g", _ -> {}))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem))
        .hasMessageContaining(why);
    assertThat(List.copyOf(stage.calls).subList(calls, stage.calls.size()))
        .noneMatch(call -> call.endsWith(".leave") || call.endsWith(".close"));
    assertThat(hyperplexor.show("g").state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(state().resolve("guests/g")).exists();
    assertThat(told).isEmpty();
  }

  @Test
  void aGuestThatWasReplacedIsItsManagersAgain() {
    adopt(true);
    assertThat(stage.requests.getLast().borrowed()).isTrue();
    assertThat(hyperplexor.borrowed()).containsExactly("g");
    replace();

    HandedBack back = hyperplexor.handBack("g", _ -> {});

    assertThat(back)
        .isEqualTo(
            new HandedBack(
                "g",
                (int) process.pid(),
                Map.of(0, 4711),
                Map.of("ser", "/dev/pts/9"),
                Map.of(),
                Path.of("/p2")));
    assertThat(stage.calls)
        .containsSubsequence("1.end", "2.takeAddresses", "2.handBack", "2.leave")
        .doesNotContain("2.end", "2.kill", "2.powerOff");
    assertThat(hyperplexor.list()).isEmpty();
    assertThat(hyperplexor.borrowed()).isEmpty();
    assertThat(told).containsExactly("handed back g");
    assertThat(state().resolve("guests/g")).doesNotExist();
    assertThat(handed()).hasSize(1);
    // Its release is not to be removed.
    assertThat(HandedBack.on(state(), Stage.NEW.name())).containsExactly("g");
    assertThat(HandedBack.on(state(), Stage.OLD.name())).isEmpty();
  }

  @Test
  void theNextTimeItIsKnownHowItsProcessWasStarted() {
    adopt(true);
    assertThat(stage.requests.getLast().earlier()).isEmpty();
    replace();
    var _ = hyperplexor.handBack("g", _ -> {});
    Path kept = handed().getFirst();

    adopt(true);

    assertThat(stage.requests.getLast().earlier())
        .contains(new Earlier(kept, StagedAdopter.machine(false).words()));
    // It goes as it came, and what its process has stays.
    var _ = hyperplexor.handBack("g", _ -> {});
    assertThat(stage.calls).endsWith("1.takeAddresses", "1.handBack", "1.leave");
    assertThat(handed()).containsExactly(kept);
    adopt(false);
    assertThat(stage.requests.getLast().earlier()).isEmpty();
  }

  @Test
  void whatIsKeptIsRemovedWhenTheProcessHasEnded() {
    adopt(true);
    replace();
    var _ = hyperplexor.handBack("g", _ -> {});
    hyperplexor.letGo();
    hyperplexor = hyperplexor();
    takeBack();
    assertThat(handed()).hasSize(1);
    assertThat(hyperplexor.list()).isEmpty();

    process.destroyForcibly().onExit().join();
    hyperplexor.letGo();
    hyperplexor = hyperplexor();
    takeBack();

    assertThat(handed()).isEmpty();
    assertThat(told).containsExactly("handed back g");
  }

  private void takeBack() {
    hyperplexor.takeBack(
        name -> name.equals(Stage.OLD.name()) ? Stage.OLD : Stage.NEW,
        Map.of(),
        LONG,
        _ -> {},
        _ -> {});
  }

  @Test
  void oneThatWasNotReplacedIsAsItWas() {
    adopt(true);

    HandedBack back = hyperplexor.handBack("g", _ -> {});

    assertThat(back.pid()).isEqualTo((int) process.pid());
    assertThat(stage.calls).containsExactly("1.attach", "1.takeAddresses", "1.handBack", "1.leave");
    assertThat(state().resolve("guests/g")).doesNotExist();
    assertThat(handed()).isEmpty();
  }

  @Test
  void theNextDaemonHandsItBack() {
    adopt(true);
    replace();
    hyperplexor.letGo();
    hyperplexor = hyperplexor();
    takeBack();

    assertThat(hyperplexor.borrowed()).containsExactly("g");
    assertThat(hyperplexor.handBack("g", _ -> {}).program()).isEqualTo(Path.of("/p2"));
    assertThat(handed()).hasSize(1);
  }

  /// Whoever is killed right after has not lost it.
  @Test
  void whatItsManagerHasToKnowIsWrittenDownFirst() {
    adopt(true);
    replace();
    List<HandedBack> kept = new ArrayList<>();

    HandedBack back =
        hyperplexor.handBack(
            "g",
            first -> {
              assertThat(state().resolve("guests/g")).exists();
              assertThat(handed()).isEmpty();
              kept.add(first);
            });

    assertThat(kept).containsExactly(back);
    assertThat(state().resolve("guests/g")).doesNotExist();
  }

  @Test
  void oneOfWhichNothingCanBeWrittenDownStays() {
    adopt(true);
    replace();

    assertThatThrownBy(() ->
            hyperplexor.handBack(
                "g",
                _ -> {
                  throw Problem.DAEMON_STATE.because("No space is left.");
                }))
        .hasMessageContaining("No space is left.");

    assertThat(hyperplexor.borrowed()).containsExactly("g");
    assertThat(state().resolve("guests/g")).exists();
    assertThat(handed()).isEmpty();
    assertThat(told).isEmpty();
    assertThat(hyperplexor.handBack("g", _ -> {}).program()).isEqualTo(Path.of("/p2"));
  }

  /// Its manager may be there again.
  @Test
  void oneThatNobodyWantsMovedAnyMoreIsNotSwitched() {
    adopt(true);
    stage.handingOver();

    ReplacementRecord record =
        hyperplexor.replace(
            "g",
            Stage.NEW,
            LONG,
            new Progress() {
              @Override
              public void step(String state, String text) {}

              @Override
              public void requireWanted() {
                throw Problem.DAEMON_UPGRADING.because("Enough.");
              }
            });

    assertThat(record.outcome()).isEqualTo(ReplacementRecord.Outcome.ROLLED_BACK);
    assertThat(record.detail()).contains("Enough.");
    assertThat(stage.calls).contains("2.startWaiting").doesNotContain("1.handOver");
    assertThat(hyperplexor.handBack("g", _ -> {}).pid()).isEqualTo((int) process.pid());
  }

  @Test
  void aGuestWithoutAManagerStays() {
    adopt(false);
    assertThat(hyperplexor.borrowed()).isEmpty();
    assertStays(Problem.GUEST_STATE, "no manager that it was borrowed from");
  }

  @Test
  void oneThatItsManagerWouldNotFindStays() {
    adopt(true);
    replace();
    stage.amiss = Optional.of("It does not listen.");
    assertStays(Problem.GUEST_STATE, "would not find all of it: It does not listen.");
    stage.amiss = Optional.empty();
    stage.failing("2.handBack", Problem.GUEST_STATE.because("It does not answer."));
    assertStays(Problem.GUEST_STATE, "does not answer");
  }

  @Test
  void oneInDoubtStays() {
    adopt(true);
    stage.ran = Optional.of(true);
    stage.on(
        "1.handOver",
        source -> {
          source.runState = RunState.SENT;
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          stage.actor("g", 2).die("somebody killed it");
        });
    var _ = hyperplexor.replace("g", Stage.NEW, LONG, Progress.NONE);

    assertStays(Problem.GUEST_STATE, "Guest g is ");
    assertThat(hyperplexor.borrowed()).containsExactly("g");
  }

  @Test
  void oneThatIsBeingMovedStays() {
    adopt(true);
    List<String> answers = new ArrayList<>();
    stage.on(
        "1.handOver",
        source -> {
          try {
            var _ = hyperplexor.handBack("g", _ -> {});
          } catch (HyperFreshException e) {
            answers.add(e.problem().name());
          }
          stage.handOverFirst(source);
        });

    assertThat(hyperplexor.replace("g", Stage.NEW, LONG, Progress.NONE).committed()).isTrue();

    assertThat(answers).containsExactly("REPLACE_BUSY");
    assertThat(told).isEmpty();
  }

  @Test
  void aTapThatHasAnotherInItsPlaceIsTold() {
    List<Nic> nics =
        List.of(
            new Nic("g-0", Optional.of("br0"), "52:54:00:00:00:01"),
            new Nic("vnet1", Optional.of("br0"), "52:54:00:00:00:02"));
    assertThat(
            HandBack.taps(
                nics, List.of(new Port.Bridged("vnet0", "br0", 1), new Port.Kept(List.of(30)))))
        .isEqualTo(Map.of("vnet0", "g-0"));
  }

  @Test
  void thatItWasBorrowedIsWrittenDown() {
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of("-S"),
            Path.of("/control"),
            Optional.empty(),
            StagedAdopter.machine(false).memories(),
            List.of(),
            Optional.empty(),
            OptionalInt.of(4711));
    Properties p = new Properties();
    AdoptedProperties.put(p, machine);

    assertThat(AdoptedProperties.read(p, stage.spec("g"))).contains(machine);
  }
}
