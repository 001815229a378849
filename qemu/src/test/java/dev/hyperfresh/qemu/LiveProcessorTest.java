package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// What a running QEMU is asked about its processor, and what is made of its answers.
class LiveProcessorTest {
  private static final String PATH = "/machine/unattached/device[0]";

  /// `base` as QEMU answers, in extract.
  private static final String BASE =
      """
      {"avx2": false, "svm": false, "sse4.1": false, "sse4-1": false, "lahf_lm": false,
       "lahf-lm": false, "kvm": true, "pmu": false, "hv-time": false, "hv-spinlocks": 4294967295,
       "model-id": "", "vendor": "GenuineIntel", "family": 0, "phys-bits": 0, "ucode-rev": 0,
       "host-phys-bits": false, "tsc-frequency": 0, "thread-id": -1, "realized": false,
       "min-level": 0, "level": 0, "xlevel": 0, "memory": "", "bad name": false}\
      """;

  /// A processor of type `host` under KVM, in the same extract.
  private static Map<String, Object> host() {
    return new TreeMap<>(
        Map.ofEntries(
            Map.entry("type", "host-x86_64-cpu"),
            Map.entry("avx2", true),
            Map.entry("svm", false),
            Map.entry("sse4.1", true),
            Map.entry("sse4-1", true),
            Map.entry("lahf_lm", true),
            Map.entry("lahf-lm", true),
            Map.entry("kvm", true),
            Map.entry("pmu", true),
            Map.entry("hv-time", true),
            Map.entry("hv-spinlocks", 8191),
            Map.entry("model-id", "Some(R) Processor @ 2.40GHz"),
            Map.entry("vendor", "GenuineIntel"),
            Map.entry("family", 6),
            Map.entry("phys-bits", 46),
            Map.entry("ucode-rev", 18446744073709551L),
            Map.entry("host-phys-bits", true),
            Map.entry("tsc-frequency", 2400000000L),
            Map.entry("thread-id", 0),
            Map.entry("realized", true),
            Map.entry("min-level", 13),
            Map.entry("level", 22),
            Map.entry("xlevel", 2147483656L),
            Map.entry("migratable", true),
            Map.entry("host-cache-info", false),
            Map.entry("unavailable-features", List.of())));
  }

  private static MachineIdentity.Respondent qemu(String base, Map<String, Object> processor) {
    return (command, arguments) ->
        switch (command) {
          case "query-cpus-fast" -> json("[{\"qom-path\":\"" + PATH + "\"},{\"qom-path\":\"x\"}]");
          case "query-cpu-model-expansion" ->
              json("{\"model\":{\"name\":\"base\",\"props\":" + base + "}}");
          case "qom-get" -> {
            assertThat((Object) arguments.get("path")).isEqualTo(PATH);
            Object value = processor.get(String.valueOf((Object) arguments.get("property")));
            if (value == null) {
              throw new Qmp.QmpException("Property not found");
            }
            yield json(QmpMessage.JSON.writeValueAsString(value));
          }
          case String other -> throw new AssertionError(other);
        };
  }

  private static JsonNode json(String text) {
    return Objects.requireNonNull(QmpMessage.JSON.readTree(text));
  }

  @Test
  void theProcessorOfTheHostIsBaseWithAllThatItHas() {
    LiveProcessor host = LiveProcessor.ask(qemu(BASE, host()));
    assertThat(host.model()).isEqualTo("host");
    assertThat(host.levels())
        .containsOnly(Map.entry("level", "22"), Map.entry("xlevel", "2147483656"));
    assertThat(host.pinned())
        .containsExactlyInAnyOrderEntriesOf(
            Map.ofEntries(
                Map.entry("avx2", "on"),
                Map.entry("sse4.1", "on"),
                Map.entry("lahf-lm", "on"),
                Map.entry("pmu", "on"),
                Map.entry("hv-time", "on"),
                Map.entry("hv-spinlocks", "8191"),
                Map.entry("model-id", "Some(R) Processor @ 2.40GHz"),
                Map.entry("vendor", "GenuineIntel"),
                Map.entry("family", "6"),
                Map.entry("phys-bits", "46"),
                Map.entry("ucode-rev", "18446744073709551"),
                Map.entry("min-level", "13"),
                Map.entry("level", "22"),
                Map.entry("xlevel", "2147483656"),
                // The rate of its TSC goes with the guest's state.
                Map.entry("host-phys-bits", "off"),
                Map.entry("enforce", "on")));
  }

  @Test
  void ofANamedModelOnlyWhatItLacksIsAsked() {
    Map<String, Object> epyc = host();
    epyc.put("type", "EPYC-x86_64-cpu");
    epyc.put("unavailable-features", List.of("sha-ni", "xsavec", "no feature"));
    LiveProcessor processor = LiveProcessor.ask(qemu("{}", epyc));
    assertThat(processor.model()).isEqualTo("EPYC");
    assertThat(processor.traits()).isEmpty();
    assertThat(processor.lacking()).containsExactly("sha-ni", "xsavec");
    assertThat(processor.asItIs("EPYC,avx2=on"))
        .isEqualTo("EPYC,avx2=on,sha-ni=off,xsavec=off,level=22,xlevel=2147483656");
    assertThat(processor.asItIs("EPYC,+sha-ni"))
        .as("QEMU obeys + after =off")
        .startsWith("EPYC,+sha-ni,-sha-ni,-xsavec,level=22");
  }

  @Test
  void aQemuThatDoesNotSayWhatItLacksLacksNothing() {
    Map<String, Object> old = host();
    old.put("type", "Nehalem-x86_64-cpu");
    old.remove("unavailable-features");
    assertThat(LiveProcessor.ask(qemu("{}", old)).asItIs("Nehalem")).isEqualTo("Nehalem");
  }

  @Test
  void anAnswerWithoutEndIsNotRead() {
    StringBuilder base = new StringBuilder("{\"a\":true");
    for (int i = 0; i < 3000; i++) {
      base.append(",\"p").append(i).append("\":true");
    }
    assertThatThrownBy(() -> LiveProcessor.ask(qemu(base.append('}').toString(), host())))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessageContaining("more than 2000 properties");
  }

  /// As QEMU 7.2, 10.0 and 11.1 say it.
  @Test
  void whatATargetLacksIsToldByName() {
    assertThat(
            LiveProcessor.missing(
                List.of(
                    "qemu-system-x86_64: warning: Machine type 'pc-q35-7.2' is deprecated",
                    "qemu-system-x86_64: warning: TCG doesn't support requested feature:"
                        + " CPUID.80000021H:EAX.no-nested-data-bp [bit 0]",
                    "qemu-system-x86_64: warning: host doesn't support requested feature:"
                        + " CPUID.01H:ECX.sse4.1 [bit 19]",
                    "qemu-system-x86_64: warning: host doesn't support requested feature:"
                        + " MSR(48EH).vmx-ept [bit 3]",
                    "qemu-system-x86_64: TCG doesn't support requested features")))
        .containsExactly("no-nested-data-bp", "sse4.1", "vmx-ept");
    assertThat(
            LiveProcessor.missing(
                List.of(
                    "qemu-system-x86_64: can't apply global base-x86_64-cpu.cmpccxadd=on: Property"
                        + " 'base-x86_64-cpu.cmpccxadd' not found")))
        .containsExactly("cmpccxadd");
    assertThat(LiveProcessor.missing(List.of("Unknown savevm section", ""))).isEmpty();
  }

  private static SeenProcessor seen(long bits, Object family) {
    Map<String, Object> processor = host();
    processor.put("family", family);
    processor.put(
        "feature-words",
        List.of(
            Map.of(
                "cpuid-register",
                "EBX",
                "cpuid-input-eax",
                7,
                "cpuid-input-ecx",
                0,
                "features",
                bits),
            Map.of("cpuid-register", "ECX", "cpuid-input-eax", 2147483649L, "features", 0)));
    return SeenProcessor.ask(qemu(BASE, processor));
  }

  @Test
  void whatTheGuestSeesOfTwoProcessorsIsCompared() {
    SeenProcessor here = seen(0x23, 6);
    assertThat(here.words())
        .containsOnly(Map.entry("CPUID 0x7.0 EBX", 0x23L), Map.entry("CPUID 0x80000001 ECX", 0L));
    assertThat(here.values()).containsEntry("model-id", "Some(R) Processor @ 2.40GHz");
    assertThat(here.differences(seen(0x23, 6), "other")).isEmpty();
    assertThat(here.differences(seen(0x43, 15), "other"))
        .containsExactly(
            "the processor would lack 0x20 of CPUID 0x7.0 EBX with other",
            "the processor would have also 0x40 of CPUID 0x7.0 EBX with other",
            "family of the processor is '6' and would be '15' with other");
    assertThat(here.differences(seen(0x23 | 1 << 22, 6), "other"))
        .as("what no processor has and newer releases lack")
        .isEmpty();
    assertThat(here.differences(SeenProcessor.UNKNOWN, "other"))
        .containsExactly("the processor would lack 0x23 of CPUID 0x7.0 EBX with other");
  }
}
