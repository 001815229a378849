package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HostChecksTest {
  @Test
  void aFullKvmWithNestingRunsMachines() {
    assertThat(HostChecks.nesting(probed(KvmProbe.Verdict.USABLE, true), true).verdict())
        .isEqualTo(Finding.Verdict.OK);

    Finding off = HostChecks.nesting(probed(KvmProbe.Verdict.USABLE, false), true);
    assertThat(off.verdict()).isEqualTo(Finding.Verdict.LIMITED);
    assertThat(off.remedy()).contains("machine tune");
  }

  @ParameterizedTest
  @EnumSource(value = KvmProbe.Verdict.class, mode = EnumSource.Mode.EXCLUDE, names = "USABLE")
  void anyOtherKvmDoesNotWhateverItSaysOfNesting(KvmProbe.Verdict verdict) {
    for (boolean nested : List.of(true, false)) {
      Finding finding = HostChecks.nesting(probed(verdict, nested), true);
      assertThat(finding.verdict()).isEqualTo(Finding.Verdict.LIMITED);
      assertThat(finding.finding()).contains("translated");
    }
  }

  @Test
  void withoutAReleaseThereIsNoMachine() {
    assertThat(HostChecks.nesting(probed(KvmProbe.Verdict.USABLE, true), false).verdict())
        .isEqualTo(Finding.Verdict.MISSING);
  }

  @Test
  void settingsAreCountedAndNamed() {
    Finding all = HostChecks.tuning(List.of(knob("a", Knob.State.SET)));
    assertThat(all.verdict()).isEqualTo(Finding.Verdict.OK);
    assertThat(all.remedy()).isEmpty();

    Finding some =
        HostChecks.tuning(
            List.of(
                knob("a", Knob.State.SET),
                knob("b", Knob.State.NOT_SET),
                knob("c", Knob.State.ABSENT),
                knob("d", Knob.State.UNKNOWN),
                knob("e", Knob.State.NOT_SET)));
    assertThat(some.verdict()).isEqualTo(Finding.Verdict.LIMITED);
    assertThat(some.finding())
        .isEqualTo(
            "1 of 5 settings for cheap nesting are in place. Not set: b, e. Not to be had here:"
                + " c.");
  }

  @Test
  void bothRowsAreShown(@TempDir Path state) {
    assertThat(HostChecks.examine(new TreeMap<>(), state))
        .extracting(Finding::subject)
        .containsSubsequence("accelerator", "nesting", "tuning");
  }

  private static KvmProbe.Result probed(KvmProbe.Verdict verdict, boolean nested) {
    return new KvmProbe.Result(verdict, 0, 0, nested, "Because.");
  }

  private static Knob knob(String name, Knob.State state) {
    return new Knob(name, "Does.", state, "Found.", "Do.", false);
  }
}
