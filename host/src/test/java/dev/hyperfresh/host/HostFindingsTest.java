package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.MissingCall;
import dev.hyperfresh.linux.MissingCallException;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HostFindingsTest {
  @Test
  void aFullKvmWithNestingRunsMachines() {
    assertThat(HostFindings.nesting(probed(KvmProbe.Verdict.USABLE, true), true).verdict())
        .isEqualTo(Finding.Verdict.OK);

    Finding off = HostFindings.nesting(probed(KvmProbe.Verdict.USABLE, false), true);
    assertThat(off.verdict()).isEqualTo(Finding.Verdict.LIMITED);
    assertThat(off.remedy()).contains("machine tune");
  }

  @ParameterizedTest
  @EnumSource(value = KvmProbe.Verdict.class, mode = EnumSource.Mode.EXCLUDE, names = "USABLE")
  void anyOtherKvmDoesNotWhateverItSaysOfNesting(KvmProbe.Verdict verdict) {
    for (boolean nested : List.of(true, false)) {
      Finding finding = HostFindings.nesting(probed(verdict, nested), true);
      assertThat(finding.verdict()).isEqualTo(Finding.Verdict.LIMITED);
      assertThat(finding.finding()).contains("translated");
    }
  }

  @Test
  void withoutAReleaseThereIsNoMachine() {
    assertThat(HostFindings.nesting(probed(KvmProbe.Verdict.USABLE, true), false).verdict())
        .isEqualTo(Finding.Verdict.MISSING);
  }

  @Test
  void settingsAreCountedAndNamed() {
    Finding all = HostFindings.tuning(List.of(knob("a", Knob.State.SET)));
    assertThat(all.verdict()).isEqualTo(Finding.Verdict.OK);
    assertThat(all.remedy()).isEmpty();

    Finding some =
        HostFindings.tuning(
            List.of(
                knob("a", Knob.State.SET),
                knob("b", Knob.State.NOT_SET),
                knob("c", Knob.State.ABSENT),
                knob("d", Knob.State.UNKNOWN),
                knob("e", Knob.State.NOT_SET)));
    assertThat(some.verdict()).isEqualTo(Finding.Verdict.LIMITED);
    assertThat(some.finding())
        .isEqualTo(
            "1 of 5 settings for cheap nesting are in place. Not set: b, e. Not available here:"
                + " c.");
  }

  @Test
  void theRowsAreShown(@TempDir Path state) {
    assertThat(HostFindings.examine(new TreeMap<>(), state))
        .extracting(Finding::subject)
        .containsSubsequence("system", "accelerator", "nesting", "tuning");
  }

  @Test
  void aHostThatHasEveryCallIsFine() {
    Finding finding = HostFindings.system(List.of());

    assertThat(finding.verdict()).isEqualTo(Finding.Verdict.OK);
    assertThat(finding.subject()).isEqualTo("system");
    assertThat(finding.remedy()).isEmpty();
  }

  @Test
  void callsThatAreMissingAreNamedWithWhatDoesNotWorkWithoutThem() {
    MissingCall bpf = new MissingCall("bpf", "Linux 3.18", "packets are lost", false);
    MissingCall open = new MissingCall("pidfd_open", "Linux 5.3", "no daemon starts", true);

    Finding limited = HostFindings.system(List.of(bpf));
    assertThat(limited.verdict()).isEqualTo(Finding.Verdict.LIMITED);
    Finding missing = HostFindings.system(List.of(bpf, open));
    assertThat(missing.verdict()).isEqualTo(Finding.Verdict.MISSING);
    assertThat(missing.finding())
        .isEqualTo(
            "This host lacks calls. Without bpf, packets are lost. Without pidfd_open, no daemon"
                + " starts.");
    assertThat(missing.remedy())
        .isEqualTo("Use a host that has bpf (Linux 3.18), pidfd_open (Linux 5.3).");
  }

  @Test
  void aRowThatNeedsAMissingCallSaysSo() {
    Finding finding =
        HostFindings.unlessMissing(
            "priority",
            () -> {
              throw MissingCallException.inLibrary("gettid");
            });

    assertThat(finding.verdict()).isEqualTo(Finding.Verdict.MISSING);
    assertThat(finding.subject()).isEqualTo("priority");
    assertThat(finding.finding()).contains("gettid");
  }

  private static KvmProbe.Result probed(KvmProbe.Verdict verdict, boolean nested) {
    return new KvmProbe.Result(verdict, 0, 0, nested, "Because.");
  }

  private static Knob knob(String name, Knob.State state) {
    return new Knob(name, "Does.", state, "Found.", "Do.", false);
  }
}
