package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.with;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Which processor later instances have.
class ForeignProcessorTest {
  private static final Map<String, String> LEVELS = Map.of("level", "13", "xlevel", "2147483658");

  private static LiveMachine running(String model, String... more) {
    Map<String, String> traits =
        new HashMap<>(
            Map.of("avx2", "on", "vendor", "AuthenticAMD", "migratable", "on", "phys-bits", "40"));
    for (int i = 0; i < more.length; i += 2) {
      traits.put(more[i], more[i + 1]);
    }
    return with(new LiveProcessor(model, LEVELS, traits, List.of()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"host", "max"})
  void whatIsAnotherProcessorOnEachReleaseIsPinnedToWhatItIs(String model) {
    ForeignCommandLine line = read(running(model), "-cpu", model + ",-svm,migratable=yes,+x2apic");
    assertThat(joined(line))
        .contains(
            "-cpu base,avx2=on,enforce=on,host-phys-bits=off,level=13,phys-bits=40,"
                + "vendor=AuthenticAMD,xlevel=2147483658 -");
    assertThat(line.cpu()).isEqualTo(model + ",-svm,migratable=yes,+x2apic");
    assertThat(line.remarks()).isEmpty();
    assertThat(new AdoptedWords(line.words()).pinProcessor()).isTrue();
    assertThat(new AdoptedWords(read("-cpu", "qemu64").words()).pinProcessor()).isFalse();
  }

  @Test
  void aFeatureThatWasGivenUpByAllIsLeftOutWithARemark() {
    ForeignCommandLine line = read(running("max", "pcommit", "on"), "-cpu", "max");
    assertThat(joined(line)).doesNotContain("pcommit");
    assertThat(line.remarks()).singleElement().asString().contains("loses pcommit");
  }

  /// QEMU splits `-cpu` at each comma.
  @Test
  void aNameWithACommaIsGivenApart() {
    LiveMachine live = running("host", "model-id", "Some Processor, 12 Cores");
    assertThat(read(live, "-cpu", "host").words())
        .containsSubsequence(
            "-cpu", "-global", "base-x86_64-cpu.model-id=Some Processor, 12 Cores");
  }

  @Test
  void onlyARateThatItsOwnerGaveIsGivenAgain() {
    assertThat(joined(read(running("host"), "-cpu", "host,tsc_freq=2400000000")))
        .contains("tsc-freq=2400000000");
  }

  @Test
  void whatCannotBePinnedIsRefusedByName() {
    assertRefused("with migratable=off", running("host"), "-cpu", "host,migratable=no");
    assertRefused("with migratable=off", running("host", "migratable", "off"), "-cpu", "host");
    assertRefused("hv-passthrough; name", running("host"), "-cpu", "host,hv_passthrough");
    assertRefused("host-cache-info", running("host", "host-cache-info", "on"), "-cpu", "host");
    assertRefused(
        "cpu-pm=on", running("host"), "-cpu", "host", "-overcommit", "mem-lock=off,cpu-pm=on");
    assertRefused("its model-id cannot", running("max", "model-id", "a\nb"), "-cpu", "max");
    assertRefused("its model-id cannot", running("max", "model-id", "x".repeat(65)), "-cpu", "max");
    assertRefused("the running QEMU has the model 'qemu64'", running("qemu64"), "-cpu", "max");
  }

  private static void assertRefused(String reason, LiveMachine live, String... more) {
    assertThat(read(live, more).reasons())
        .singleElement()
        .asString()
        .startsWith("-cpu ")
        .contains(reason);
  }

  /// A model without a version is that of the machine type, which has one.
  @ParameterizedTest
  @ValueSource(strings = {"EPYC", "Skylake-Server,hle=off", "qemu64", "kvm64,+x2apic", "base,+lm"})
  void aNamedModelStaysAsItIs(String cpu) {
    assertThat(read("-cpu", cpu).words()).containsSubsequence("-cpu", cpu);
  }

  @Test
  void aNamedModelDoesNotGetLaterWhatItLacksNow() {
    LiveMachine live =
        with(new LiveProcessor("EPYC", LEVELS, Map.of(), List.of("sha-ni", "xsavec")));
    ForeignCommandLine line = read(live, "-cpu", "EPYC");
    assertThat(line.words()).contains("EPYC,sha-ni=off,xsavec=off,level=13,xlevel=2147483658");
    assertThat(line.cpu()).isEqualTo("EPYC");
    assertThat(joined(read(live))).contains("-cpu qemu64,sha-ni=off");
    assertThat(joined(read())).doesNotContain("-cpu");
  }
}
