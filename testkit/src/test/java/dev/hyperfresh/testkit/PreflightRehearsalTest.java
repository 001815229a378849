package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// A pair of releases that fits passes its rehearsal, and what passed is remembered.
@Tag("slow")
class PreflightRehearsalTest extends PreflightScene {
  private static final int REHEARSALS = 4;

  @Test
  void aPairThatFitsPassesInBothDirectionsAndLeavesNothing() {
    List<Check> there = plan(newer);
    assertPass(there);
    assertThat(named(there, "rehearsal").finding())
        .matches("qemu-10.* took the state of a twin on qemu-7.*, in [0-9]+ ms, just now\\.");
    assertThat(steps).hasSize(1).first().asString().startsWith("Preflight rehearsing");
    untouched();

    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, Progress.NONE).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertPass(plan(older));
  }

  @Test
  void whatPassedIsRememberedAndADryRunRehearsesAnew() {
    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, this::step).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(rehearsals()).as("after the dry run of the set-up").isZero();
    hyperplexor.replace(GUEST, older, BUDGET, this::step);
    assertThat(rehearsals()).as("the first time in this direction").isEqualTo(1);
    hyperplexor.replace(GUEST, newer, BUDGET, this::step);
    hyperplexor.replace(GUEST, older, BUDGET, this::step);
    assertThat(rehearsals()).as("both directions remembered").isEqualTo(1);
    plan(newer);
    assertThat(rehearsals()).as("a dry run").isEqualTo(2);
    assertThat(hyperplexor.show(GUEST).generation()).isEqualTo(5);
  }

  @Test
  void anotherBinaryUnderTheSameNameIsRehearsedAnew() throws IOException {
    QemuRelease fine = releases.script("qemu-90.0.0", newer, "exec REAL \"$@\"");
    assertPass(plan(fine));
    QemuRelease worse =
        releases.script("qemu-90.0.0", newer, "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    refused(worse, "rejects");
  }

  @Test
  void withoutRehearsalTheRowIsUnknownAndTheReplacementGoesOn() {
    List<Check> checks = hyperplexor.plan(GUEST, newer, false, false, this::step);
    assertThat(named(checks, "rehearsal").verdict()).isEqualTo(Verdict.UNKNOWN);
    assertThat(steps).isEmpty();
    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, false, false, this::step).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(rehearsals()).isZero();
  }

  @Test
  void howLongARehearsalTakes() {
    Sample there = new Sample("rehearsal " + older.name() + " → " + newer.name());
    Sample back = new Sample("rehearsal " + newer.name() + " → " + older.name());
    for (int i = 0; i < REHEARSALS; i++) {
      there.add(millis(plan(newer)));
    }
    hyperplexor.replace(GUEST, newer, BUDGET, Progress.NONE);
    for (int i = 0; i < REHEARSALS; i++) {
      back.add(millis(plan(older)));
    }
    Workshop.say(there.toString());
    Workshop.say(back.toString());
    assertThat(there.quantile(1)).isLessThan(20_000);
    assertThat(back.quantile(1)).isLessThan(20_000);
  }

  private static double millis(List<Check> checks) {
    assertPass(checks);
    String finding = named(checks, "rehearsal").finding();
    return Double.parseDouble(finding.replaceFirst(".* in ([0-9]+) ms.*", "$1"));
  }
}
