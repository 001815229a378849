package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What is told of a guest can be found when it is told, and the end of one guest is told before
/// another one can have its name.
@Timeout(20)
class GuestWatchTest {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  private static final Duration LONG = Duration.ofSeconds(10);

  @TempDir Path folder;

  /// What was told, and what was found then.
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
  }

  private Hyperplexor hyperplexor() {
    return new Hyperplexor(
        folder.resolve("state"),
        new Kinds(stage),
        NO_KVM,
        new GuestWatch() {
          @Override
          public void changed(GuestView guest) {
            told.add(guest.state() + ", found " + found());
          }

          @Override
          public void deleted(String guest) {
            told.add("deleted, found " + found() + "; " + made());
          }
        });
  }

  private String found() {
    try {
      return hyperplexor.show("g").state().name();
    } catch (HyperFreshException e) {
      return e.problem().name();
    }
  }

  /// Whether another guest can have the name.
  private String made() {
    try {
      return hyperplexor.create(stage.spec("g"), Stage.OLD, NONE).state().name();
    } catch (HyperFreshException e) {
      return e.problem().name();
    }
  }

  @Test
  void aGuestThatIsMadeIsFoundWhenItIsTold() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);

    assertThat(told).containsExactly("RUNNING, found RUNNING");
  }

  @Test
  void aGuestThatIsAdoptedIsFoundWhenItIsTold() {
    GuestView adopted =
        hyperplexor.adopt(
            "g",
            (int) process.pid(),
            Path.of("/control"),
            Optional.empty(),
            (_, _) -> Stage.OLD,
            NONE);

    assertThat(adopted.state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(adopted.detail()).startsWith("adopted.");
    assertThat(told).containsExactly("RUNNING, found RUNNING");
    assertThat(hyperplexor.list()).containsExactly(adopted);
  }

  /// The daemon may have died between the end of a source and what its target gets of it.
  @Test
  void aGuestThatIsTakenBackTakesItsAddresses() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    hyperplexor.letGo();
    stage.calls.clear();
    stage.amiss = Optional.of("It does not listen at :1.");
    List<String> sentences = Collections.synchronizedList(new ArrayList<>());
    hyperplexor = hyperplexor();

    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, sentences::add, _ -> {});

    assertThat(sentences)
        .containsExactly(
            "Guest g was reattached on " + Stage.OLD.name() + ".",
            "Guest g: It does not listen at :1.");
    assertThat(stage.calls).containsOnlyOnce("1.takeAddresses");
  }

  @Test
  void aGuestThatIsTakenBackIsFoundAsItIsToldOf() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    hyperplexor.letGo();
    told.clear();
    hyperplexor = hyperplexor();

    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, _ -> {}, _ -> {});

    assertThat(told).isNotEmpty().containsOnly("RUNNING, found RUNNING");
    assertThat(hyperplexor.list()).containsExactly(hyperplexor.show("g"));
  }

  @Test
  void aGuestThatCannotBeTakenBackIsNotToldOf() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    hyperplexor.letGo();
    told.clear();
    hyperplexor = hyperplexor();
    stage.failing("1.attach", Problem.GUEST_STATE.because("It does not answer."));

    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), Duration.ofMillis(200), _ -> {}, _ -> {});

    assertThat(told).isEmpty();
    assertThat(found()).isEqualTo("RECOVERING");
  }

  @Test
  void theEndOfAGuestIsToldBeforeItsNameIsFree() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    told.clear();

    hyperplexor.delete("g");

    assertThat(told)
        .containsExactly("STOPPED, found STOPPED", "deleted, found GUEST_UNKNOWN; GUEST_EXISTS");
    assertThat(made()).isEqualTo("RUNNING");
  }

  @Test
  void theEndOfAGuestThatHadStoppedUnderAnEarlierDaemonIsToldToo() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    hyperplexor.stop("g", Duration.ZERO);
    hyperplexor.letGo();
    hyperplexor = hyperplexor();
    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, _ -> {}, _ -> {});
    told.clear();

    hyperplexor.delete("g");

    assertThat(told).containsExactly("deleted, found GUEST_UNKNOWN; GUEST_EXISTS");
    assertThat(made()).isEqualTo("RUNNING");
  }

  @Test
  void ofAGuestThatDoesNotStartNothingIsTold() {
    stage.failing("1.start", Problem.GUEST_START.because("It says no."));

    assertThat(made()).isEqualTo("GUEST_START");

    assertThat(told).isEmpty();
  }

  /// Its process runs, and cannot be written down.
  @Test
  void aGuestThatIsUndoneIsDeletedForWhoeverHeardOfItsEnd() {
    Path file = folder.resolve("state/guests/g/guest.properties.new");
    stage.on("1.start", _ -> assertThat(file.toFile().mkdir()).isTrue());

    assertThatThrownBy(() -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE))
        .isInstanceOf(HyperFreshException.class);

    assertThat(told)
        .containsExactly("STOPPED, found STOPPED", "deleted, found GUEST_UNKNOWN; GUEST_EXISTS");
    stage.on("1.start", _ -> {});
    assertThat(made()).isEqualTo("RUNNING");
  }
}
