package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.machine.Knob;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DoctorTest {
  @Test
  void aFullKvmWithNestingRunsMachines() {
    assertThat(Doctor.nesting(probed(KvmProbe.Verdict.USABLE, true), true).verdict())
        .isEqualTo(Doctor.Verdict.OK);

    Doctor.Finding off = Doctor.nesting(probed(KvmProbe.Verdict.USABLE, false), true);
    assertThat(off.verdict()).isEqualTo(Doctor.Verdict.LIMITED);
    assertThat(off.remedy()).contains("machine tune");
  }

  @ParameterizedTest
  @EnumSource(value = KvmProbe.Verdict.class, mode = EnumSource.Mode.EXCLUDE, names = "USABLE")
  void anyOtherKvmDoesNotWhateverItSaysOfNesting(KvmProbe.Verdict verdict) {
    for (boolean nested : List.of(true, false)) {
      Doctor.Finding finding = Doctor.nesting(probed(verdict, nested), true);
      assertThat(finding.verdict()).isEqualTo(Doctor.Verdict.LIMITED);
      assertThat(finding.finding()).contains("translated");
    }
  }

  @Test
  void withoutAReleaseThereIsNoMachine() {
    assertThat(Doctor.nesting(probed(KvmProbe.Verdict.USABLE, true), false).verdict())
        .isEqualTo(Doctor.Verdict.MISSING);
  }

  @Test
  void settingsAreCountedAndNamed() {
    Doctor.Finding all = Doctor.tuning(List.of(knob("a", Knob.State.SET)));
    assertThat(all.verdict()).isEqualTo(Doctor.Verdict.OK);
    assertThat(all.remedy()).isEmpty();

    Doctor.Finding some =
        Doctor.tuning(
            List.of(
                knob("a", Knob.State.SET),
                knob("b", Knob.State.NOT_SET),
                knob("c", Knob.State.ABSENT),
                knob("d", Knob.State.UNKNOWN),
                knob("e", Knob.State.NOT_SET)));
    assertThat(some.verdict()).isEqualTo(Doctor.Verdict.LIMITED);
    assertThat(some.finding())
        .isEqualTo(
            "1 of 5 settings for cheap nesting are in place. Not set: b, e. Not to be had here: c.");
  }

  @Test
  void bothRowsAreShown(@TempDir Path state) {
    assertThat(Doctor.examine(DaemonConfig.under(state)))
        .extracting(Doctor.Finding::subject)
        .containsSubsequence("accelerator", "nesting", "tuning");
  }

  private static KvmProbe.Result probed(KvmProbe.Verdict verdict, boolean nested) {
    return new KvmProbe.Result(verdict, 0, 0, nested, "Because.");
  }

  private static Knob knob(String name, Knob.State state) {
    return new Knob(name, "Does.", state, "Found.", "Do.", false);
  }
}
