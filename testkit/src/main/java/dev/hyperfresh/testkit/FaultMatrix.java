package dev.hyperfresh.testkit;

import static dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome.COMMITTED;
import static dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome.FAILED;
import static dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome.ROLLED_BACK;
import static dev.hyperfresh.testkit.FaultPlan.Victim.DAEMON;
import static dev.hyperfresh.testkit.FaultPlan.Victim.SOURCE;
import static dev.hyperfresh.testkit.FaultPlan.Victim.TARGET;
import static dev.hyperfresh.testkit.FaultPlan.corruptChannel;
import static dev.hyperfresh.testkit.FaultPlan.crash;
import static dev.hyperfresh.testkit.FaultPlan.cutChannel;
import static dev.hyperfresh.testkit.FaultPlan.fillDisk;
import static dev.hyperfresh.testkit.FaultPlan.hang;
import static dev.hyperfresh.testkit.FaultPlan.kill;
import static dev.hyperfresh.testkit.FaultPlan.limitDescriptors;
import static dev.hyperfresh.testkit.FaultPlan.loseAnswer;
import static dev.hyperfresh.testkit.FaultPlan.loseControl;
import static dev.hyperfresh.testkit.FaultPlan.stall;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.testkit.FaultPlan.Fault;
import dev.hyperfresh.testkit.FaultPlan.Point;
import dev.hyperfresh.testkit.FaultPlan.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.Collectors;

/// Every combination of fault and point that is tried, and what must come of it. To add a fault,
/// add it to [FaultPlan] and its points here.
final class FaultMatrix {
  /// The state of the smallest test guest is longer, so such a byte is always reached.
  private static final int REACHED_BYTES = 200_000;

  /// The first bytes of QEMU's stream: magic, version, and the section with the machine's name.
  private static final int STRUCTURE_BYTES = 20;

  private FaultMatrix() {}

  /// One row.
  ///
  /// @param outcomes what the record may say
  record Case(FaultPlan plan, List<Outcome> outcomes) {
    @Override
    public String toString() {
      return plan
          + ": "
          + outcomes.stream().map(Outcome::label).collect(Collectors.joining(" or "));
    }
  }

  private static final List<Function<Fault, FaultPlan>> WHILE_PREPARING =
      List.of(
          fault -> fault.before("qmp_capabilities"),
          fault -> fault.before(TARGET, "getfd"),
          fault -> fault.before(TARGET, "migrate-set-capabilities"),
          fault -> fault.before("migrate-incoming"),
          fault -> fault.before(SOURCE, "getfd"),
          fault -> fault.before(SOURCE, "migrate-set-capabilities"),
          fault -> fault.before("migrate-set-parameters"),
          fault -> fault.at(State.PREPARED));

  private static final List<Function<Fault, FaultPlan>> BEFORE_THE_STATE_CROSSES =
      List.of(
          fault -> fault.at(State.SWITCHING),
          fault -> fault.atByte(0),
          fault -> fault.atByte(20_000),
          fault -> fault.atByte(150_000),
          fault -> fault.atEndOfState());

  private static final List<Function<Fault, FaultPlan>> AFTER_THE_COMMIT =
      List.of(
          fault -> fault.at(State.COMMITTED),
          fault -> fault.before("query-migrate"),
          fault -> fault.before("quit"));

  /// Faults that a guest must not notice.
  static List<Case> survivable() {
    List<Case> cases = new ArrayList<>();
    cases.addAll(ofTheTarget());
    cases.addAll(ofTheSource());
    cases.addAll(ofTheChannels());
    return cases;
  }

  private static List<Case> ofTheTarget() {
    List<Case> cases = new ArrayList<>();
    for (Fault fault : List.of(kill(TARGET), hang(TARGET))) {
      WHILE_PREPARING.forEach(point -> cases.add(row(point.apply(fault), ROLLED_BACK)));
      BEFORE_THE_STATE_CROSSES.forEach(point -> cases.add(row(point.apply(fault), ROLLED_BACK)));
    }
    cases.add(row(crash(TARGET).before("migrate-incoming"), ROLLED_BACK));
    cases.add(row(crash(TARGET).at(State.SWITCHING), ROLLED_BACK));
    cases.add(row(crash(TARGET).atByte(100_000), ROLLED_BACK));
    cases.add(row(hang(TARGET).on(SOURCE, "STOP", ""), COMMITTED, ROLLED_BACK));
    cases.add(row(hang(TARGET).on(TARGET, "RESUME", ""), COMMITTED));
    cases.add(row(hang(TARGET).at(State.COMMITTED), COMMITTED));
    return cases;
  }

  private static List<Case> ofTheSource() {
    List<Case> cases = new ArrayList<>();
    WHILE_PREPARING
        .subList(4, 7)
        .forEach(point -> cases.add(row(point.apply(hang(SOURCE)), ROLLED_BACK)));
    cases.add(row(hang(SOURCE).at(State.PREPARED), ROLLED_BACK));
    cases.add(row(hang(SOURCE).at(State.SWITCHING), ROLLED_BACK));
    cases.add(row(hang(SOURCE).on(SOURCE, "MIGRATION", "setup"), COMMITTED, ROLLED_BACK));
    cases.add(row(hang(SOURCE).on(SOURCE, "STOP", ""), COMMITTED, ROLLED_BACK));
    cases.add(row(hang(SOURCE).atByte(0), COMMITTED, ROLLED_BACK));
    cases.add(row(hang(SOURCE).atEndOfState(), COMMITTED));
    // A hung source is waited for, which takes seconds; the first two points differ by nothing.
    AFTER_THE_COMMIT
        .subList(1, 3)
        .forEach(point -> cases.add(row(point.apply(hang(SOURCE)), COMMITTED)));
    AFTER_THE_COMMIT.forEach(point -> cases.add(row(point.apply(kill(SOURCE)), COMMITTED)));
    cases.add(row(crash(SOURCE).before("query-migrate"), COMMITTED));
    cases.add(row(kill(SOURCE).atEndOfState(), COMMITTED));
    cases.add(row(crash(SOURCE).atEndOfState(), COMMITTED));
    return cases;
  }

  private static List<Case> ofTheChannels() {
    List<Case> cases = new ArrayList<>();
    for (long bytes : new long[] {0, 1, 4096, 100_000, REACHED_BYTES}) {
      cases.add(row(cutChannel().atByte(bytes), ROLLED_BACK));
    }
    // QEMU ends its stream with a description that it can do without.
    cases.add(row(cutChannel().atByte(-1), COMMITTED, ROLLED_BACK));
    for (long bytes : new long[] {0, 5, 8, 15}) {
      cases.add(row(corruptChannel().atByte(bytes), ROLLED_BACK));
    }
    WHILE_PREPARING
        .subList(0, 7)
        .forEach(point -> cases.add(row(point.apply(loseAnswer()), ROLLED_BACK)));
    cases.add(row(loseAnswer().before("migrate"), COMMITTED));
    cases.add(row(loseAnswer().before("query-migrate"), COMMITTED));
    cases.add(row(loseControl().on(SOURCE, "MIGRATION", "setup"), COMMITTED));
    cases.add(row(loseControl().on(SOURCE, "STOP", ""), COMMITTED));
    cases.add(row(loseControl().on(SOURCE, "MIGRATION", "completed"), COMMITTED));
    cases.add(row(loseControl().on(TARGET, "MIGRATION", "setup"), COMMITTED, ROLLED_BACK));
    cases.add(row(loseControl().on(TARGET, "RESUME", ""), COMMITTED));
    cases.add(row(stall(Duration.ofMillis(300)).on(TARGET, "RESUME", ""), COMMITTED));
    cases.add(row(stall(Duration.ofMillis(1500)).on(TARGET, "RESUME", ""), COMMITTED));
    cases.add(row(stall(Duration.ofMillis(1500)).on(SOURCE, "STOP", ""), COMMITTED));
    return cases;
  }

  /// Faults of the state directory; for one that has a file system of its own.
  static List<Case> ofTheDisk() {
    return List.of(
        // A file can grow to the end of its last block on a full disk, and the journal's may have
        // room; and whoever removes a file, such as an old log, leaves room for one more block.
        row(fillDisk().at(State.PLANNED), COMMITTED, ROLLED_BACK),
        row(fillDisk().at(State.PREPARED), COMMITTED, ROLLED_BACK),
        row(fillDisk().at(State.SWITCHING), COMMITTED),
        row(fillDisk().at(State.COMMITTED), COMMITTED));
  }

  /// Faults of a process that alone holds the state of the guest's processors: with it the guest is
  /// gone, as it would be without a replacement. The record says how far that had come; that the
  /// guest ended is said by its state.
  static List<Case> deadly() {
    return List.of(
        row(kill(SOURCE).at(State.PLANNED), ROLLED_BACK),
        row(kill(SOURCE).at(State.SWITCHING), FAILED),
        row(crash(SOURCE).atByte(20_000), FAILED),
        row(kill(TARGET).on(TARGET, "RESUME", ""), COMMITTED));
  }

  /// Faults of the daemon's own process. The outcome is where the next daemon finds the guest.
  static List<Case> ofTheDaemon() {
    return List.of(
        row(kill(DAEMON).at(State.PLANNED), ROLLED_BACK),
        row(kill(DAEMON).before(TARGET, "getfd"), ROLLED_BACK),
        row(kill(DAEMON).before(SOURCE, "getfd"), ROLLED_BACK),
        row(kill(DAEMON).at(State.PREPARED), ROLLED_BACK),
        row(kill(DAEMON).at(State.SWITCHING), ROLLED_BACK),
        row(kill(DAEMON).on(SOURCE, "STOP", ""), COMMITTED, ROLLED_BACK),
        row(kill(DAEMON).on(TARGET, "RESUME", ""), COMMITTED),
        row(kill(DAEMON).before("quit"), COMMITTED),
        row(limitDescriptors(0).at(State.PLANNED), ROLLED_BACK),
        row(limitDescriptors(4).at(State.PLANNED), ROLLED_BACK),
        row(limitDescriptors(0).at(State.SWITCHING), COMMITTED, ROLLED_BACK));
  }

  /// One of the survivable faults, at a byte of its own where the point is a byte.
  static FaultPlan random(Random random) {
    List<Case> all = survivable();
    FaultPlan plan = all.get(random.nextInt(all.size())).plan();
    if (!(plan.point() instanceof Point.AtByte at) || at.bytes() < 0) {
      return plan;
    }
    boolean structure = plan.fault() instanceof FaultPlan.CorruptChannel;
    return plan.fault().atByte(random.nextInt(structure ? STRUCTURE_BYTES : REACHED_BYTES));
  }

  private static Case row(FaultPlan plan, Outcome... outcomes) {
    return new Case(plan, List.of(outcomes));
  }
}
