package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SpecDocumentTest {
  private static final Path BASE = Path.of("/srv/specs");
  private static final String SMALL = "name: web1\nkernel: vmlinuz\n";

  @Test
  void everyFieldIsRead() {
    SpecDocument document =
        parse(
            """
            name: web1
            vcpus: 2
            memory: 2G
            machine: pc-q35-7.2
            cpu: qemu64,+ssse3
            accelerator: tcg
            release: qemu-7.2
            kernel: boot/vmlinuz
            initrd: /boot/initrd
            cmdline: console=ttyS0 quiet
            disks:
              - path: disk.qcow2
                format: qcow2
                readonly: true
              - path: ../shared/data.raw
                format: raw
            nics:
              - tap: web1-0
                bridge: br0
                mac: 52:54:00:12:34:56
            agent: true
            clock: step
            """);

    assertThat(document.release()).contains("qemu-7.2");
    assertThat(document.spec())
        .isEqualTo(
            new GuestSpec(
                "web1",
                2,
                2L << 30,
                "pc-q35-7.2",
                "qemu64,+ssse3",
                AcceleratorWish.TCG,
                Optional.of(
                    new KernelBoot(
                        Path.of("/srv/specs/boot/vmlinuz"),
                        Optional.of(Path.of("/boot/initrd")),
                        "console=ttyS0 quiet")),
                List.of(
                    new Disk(Path.of("/srv/specs/disk.qcow2"), Disk.Format.QCOW2, true),
                    new Disk(Path.of("/srv/shared/data.raw"), Disk.Format.RAW, false)),
                List.of(new Nic("web1-0", Optional.of("br0"), "52:54:00:12:34:56")),
                true,
                GuestSpec.ClockPolicy.STEP));
  }

  @Test
  void whatIsLeftOutHasADefault() {
    SpecDocument document = parse(SMALL);

    assertThat(document.release()).isEmpty();
    assertThat(document.spec())
        .isEqualTo(
            new GuestSpec(
                "web1",
                1,
                512L << 20,
                "pc-q35-7.2",
                "qemu64",
                AcceleratorWish.AUTO,
                Optional.of(new KernelBoot(BASE.resolve("vmlinuz"), Optional.empty(), "")),
                List.of(),
                List.of()));
  }

  @Test
  void whatBecomesOfItWhenItEndsIsRead() {
    assertThat(parse(SMALL).spec().ends()).isEqualTo(EndPolicy.DEFAULT);
    assertThat(parse(SMALL + "on-crash: restart\non-reboot: stop\non-poweroff: restart\n"))
        .extracting(document -> document.spec().ends())
        .isEqualTo(new EndPolicy(Then.RESTART, Then.STOP, Then.RESTART));
    assertThatThrownBy(() -> parse(SMALL + "on-crash: always\non_reboot: stop\n"))
        .hasMessageContaining("on-crash: 'always' is not one of stop, restart")
        .hasMessageContaining("'on_reboot' is not a field");
  }

  @Test
  void aClockThatIsSetNeedsAnAgent() {
    assertThatThrownBy(() -> parse(SMALL + "clock: step"))
        .hasMessageContaining("clock: step needs a guest agent that sets it; add agent: true");
    assertThatThrownBy(() -> parse(SMALL + "agent: maybe\nclock: slew"))
        .hasMessageContaining("agent: is neither true nor false")
        .hasMessageContaining("clock: 'slew' is not one of keep, step");
  }

  @Test
  void aFieldWithoutAValueIsOneThatIsLeftOut() {
    assertThat(parse(SMALL + "cpu:\nmemory:\ndisks:\nnics:\nrelease:\n")).isEqualTo(parse(SMALL));
  }

  @Test
  void jsonIsYamlToo() {
    assertThat(parse("{\"name\": \"web1\", \"kernel\": \"vmlinuz\"}")).isEqualTo(parse(SMALL));
  }

  @ParameterizedTest
  @CsvSource({"16M,16", "512MiB,512", "512 MiB,512", "3G,3072", "3GiB,3072", "64M,64"})
  void sizesAreReadWithTheirUnit(String size, long mebibytes) {
    assertThat(parse(SMALL + "memory: " + size).spec().memoryBytes()).isEqualTo(mebibytes << 20);
  }

  @Test
  void nodesAndHugePagesAreRead() {
    GuestSpec spec =
        parse(
                SMALL
                    + """
                    vcpus: 4
                    memory: 4G
                    huge-pages: 1G
                    numa:
                      - memory: 3G
                        vcpus: 0,2-3
                        host-nodes: 0-1
                      - memory: 1G
                        vcpus: 1
                    """)
            .spec();

    assertThat(spec.layout())
        .isEqualTo(
            new MemoryLayout(
                OptionalLong.of(1L << 30),
                List.of(
                    new MemoryLayout.Node(3L << 30, List.of(0, 2, 3), List.of(0, 1)),
                    new MemoryLayout.Node(1L << 30, List.of(1), List.of()))));
    assertThat(parse(SMALL).spec().layout()).isEqualTo(MemoryLayout.PLAIN);
  }

  @Test
  void firmwareAndATpmAreRead() {
    assertThat(parse(SMALL).spec().firmware()).isEqualTo(Firmware.DEFAULT);
    assertThat(parse(SMALL + "firmware: uefi").spec().firmware())
        .isEqualTo(new Firmware(Firmware.Kind.UEFI, false));
    assertThat(parse(SMALL + "firmware: uefi-secure\ntpm: true").spec().firmware())
        .isEqualTo(new Firmware(Firmware.Kind.UEFI_SECURE, true));
  }

  @Test
  void aCardWithoutNamesAlwaysGetsTheSameOnes() {
    String two = SMALL + "nics: [{}, {}]";
    List<Nic> nics = parse(two).spec().nics();

    assertThat(parse(two).spec().nics()).isEqualTo(nics);
    assertThat(nics.stream().map(Nic::tap)).doesNotHaveDuplicates();
    assertThat(nics.stream().map(Nic::mac)).doesNotHaveDuplicates();
    assertThat(nics).allMatch(nic -> nic.tap().matches("hf[0-9a-f]{8}"));
    assertThat(nics).allMatch(nic -> nic.mac().startsWith("52:54:00:") && nic.bridge().isEmpty());
    assertThat(parse(two.replace("web1", "web2")).spec().nics()).doesNotContainAnyElementsOf(nics);
  }

  @Test
  void anAliasIsRefusedBecauseItWouldBecomeItsName() {
    HyperFreshException refused = refusal("name: &n web1\nkernel: *n");

    assertThat(refused.problem()).isEqualTo(Problem.SPEC_MALFORMED);
    assertThat(refused.detail()).contains("Line 2", "aliases");
  }

  /// One fault a line: the document, a bar, and what the message says.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "kernel: k | name: ''",
        "name: 1web\nkernel: k | name: '1web'",
        "name: a/b\nkernel: k | name: 'a/b'",
        "name: '../../etc'\nkernel: k | name: '../../etc'",
        "name: [a]\nkernel: k | name: is not a plain value",
        "name: web1 | neither a kernel nor a disk",
        "name: web1\ninitrd: i\ndisks: [{path: d, format: raw}] | initrd and cmdline need one",
        "name: web1\nkernel: k\nvcpus: 0 | vcpus: 0 is not between 1 and 64",
        "name: web1\nkernel: k\nvcpus: 65 | vcpus: 65",
        "name: web1\nkernel: k\nvcpus: many | vcpus:",
        "name: web1\nkernel: k\nvcpus: [1] | vcpus:",
        "name: web1\nkernel: k\nvcpus: 9999999999 | vcpus:",
        "name: web1\nkernel: k\nmemory: 512 | memory: '512' is not a size",
        "name: web1\nkernel: k\nmemory: 512K | memory: '512K' is not a size",
        "name: web1\nkernel: k\nmemory: -1G | memory: '-1G' is not a size",
        "name: web1\nkernel: k\nmemory: 9999999G | is not a size",
        "name: web1\nkernel: k\nmemory: 15M | at least 16 MiB",
        "name: web1\nkernel: k\nhuge-pages: many | huge-pages: 'many' is not a size such as 2M",
        "name: web1\nkernel: k\nhuge-pages: 2 | huge-pages: is not a string",
        "name: web1\nkernel: k\nhuge-pages: 3M | huge-pages: 3 MiB is not a size of pages",
        "name: web1\nkernel: k\nhuge-pages: 1M | huge-pages: 1 MiB is not a size of pages",
        "name: web1\nkernel: k\nmemory: 17M\nhuge-pages: 2M | a part of a page of 2 MiB",
        "name: web1\nkernel: k\nnuma: 2 | numa: is not a list of mappings",
        "name: web1\nkernel: k\nnuma: [{}] | memory: '' is not a size",
        "name: web1\nkernel: k\nnuma: [{memory: 512M, cpus: 0}] | numa[0]: 'cpus' is not a field",
        "name: web1\nkernel: k\nnuma: [{memory: 512M}] | each vcpu, from 0 to 0, must be on one node",
        "name: web1\nkernel: k\nnuma: [{memory: 512M, vcpus: 0-1}] | each vcpu, from 0 to 0, must be",
        "name: web1\nkernel: k\nnuma: [{memory: 512M, vcpus: x}] | vcpus: 'x' is not numbers such as",
        "name: web1\nkernel: k\nnuma: [{memory: 512M, vcpus: 0-9999}] | more than 1024 numbers",
        "name: web1\nkernel: k\nnuma: [{memory: 256M, vcpus: 0}] | its nodes have 256 MiB, not 512",
        "name: web1\nkernel: k\nnuma: [{memory: 512M, vcpus: 0, host-nodes: 9999}] | numbers from 0 to",
        "name: web1\nkernel: k\nmachine: q35 | differs between releases",
        "name: web1\nkernel: k\nmachine: 'pc,foo=bar' | is not a machine type",
        "name: web1\nkernel: k\ncpu: 'a b' | is not a CPU model",
        "name: web1\nkernel: k\ncpu: host | cpu: 'host' is another processor on each release",
        "name: web1\nkernel: k\ncpu: 'max,+avx2' | cpu: 'max' is another processor",
        "name: web1\nkernel: k\naccelerator: hax | 'hax' is not one of auto, kvm, tcg",
        "name: web1\nkernel: k\naccelerator: KVM | 'KVM' is not one of auto, kvm, tcg",
        "name: web1\nkernel: k\ncmdline: \"a\\nb\" | cmdline: must be printable ASCII",
        "name: web1\nkernel: \"a\\0b\" | kernel: is not a path",
        "name: web1\nkernel: k\ncolour: red | 'colour' is not a field",
        "name: web1\nkernel: k\nName: x | 'Name' is not a field",
        "name: web1\nkernel: k\ndisks: d | disks: is not a list of mappings",
        "name: web1\nkernel: k\ndisks: [d] | disks: is not a list of mappings",
        "name: web1\nkernel: k\ndisks: [{}] | disks[0].path: a disk has no path",
        "name: web1\nkernel: k\ndisks: [{path: d.qcow2}] | d.qcow2 has no format; write raw or",
        "name: web1\nkernel: k\ndisks: [{path: d, format: }] | d has no format; write raw or qcow2",
        "name: web1\nkernel: k\ndisks: [{path: d, format: vmdk}] | 'vmdk' is not one of raw, qcow2",
        "name: web1\nkernel: k\ndisks: [{path: d, format: raw, readonly: yes}] | readonly: is neither true nor",
        "name: web1\nkernel: k\nvcpus: 1.9 | vcpus: '1.9' is not a whole number",
        "name: web1\nkernel: '' | kernel: is empty",
        "name: web1\nkernel: k\ncmdline: 1e3 | cmdline: is not a string; put it in quotes",
        "name: web1\nkernel: k\ndisks: [{path: d, format: raw, size: 1}] | disks[0]: 'size' is not a field",
        "name: web1\nkernel: k\nnics: {} | nics: is not a list of mappings",
        "name: web1\nkernel: k\nnics: [{tap: a/b}] | nics: tap 'a/b'",
        "name: web1\nkernel: k\nnics: [{tap: abcdefghijklmnop}] | nics: tap",
        "name: web1\nkernel: k\nnics: [{bridge: '../br0'}] | nics: bridge",
        "name: web1\nkernel: k\nnics: [{mac: '01:00:00:00:00:01'}] | is not a unicast address",
        "name: web1\nkernel: k\nnics: [{mac: '52:54:00:AA:BB:CC'}] | is not a unicast address",
        "name: web1\nkernel: k\nnics: [{mac: '52:54:00:00:00:01'}, {mac: '52:54:00:00:00:01'}]"
            + " | two cards have the same mac",
        "name: web1\nkernel: k\nnics: [{tap: a}, {tap: a}] | two cards have the same tap",
        "name: web1\nkernel: k\nfirmware: efi | 'efi' is not one of bios, uefi, uefi-secure",
        "name: web1\nkernel: k\nfirmware: UEFI | 'UEFI' is not one of bios, uefi, uefi-secure",
        "name: web1\nkernel: k\nfirmware: uefi_secure | is not one of bios, uefi, uefi-secure",
        "name: web1\nkernel: k\nfirmware: uefi-secure\nmachine: pc-i440fx-7.2 | system management",
        "name: web1\nkernel: k\ntpm: 2 | tpm: is neither true nor false",
        "name: web1\nkernel: k\nnics: [{ip: 10.0.0.1}] | nics[0]: 'ip' is not a field"
      })
  void aFaultIsNamed(String faulty) {
    int bar = faulty.lastIndexOf(" | ");
    HyperFreshException refused = refusal(faulty.substring(0, bar));

    assertThat(refused.problem()).isEqualTo(Problem.SPEC_INVALID);
    assertThat(refused.detail()).contains(faulty.substring(bar + 3)).endsWith(".");
  }

  @Test
  void allFaultsAreReportedTogether() {
    HyperFreshException refused =
        refusal(
            """
            name: 1web
            vcpus: 0
            memory: lots
            machine: q35
            accelerator: warp
            colour: red
            disks:
              - format: vmdk
              - path: d
                format: vmdk
            nics:
              - mac: nonsense
                speed: 10
            """);

    assertThat(refused.problem()).isEqualTo(Problem.SPEC_INVALID);
    assertThat(refused.detail())
        .contains(
            "'colour'",
            "'1web'",
            "vcpus: 0",
            "'lots'",
            "'q35'",
            "'warp'",
            "a disk has no path",
            "'vmdk'",
            "'nonsense'",
            "'speed'");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " ", "# nothing\n", "web1", "- name: web1", "42", "null", "---\n"})
  void whatIsNoMappingIsMalformed(String text) {
    assertThat(refusal(text).problem()).isEqualTo(Problem.SPEC_MALFORMED);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "name: [",
        "name: 'a",
        "a: b: c",
        "\tname: web1",
        "name: web1\n kernel: k",
        "{",
        "%",
        "name: \"\\q\"",
        "name: web1\u0000",
        "? [",
        "*unknown",
        "name: *unknown\nkernel: k\n]"
      })
  void whatIsNoYamlIsMalformed(String text) {
    assertThat(refusal(text).problem()).isEqualTo(Problem.SPEC_MALFORMED);
  }

  @Test
  void aMalformedDocumentIsNamedByItsLine() {
    assertThat(refusal("name: web1\nkernel: k\ncpu: 'open\n").detail()).startsWith("Line ");
  }

  @Test
  void aFieldGivenTwiceIsMalformed() {
    HyperFreshException refused = refusal(SMALL + "name: web2\n");

    assertThat(refused.problem()).isEqualTo(Problem.SPEC_MALFORMED);
    assertThat(refused.detail()).contains("name");
    assertThat(refusal(SMALL + "disks: [{path: a, path: b}]").problem())
        .isEqualTo(Problem.SPEC_MALFORMED);
  }

  @Test
  void documentsOf64KiBAreReadAndLongerOnesAreNot() {
    String longest = SMALL + "#" + "x".repeat(SpecDocument.MAX_BYTES - SMALL.length() - 1);
    assertThat(longest).hasSize(SpecDocument.MAX_BYTES);

    assertThat(parse(longest)).isEqualTo(parse(SMALL));
    assertThat(refusal(longest + "x").problem()).isEqualTo(Problem.SPEC_MALFORMED);
    assertThat(refusal(longest + "x").detail()).contains("64 KiB");
    // Bytes count, not characters.
    String wide = SMALL + "#" + "é".repeat(SpecDocument.MAX_BYTES / 2);
    assertThat(refusal(wide).problem()).isEqualTo(Problem.SPEC_MALFORMED);
  }

  @Test
  void aliasesThatMultiplyAreBounded() {
    StringBuilder bomb =
        new StringBuilder("name: web1\nkernel: k\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i <= 20; i++) {
      String before = "*a" + (i - 1);
      bomb.append("a").append(i).append(": &a").append(i).append(" [");
      bomb.append(String.join(",", java.util.Collections.nCopies(10, before))).append("]\n");
    }

    HyperFreshException refused =
        Assertions.assertTimeoutPreemptively(Duration.ofSeconds(5), () -> refusal(bomb.toString()));

    assertThat(refused.problem()).isIn(Problem.SPEC_INVALID, Problem.SPEC_MALFORMED);
    assertThat(refused.detail()).hasSizeLessThan(4096);
  }

  @ParameterizedTest
  @ValueSource(strings = {"[", "{a: ", "- "})
  void nestingIsBounded(String opening) {
    String deep = "name: web1\nkernel: k\ndisks: " + opening.repeat(16_000 / opening.length());

    HyperFreshException refused =
        Assertions.assertTimeoutPreemptively(Duration.ofSeconds(10), () -> refusal(deep));

    assertThat(refused.problem()).isIn(Problem.SPEC_INVALID, Problem.SPEC_MALFORMED);
  }

  @Test
  void tagsMakeNoObjects() {
    HyperFreshException refused =
        refusal("name: !!java.net.URL [\"http://localhost:1/\"]\nkernel: k\n");

    assertThat(refused.problem()).isIn(Problem.SPEC_INVALID, Problem.SPEC_MALFORMED);
  }

  @Test
  void pathsStartAtTheSpecsFolderAndAreNormalized() {
    GuestSpec spec =
        parse(
                "name: web1\ndisks: [{path: ./a/../b.raw, format: raw},"
                    + " {path: /x/./y, format: qcow2}]")
            .spec();

    assertThat(spec.disks().stream().map(Disk::path))
        .containsExactly(Path.of("/srv/specs/b.raw"), Path.of("/x/y"));
  }

  private static SpecDocument parse(String text) {
    return SpecDocument.parse(text, BASE);
  }

  private static HyperFreshException refusal(String text) {
    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> parse(text));
    assertThat(refused).as("refusal of: " + text.lines().limit(3).toList()).isNotNull();
    return refused;
  }
}
