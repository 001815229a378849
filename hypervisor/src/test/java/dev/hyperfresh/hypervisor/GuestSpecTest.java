package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GuestSpecTest {
  private static final long MIB = 1L << 20;
  private static final Disk DISK = new Disk(Path.of("/d"), Disk.Format.RAW, false);

  @Test
  void aSpecWithinTheRulesHasNoFaults() {
    assertThat(new Draft().faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"a", "Z", "web1", "a-b-c", "a-", "A2345678901234567890123456789012"})
  void namesAtTheLimitsAreAccepted(String name) {
    assertThat(new Draft().name(name).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "1a",
        "-a",
        "a_b",
        "a.b",
        "a b",
        "a/b",
        "a\n",
        "ä",
        "A23456789012345678901234567890123"
      })
  void otherNamesAreRefused(String name) {
    assertThat(new Draft().name(name).faults()).singleElement().asString().startsWith("name: ");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 63, 64})
  void vcpusWithinTheLimitsAreAccepted(int vcpus) {
    assertThat(new Draft().vcpus(vcpus).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(ints = {Integer.MIN_VALUE, -1, 0, 65, Integer.MAX_VALUE})
  void otherVcpusAreRefused(int vcpus) {
    assertThat(new Draft().vcpus(vcpus).faults())
        .containsExactly("vcpus: " + vcpus + " is not between 1 and 64");
  }

  @ParameterizedTest
  @ValueSource(longs = {16 * MIB, 17 * MIB, 512 * MIB, 1L << 50})
  void memoryWithinTheLimitsIsAccepted(long bytes) {
    assertThat(new Draft().memory(bytes).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        Long.MIN_VALUE,
        -32 * MIB,
        0,
        1,
        15 * MIB,
        16 * MIB - 1,
        16 * MIB + 1,
        16 * MIB + 4096,
        Long.MAX_VALUE
      })
  void otherMemoryIsRefused(long bytes) {
    assertThat(new Draft().memory(bytes).faults())
        .singleElement()
        .asString()
        .startsWith("memory: " + bytes + " bytes");
  }

  @ParameterizedTest
  @ValueSource(strings = {"pc-q35-7.2", "microvm", "pc-i440fx-10.0", "x"})
  void pinnedMachinesAreAccepted(String machine) {
    assertThat(new Draft().machine(machine).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"q35", "pc", "none", "isapc"})
  void aliasesOfMachinesAreRefused(String machine) {
    assertThat(new Draft().machine(machine).faults())
        .containsExactly(
            "machine: '" + machine + "' differs between releases; pin one, such as pc-q35-7.2");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "-pc", "pc,kernel=/etc/shadow", "pc q35", "pc=1"})
  void textsThatAreNoMachineAreRefused(String machine) {
    assertThat(new Draft().machine(machine).faults())
        .containsExactly("machine: '" + machine + "' is not a machine type");
  }

  @Test
  void machineAndCpuHaveALongestLength() {
    assertThat(new Draft().machine("m".repeat(64)).cpu("c".repeat(256)).faults()).isEmpty();
    assertThat(new Draft().machine("m".repeat(65)).faults()).hasSize(1);
    assertThat(new Draft().cpu("c".repeat(257)).faults()).hasSize(1);
  }

  @ParameterizedTest
  @ValueSource(strings = {"qemu64", "EPYC,+svm,-avx2", "Skylake-Server-v4", "max,phys-bits=40"})
  void cpuModelsWithTheirFeaturesAreAccepted(String cpu) {
    assertThat(new Draft().cpu(cpu).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "-cpu", "qemu64 +svm", "qemu64;x", ",a"})
  void textsThatAreNoCpuAreRefused(String cpu) {
    assertThat(new Draft().cpu(cpu).faults())
        .containsExactly("cpu: '" + cpu + "' is not a CPU model");
  }

  @Test
  void aGuestNeedsAKernelOrADisk() {
    assertThat(new Draft().boot(Optional.empty()).faults())
        .containsExactly("kernel: neither a kernel nor a disk to boot from is given");
    assertThat(new Draft().boot(Optional.empty()).disks(List.of(DISK)).faults()).isEmpty();
  }

  @Test
  void commandLinesArePrintableAsciiOfAtMost2000Characters() {
    for (String text : List.of("", " ~", "x".repeat(2000))) {
      assertThat(new Draft().boot(kernel(text)).faults()).as(text).isEmpty();
    }
    for (String text : List.of("x".repeat(2001), "a\nb", "a\0", "a\u007f", "é", "\t")) {
      assertThat(new Draft().boot(kernel(text)).faults())
          .as(text)
          .containsExactly("cmdline: must be printable ASCII of at most 2000 characters");
    }
  }

  @Test
  void disksAndCardsAreCounted() {
    assertThat(new Draft().disks(Collections.nCopies(16, DISK)).faults()).isEmpty();
    assertThat(new Draft().disks(Collections.nCopies(17, DISK)).faults())
        .containsExactly("disks: 17 are more than 16");
    assertThat(new Draft().nics(cards(8)).faults()).isEmpty();
    assertThat(new Draft().nics(cards(9)).faults()).containsExactly("nics: 9 are more than 8");
  }

  @ParameterizedTest
  @ValueSource(strings = {"t", "tap0", "hf-web1_0.1", "a23456789012345"})
  void interfaceNamesAtTheLimitsAreAccepted(String name) {
    assertThat(new Draft().nics(List.of(card(name, Optional.of(name), 1))).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a234567890123456", "a/b", "a b", "-a", ".."})
  void otherInterfaceNamesAreRefused(String name) {
    assertThat(new Draft().nics(List.of(card(name, Optional.of(name), 1))).faults())
        .containsExactly(
            "nics: tap '" + name + "' is not an interface name",
            "nics: bridge '" + name + "' is not an interface name");
  }

  @ParameterizedTest
  @ValueSource(strings = {"52:54:00:12:34:56", "00:00:00:00:00:00", "fe:ff:ff:ff:ff:ff"})
  void unicastAddressesAreAccepted(String mac) {
    assertThat(new Draft().nics(List.of(new Nic("t", Optional.empty(), mac))).faults()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "53:54:00:12:34:56",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "52:54:00:12:34:5G",
        "52:54:00:AB:34:56",
        "52-54-00-12-34-56",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "52:54:00:12:34:56,romfile=x"
      })
  void otherAddressesAreRefused(String mac) {
    assertThat(new Draft().nics(List.of(new Nic("t", Optional.empty(), mac))).faults())
        .containsExactly(
            "nics: mac '" + mac + "' is not a unicast address such as 52:54:00:12:34:56");
  }

  @Test
  void twoCardsShareNeitherTapNorMac() {
    Nic card = card("t", Optional.empty(), 1);

    assertThat(new Draft().nics(List.of(card, card)).faults())
        .containsExactly("nics: two cards have the same mac", "nics: two cards have the same tap");
  }

  @Test
  void queuesOfAllCardsAreCounted() {
    Card many = new Card(Card.Model.VIRTIO, OptionalInt.empty(), 16, false);

    assertThat(new Draft().nics(cards(3, many)).faults()).isEmpty();
    assertThat(new Draft().nics(cards(4, many)).faults())
        .containsExactly("nics: 64 queues are more than 48");
  }

  @Test
  void onlyVirtioHasMtuQueuesAndVhost() {
    for (Card card :
        List.of(
            new Card(Card.Model.E1000E, OptionalInt.of(9000), 1, false),
            new Card(Card.Model.RTL8139, OptionalInt.empty(), 2, false),
            new Card(Card.Model.E1000, OptionalInt.empty(), 1, true))) {
      assertThat(new Draft().nics(cards(1, card)).faults())
          .containsExactly("nics[0].model: only virtio has mtu, queues and vhost");
    }
  }

  @Test
  void aCardOnAMacvtapIsAPlainOne() {
    Nic nic = Nic.ofMacvtap("mv0", "52:54:00:00:00:01");
    assertThat(new Draft().nics(List.of(nic)).faults()).isEmpty();
    assertThat(new Draft().nics(List.of(nic)).spec().extras())
        .containsExactly("nics[0].macvtap: mv0");
    Card many = new Card(Card.Model.VIRTIO, OptionalInt.empty(), 2, false);
    Card large = new Card(Card.Model.VIRTIO, OptionalInt.of(9000), 1, false);
    for (Nic other :
        List.of(
            new Nic("mv0", Optional.of("br0"), nic.mac(), Card.PLAIN, Optional.empty(), true),
            new Nic("mv0", Optional.empty(), nic.mac(), many, Optional.empty(), true),
            new Nic("mv0", Optional.empty(), nic.mac(), large, Optional.empty(), true))) {
      assertThat(new Draft().nics(List.of(other)).faults())
          .singleElement()
          .asString()
          .startsWith("nics[0].macvtap: a card on a macvtap has one queue");
    }
  }

  @Test
  void cardsOnUserModeNetworksShareNoTap() {
    UserMode user =
        new UserMode(
            List.of(
                new UserMode.Forward(false, "127.0.0.1", 2222, 22),
                new UserMode.Forward(true, "127.0.0.1", 2222, 22)));
    List<Nic> nics =
        List.of(user(1, Card.PLAIN, user), user(2, Card.PLAIN, new UserMode(List.of())));

    assertThat(new Draft().nics(nics).faults()).isEmpty();
    assertThat(new Draft().nics(nics).spec().taps()).isEmpty();
    Card large = new Card(Card.Model.VIRTIO, OptionalInt.of(9000), 1, false);
    assertThat(new Draft().nics(List.of(user(1, large, user))).faults())
        .containsExactly("nics[0].user: a card on a user-mode network has no mtu, queues or vhost");
  }

  @Test
  void aPortOfTheHostIsForwardedOnce() {
    for (String address : List.of("127.0.0.256", "1.2.3", "::1", "a", "")) {
      UserMode.Forward forward = new UserMode.Forward(false, address, 22, 22);
      assertThat(
              new Draft()
                  .nics(List.of(user(1, Card.PLAIN, new UserMode(List.of(forward)))))
                  .faults())
          .singleElement()
          .asString()
          .startsWith("nics[0].forward: '" + address + ":22:22' is not");
    }
    UserMode.Forward one = new UserMode.Forward(false, "0.0.0.0", 65_535, 1);
    UserMode.Forward other = new UserMode.Forward(false, "0.0.0.0", 65_535, 2);
    assertThat(
            new Draft()
                .nics(List.of(user(1, Card.PLAIN, new UserMode(List.of(one, other)))))
                .faults())
        .containsExactly("nics[0].forward: a port of this host is given twice");
    assertThat(
            new Draft()
                .nics(
                    List.of(
                        user(
                            1,
                            Card.PLAIN,
                            new UserMode(
                                IntStream.range(1, 34)
                                    .mapToObj(i -> new UserMode.Forward(false, "0.0.0.0", i, 22))
                                    .toList()))))
                .faults())
        .containsExactly("nics[0].forward: 33 ports are more than 32");
  }

  @ParameterizedTest
  @ValueSource(strings = {"127.0.0.1:5900", "0.0.0.0:65535", "[::1]:5901", "[fe80::1]:6000"})
  void screensAreShownAtAddresses(String text) {
    assertThat(screenFaults(text)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"127.0.0.1:5899", "127.0.0.1:65536", "localhost:5901", "::1:5901", "a,b:5901"})
  void otherAddressesOfScreensAreRefused(String text) {
    assertThat(screenFaults(text))
        .singleElement()
        .asString()
        .startsWith("display.vnc: '" + text + "' is neither unix nor");
  }

  private static List<String> screenFaults(String text) {
    int colon = text.lastIndexOf(':');
    Devices.Address.Port port =
        new Devices.Address.Port(
            text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
    return new Draft()
        .spec()
        .with(
            new Devices(
                false,
                false,
                Optional.empty(),
                Optional.of(new Devices.Screen(port, Optional.empty()))))
        .faults();
  }

  @Test
  void allFaultsAreReportedTogetherInTheOrderOfTheSpec() {
    List<String> faults =
        new Draft()
            .name("")
            .vcpus(0)
            .memory(1)
            .machine("q35")
            .cpu("")
            .boot(kernel("\n"))
            .disks(Collections.nCopies(17, DISK))
            .nics(Collections.nCopies(9, new Nic("", Optional.of(""), "")))
            .faults();

    assertThat(faults.stream().map(fault -> fault.substring(0, fault.indexOf(':'))).distinct())
        .containsExactly("name", "vcpus", "memory", "machine", "cpu", "cmdline", "disks", "nics");
    assertThat(faults).hasSize(7 + 1 + 9 * 3 + 2);
  }

  @Test
  void aSpecDoesNotChangeWithTheListsItWasMadeOf() {
    List<Disk> disks = new ArrayList<>(List.of(DISK));
    List<Nic> nics = new ArrayList<>(cards(1));
    GuestSpec spec = new Draft().disks(disks).nics(nics).spec();

    disks.clear();
    nics.clear();

    assertThat(spec.disks()).hasSize(1);
    assertThat(spec.nics()).hasSize(1);
  }

  private static Optional<KernelBoot> kernel(String commandLine) {
    return Optional.of(new KernelBoot(Path.of("/k"), Optional.empty(), commandLine));
  }

  private static List<Nic> cards(int count) {
    return IntStream.range(0, count).mapToObj(i -> card("tap" + i, Optional.empty(), i)).toList();
  }

  private static List<Nic> cards(int count, Card card) {
    return cards(count).stream()
        .map(nic -> new Nic(nic.tap(), nic.bridge(), nic.mac(), card, Optional.empty()))
        .toList();
  }

  private static Nic user(int last, Card card, UserMode user) {
    return new Nic("", Optional.empty(), "52:54:00:00:00:0" + last, card, Optional.of(user));
  }

  private static Nic card(String tap, Optional<String> bridge, int last) {
    return new Nic(tap, bridge, "52:54:00:00:00:0" + last);
  }

  /// A spec without faults, to be given one.
  private static final class Draft {
    private String name = "web1";
    private int vcpus = 1;
    private long memory = 64 * MIB;
    private String machine = "pc-q35-7.2";
    private String cpu = "qemu64";
    private Optional<KernelBoot> boot = kernel("quiet");
    private List<Disk> disks = List.of();
    private List<Nic> nics = List.of();

    Draft name(String value) {
      name = value;
      return this;
    }

    Draft vcpus(int value) {
      vcpus = value;
      return this;
    }

    Draft memory(long value) {
      memory = value;
      return this;
    }

    Draft machine(String value) {
      machine = value;
      return this;
    }

    Draft cpu(String value) {
      cpu = value;
      return this;
    }

    Draft boot(Optional<KernelBoot> value) {
      boot = value;
      return this;
    }

    Draft disks(List<Disk> value) {
      disks = value;
      return this;
    }

    Draft nics(List<Nic> value) {
      nics = value;
      return this;
    }

    GuestSpec spec() {
      return new GuestSpec(
          name, vcpus, memory, machine, cpu, AcceleratorWish.AUTO, boot, disks, nics);
    }

    List<String> faults() {
      return spec().faults();
    }
  }
}
