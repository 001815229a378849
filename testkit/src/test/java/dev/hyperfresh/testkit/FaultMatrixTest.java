package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.testkit.FaultBench.Leftovers;
import dev.hyperfresh.testkit.FaultMatrix.Case;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Breaks a replacement on real QEMUs at every step, one fault at a time, under one Linux guest
/// that lives through all of it. After each fault exactly one hypervisor runs the guest, everything
/// in the guest goes on, nothing that was acknowledged is lost and nothing is left behind.
///
/// `-Dhyperfresh.fault.seed=N` replays the random faults, `-Dhyperfresh.fault.random=N` makes more
/// of them, and `-Dhyperfresh.fault.only=WORDS` runs only the rows that contain the words, with `_`
/// for a blank.
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class FaultMatrixTest {
  private static final int RANDOM_FAULTS = 5;

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private FaultBench bench;

  @BeforeAll
  void start() throws IOException {
    bench = new FaultBench(WORKSPACE);
  }

  @AfterAll
  void end() {
    if (bench != null) {
      bench.close();
    }
  }

  static Stream<Case> survivable() {
    return chosen(
        Stream.concat(FaultMatrix.survivable().stream(), FaultMatrix.ofTheDisk().stream()));
  }

  static Stream<Case> ofTheDaemon() {
    return chosen(FaultMatrix.ofTheDaemon().stream());
  }

  static Stream<Case> deadly() {
    return chosen(FaultMatrix.deadly().stream());
  }

  static Stream<Case> random() {
    long seed = Long.getLong("hyperfresh.fault.seed", System.nanoTime());
    System.out.println("  random faults: -Dhyperfresh.fault.seed=" + seed);
    Random random = new Random(seed);
    return IntStream.range(0, Integer.getInteger("hyperfresh.fault.random", RANDOM_FAULTS))
        .mapToObj(_ ->
            new Case(FaultMatrix.random(random), List.of(Outcome.COMMITTED, Outcome.ROLLED_BACK)));
  }

  private static Stream<Case> chosen(Stream<Case> cases) {
    String only = System.getProperty("hyperfresh.fault.only", "").replace('_', ' ');
    return cases.filter(row -> row.toString().contains(only));
  }

  @Order(1)
  @ParameterizedTest(name = "{0}", allowZeroInvocations = true)
  @MethodSource("survivable")
  void noFaultIsNoticedByTheGuest(Case row) throws IOException {
    survive(row);
  }

  @Order(2)
  @ParameterizedTest(name = "{0}", allowZeroInvocations = true)
  @MethodSource("random")
  void norIsARandomOne(Case row) throws IOException {
    survive(row);
  }

  private void survive(Case row) throws IOException {
    bench.boot();
    Leftovers before = bench.leftovers();
    ReplacementRecord record = replaceUnder(row);
    bench.requireGuestGoesOn();
    assertThat(record.outcome()).as(record.detail()).isIn(row.outcomes());
    bench.requireNothingLeft(before);
  }

  @Order(3)
  @ParameterizedTest(name = "{0}", allowZeroInvocations = true)
  @MethodSource("ofTheDaemon")
  void theNextDaemonTakesTheGuestBack(Case row) throws IOException {
    bench.boot();
    Leftovers before = bench.leftovers();
    String from = bench.view().release();
    String said = bench.handToAnotherDaemon(row.plan());
    bench.requireGuestGoesOn();
    boolean moved = !bench.view().release().equals(from);
    System.out.printf(
        "  %s: %s; it said: %s%n", row.plan(), moved ? "committed" : "undone", said.strip());
    assertThat(moved ? Outcome.COMMITTED : Outcome.ROLLED_BACK).as(said).isIn(row.outcomes());
    bench.requireNothingLeftOfADaemon(before);
  }

  @Order(4)
  @Test
  void atTheEndEveryByteIsThere() throws IOException {
    bench.boot();
    bench.finish();
  }

  @Order(5)
  @ParameterizedTest(name = "{0}", allowZeroInvocations = true)
  @MethodSource("deadly")
  void whatOnlyOneProcessHadIsLostHonestly(Case row) throws IOException {
    bench.boot();
    ReplacementRecord record = replaceUnder(row);
    bench.requireGuestIsLostHonestly();
    assertThat(record.outcome()).as(record.detail()).isIn(row.outcomes());
  }

  private ReplacementRecord replaceUnder(Case row) {
    ReplacementRecord record = bench.replaceUnder(row.plan());
    System.out.printf(
        Locale.ROOT,
        "  %s: %s after %.1f s %s%n",
        row.plan(),
        record.outcome().label(),
        record.totalMs() / 1e3,
        record.problem());
    return record;
  }
}
