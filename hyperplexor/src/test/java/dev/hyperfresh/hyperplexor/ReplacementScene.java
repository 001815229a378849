package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A guest on scripted hypervisors, a replacement of it, and what must be true of both when it is
/// over. After every test the gate has been left.
@Timeout(20)
abstract class ReplacementScene {
  static final Duration LONG = Duration.ofSeconds(10);
  static final Duration SHORT = Duration.ofMillis(60);

  @TempDir Path folder;
  Stage stage;
  Guest guest;
  Journal journal;
  final SwitchGate gate = new SwitchGate(1);
  Progress progress = Progress.NONE;

  @BeforeEach
  void raiseTheCurtain() {
    stage = new Stage(folder);
    guest = stage.guest("web1", ports());
    journal = Journal.open(folder.resolve("journal.log"));
  }

  Endpoints ports() {
    return new Endpoints(List.of());
  }

  @AfterEach
  void fallTheCurtain() {
    stage.on("1.close", _ -> {}).on("2.close", _ -> {}).on("1.end", _ -> {});
    guest.delete(true);
    journal.close();
    stage.close();
    assertThat(gate.free()).as("places of the gate after any end").isEqualTo(1);
  }

  ReplacementRecord replace(Duration maxBlackout) {
    return replace(
        maxBlackout,
        new Preflight(
                guest, Stage.NEW, Preflight.Rehearsing.LEFT_OUT, new ReentrantLock(), progress)
            ::require);
  }

  ReplacementRecord replace(Duration maxBlackout, Runnable plan) {
    return replace(maxBlackout, plan, new Surroundings.OfHost(journal, gate, WatchTimes.USUAL));
  }

  ReplacementRecord replace(Duration maxBlackout, Runnable plan, Surroundings world) {
    return guest.call(() ->
        new Replacement(
                "id1", guest, Stage.NEW, new BlackoutLimit(maxBlackout), world, plan, progress)
            .run());
  }

  /// As the hyperplexor does it, setting the wall clock afterwards.
  ReplacementRecord replaceSteppingTheClock() {
    return guest.replace(
        "id1",
        Stage.NEW,
        new BlackoutLimit(Duration.ofSeconds(10)),
        Preflight.Rehearsing.LEFT_OUT,
        true,
        new ReentrantLock(),
        new Surroundings.OfHost(journal, gate, WatchTimes.USUAL),
        progress);
  }

  Stage.Actor actorOne() {
    return stage.actor(1);
  }

  void resume() {
    guest.call(() -> {
      guest.hosting().resume(guest.running());
      return true;
    });
  }

  List<String> states() {
    try {
      return Files.readAllLines(folder.resolve("journal.log")).stream()
          .map(line -> line.split(" ")[3])
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void assertRunsOn(StagedRelease release, int generation) {
    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(guest.view().release()).isEqualTo(release.name());
    assertThat(guest.view().pid()).isEqualTo(1_000_000_000 + generation);
    assertThat(stage.actor(generation).alive).isTrue();
    assertThat(guest.call(guest::running).generation()).isEqualTo(generation);
    assertThat(stage.actors.stream().filter(actor -> actor.alive).count()).isEqualTo(1);
  }

  void assertRolledBack(ReplacementRecord record, String problem, String detail) {
    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.committed()).isFalse();
    assertThat(record.problem()).isEqualTo(problem);
    assertThat(record.detail()).isEqualTo(detail);
    assertThat(record.blackoutMs()).isEmpty();
    assertThat(states()).endsWith("RolledBack");
    assertThat(Journal.unfinished(folder.resolve("journal.log"))).isEmpty();
    assertRunsOn(Stage.OLD, 1);
  }

  void assertNotWedged() {
    assertMailboxEmpty();
    assertThat(guest.view().state()).isNotEqualTo(GuestView.State.REPLACING);
    assertThat(stage.actors.stream().filter(actor -> actor.alive).count()).isLessThanOrEqualTo(1);
  }

  void assertMailboxEmpty() {
    assertThat(guest.call(() -> guest.mailbox().isEmpty())).isTrue();
  }
}
