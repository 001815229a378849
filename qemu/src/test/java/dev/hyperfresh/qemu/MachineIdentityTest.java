package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.qemu.MachineIdentity.Block;
import dev.hyperfresh.qemu.MachineIdentity.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// What tells machines apart, and what of it goes into a command line.
class MachineIdentityTest {
  private static final Device GENERATION =
      new Device("vmgenid", Map.of("guid", "a11e0719-e5d1-479c-93bf-0f6cbd74c251"));
  private static final Device DISK = new Device("ide-hd", Map.of("serial", "QM00011"));

  /// As QEMU 7.2 and 10.0 answer; the last column came later.
  private static final String BLOCKS =
      """
                    Block Name    PSize              Offset               Used              Total                HVA  RO
                           ram    4 KiB  0x0000000000000000 0x0000000004000000 0x0000000004000000
      /rom@etc/acpi/tables    4 KiB  0x0000000005140000 0x0000000000020000 0x0000000000200000 0x00007f9e66200000  ro
      0000:00:01.0/virtio-net-pci.rom    4 KiB  0x0000000004080000 0x0000000000040000 0x0000000000040000 0x00007f9e6c200000  ro
      """;

  private static MachineIdentity asked(String blocks) {
    return MachineIdentity.ask((command, arguments) ->
        QmpMessage.JSON.readTree(
            switch (command + Objects.requireNonNullElse(arguments.get("path"), "")) {
              case "query-uuid" -> "{\"UUID\":\"00000000-0000-0000-0000-000000000000\"}";
              case "human-monitor-command" -> QmpMessage.JSON.writeValueAsString(blocks);
              case "query-cpus-fast" -> "[{\"qom-path\":\"/cpu\"}]";
              case "qom-list/machine/peripheral" ->
                  "[{\"name\":\"card\",\"type\":\"child<virtio-net-pci-non-transitional>\"},"
                      + "{\"name\":\"type\",\"type\":\"string\"}]";
              case "qom-list/machine/peripheral-anon" ->
                  "[{\"name\":\"device[10]\",\"type\":\"child<vmgenid>\"},"
                      + "{\"name\":\"device[9]\",\"type\":\"child<ide-hd>\"}]";
              case "qom-list/machine/unattached" ->
                  "[{\"name\":\"device[3]\",\"type\":\"child<ide-cd>\"},"
                      + "{\"name\":\"device[2]\",\"type\":\"child<ICH9-LPC>\"}]";
              case "qom-get/machine/peripheral/card" ->
                  "addr".equals(arguments.get("property")) ? "24" : "\"52:54:00:12:34:56\"";
              case "qom-get/machine/peripheral-anon/device[10]" ->
                  "addr".equals(arguments.get("property")) ? refused() : "\"some guid\"";
              case String path when path.startsWith("qom-get") -> refused();
              case String other -> throw new AssertionError(other);
            }));
  }

  private static String refused() {
    throw new Qmp.QmpException("Property not found");
  }

  @Test
  void aQemuIsAskedForWhatItsGuestSees() {
    MachineIdentity identity = asked(BLOCKS);
    assertThat(identity.named())
        .containsOnly(
            Map.entry(
                "card",
                new Device("virtio-net-pci", Map.of("mac", "52:54:00:12:34:56", "addr", "24"))));
    assertThat(identity.nameless())
        .as("in the order in which they were made")
        .containsExactly(
            new Device("ide-hd", Map.of()), new Device("vmgenid", Map.of("guid", "some guid")));
    assertThat(identity.builtIn()).containsExactly(new Device("ide-cd", Map.of()));
    assertThat(identity.blocks())
        .containsOnly(
            Map.entry("ram", new Block(64 << 20, 64 << 20)),
            Map.entry("/rom@etc/acpi/tables", new Block(0x20000, 0x200000)),
            Map.entry("0000:00:01.0/virtio-net-pci.rom", new Block(0x40000, 0x40000)));
    assertThatThrownBy(() -> asked("unknown command")).isInstanceOf(Qmp.QmpException.class);
  }

  private static MachineIdentity machine(List<Device> nameless, Map<String, Block> blocks) {
    return new MachineIdentity(Map.of(), nameless, List.of(), "id", SeenProcessor.UNKNOWN, blocks);
  }

  @Test
  void machinesAreToldApartByWhatTheGuestSees() {
    MachineIdentity here = machine(List.of(DISK), Map.of("rom", new Block(8, 8)));
    assertThat(here.differences(here, "other")).isEmpty();
    assertThat(here.differences(machine(List.of(DISK), Map.of("rom", new Block(16, 16))), "other"))
        .containsExactly(
            "the memory block rom is '0x8 bytes' and would be '0x10 bytes' with other");
    assertThat(here.differences(machine(List.of(DISK), Map.of()), "other"))
        .containsExactly("the memory block rom is missing with other");
    assertThat(
            here.differences(
                machine(List.of(new Device("ide-hd", Map.of("serial", "QM00013"))), here.blocks()),
                "other"))
        .containsExactly("serial of ide-hd is 'QM00011' and would be 'QM00013' with other");
    assertThat(
            here.differences(
                new MachineIdentity(
                    Map.of(),
                    here.nameless(),
                    List.of(),
                    "another",
                    here.processor(),
                    here.blocks()),
                "other"))
        .singleElement()
        .asString()
        .contains("UUID");
  }

  @Test
  void aDeviceThatIsMissingOrTooManyOrElsewhereIsNamed() {
    Map<String, Block> blocks = Map.of("rom", new Block(8, 8));
    Device there = new Device("virtio-blk-pci", Map.of("addr", "24"));
    Device elsewhere = new Device("virtio-blk-pci", Map.of("addr", "32"));
    MachineIdentity here = named(Map.of("a", there, "b", there), blocks);
    assertThat(here.differences(named(Map.of("a", elsewhere, "c", there), blocks), "other"))
        .containsExactlyInAnyOrder(
            "addr of a is '24' and would be '32' with other",
            "the device b is missing with other",
            "the device c is there only with other");
  }

  private static MachineIdentity named(Map<String, Device> named, Map<String, Block> blocks) {
    return new MachineIdentity(named, List.of(), List.of(), "id", SeenProcessor.UNKNOWN, blocks);
  }

  @Test
  void aBlockThatMayGrowFitsWhereThereIsRoom() {
    MachineIdentity here = machine(List.of(), Map.of("tables", new Block(0x3000, 0x10000)));
    assertThat(here.differences(machine(List.of(), Map.of("tables", new Block(8, 0x4000))), "x"))
        .isEmpty();
    assertThat(here.differences(machine(List.of(), Map.of("tables", new Block(8, 0x2000))), "x"))
        .hasSize(1);
  }

  @Test
  void theDeviceOfAnOptionIsFoundByTheOrderInWhichQemuMakesThem() throws Exception {
    Device json = new Device("e1000", Map.of("mac", "j"));
    Device pair = new Device("e1000", Map.of("mac", "p"));
    Device drive = new Device("virtio-blk-pci", Map.of());
    MachineIdentity identity = machine(List.of(pair, drive, json), Map.of());
    List<Suboptions> options =
        List.of(
            Suboptions.parse("{\"driver\":\"e1000\"}", ""),
            Suboptions.parse("e1000", "driver"),
            Suboptions.parse("e1000,id=unknown", "driver"));
    assertThat(identity.of(options, 1))
        .containsExactly(Optional.of(json), Optional.of(pair), Optional.empty());
    assertThat(identity.of(options, 0))
        .as("a type that does not fit")
        .containsExactly(Optional.empty(), Optional.of(pair), Optional.empty());
  }

  @Test
  void aGuestWhoseGenerationIdIsNotPinnedDoesNotMove() {
    MachineIdentity live = machine(List.of(GENERATION, DISK), Map.of());
    assertThat(words("vmgenid,guid=A11E0719-E5D1-479C-93BF-0F6CBD74C251").identity("r", live))
        .returns(Check.Verdict.PASS, Check::verdict);
    for (String other : List.of("vmgenid,guid=auto", "vmgenid", "vmgenid,guid=1")) {
      assertThat(words(other).identity("r", live))
          .returns(Check.Verdict.FAIL, Check::verdict)
          .extracting(Check::finding)
          .asString()
          .contains("guid of its vmgenid is a11e0719-e5d1-479c-93bf-0f6cbd74c251");
    }
    AdoptedWords another =
        words("vmgenid,guid=" + GENERATION.properties().get("guid"), "ide-hd,serial=x");
    assertThat(another.identity("r", live).finding())
        .isEqualTo("The serial of its ide-hd is QM00011 and would be x.");
  }

  private static AdoptedWords words(String... devices) {
    List<String> words = new java.util.ArrayList<>(List.of("-nodefaults"));
    for (String device : devices) {
      words.addAll(List.of("-device", device));
    }
    return new AdoptedWords(words);
  }

  @Test
  void aRehearsalHasNothingOfTheGuestBehindItsDevices() throws Exception {
    List<String> words =
        List.of(
            "-nodefaults",
            "-name",
            "guest=web1,debug-threads=on",
            "-drive",
            "file=/a.img,if=virtio,format=raw,readonly=on,aio=native,cache=none",
            "-drive",
            "if=none,id=empty,media=cdrom",
            "-blockdev",
            "{\"driver\":\"qcow2\",\"node-name\":\"q\",\"file\":\"f\",\"read-only\":true}",
            "-blockdev",
            "{\"driver\":\"throttle\",\"node-name\":\"t\",\"throttle-group\":\"g\","
                + "\"file\":{\"driver\":\"qcow2\",\"node-name\":\"below\"}}",
            "-chardev",
            "null,id=logged,logfile=/log,logappend=on",
            "-netdev",
            "tap,id=n,fd=13",
            "-chardev",
            "socket,id=hf-console,fd=12,server=on,wait=off,logfile=/log,logappend=on",
            "-chardev",
            "ringbuf,id=r",
            "-serial",
            "pty",
            "-chardev",
            "socket,id=hf-qmp,fd=11,server=on,wait=off",
            "-append",
            "-drive");
    List<AdoptedWords.OpenImage> images =
        List.of(
            new AdoptedWords.OpenImage("#1", "file", Path.of("/a.img"), 1),
            new AdoptedWords.OpenImage("#2", "raw", Path.of("/a.img"), 512),
            new AdoptedWords.OpenImage("q", "qcow2", Path.of("/q"), 4096),
            new AdoptedWords.OpenImage("below", "qcow2", Path.of("/t"), 8192),
            new AdoptedWords.OpenImage("t", "throttle", Path.of("json:{}"), 8192));
    List<String> line = new AdoptedWords(words).standIns("web1", images);
    assertThat(line)
        .hasSameSizeAs(words)
        .startsWith("-nodefaults", "-name", "guest=web1-rehearsal,debug-threads=on")
        .contains(
            "if=virtio,readonly=on,cache=none,driver=null-co,read-zeroes=on,size=512",
            "if=none,id=empty,media=cdrom",
            "tap,id=n,fd=13",
            "null,id=hf-console",
            "backend=ringbuf,id=r",
            "backend=null,id=logged",
            "null",
            "socket,id=hf-qmp,fd=11")
        .endsWith("-append", "-drive");
    assertThat(line.get(line.indexOf("-blockdev") + 1))
        .contains("null-co", "\"q\"", "4096", "\"read-only\":true")
        .doesNotContain("qcow2");
    assertThat(line)
        .filteredOn(word -> word.contains("\"t\""))
        .singleElement()
        .asString()
        .contains("null-co", "8192")
        .doesNotContain("throttle", "below");
    assertThat(AdoptedWords.unconnected(line)).contains("hubport,id=n,hubid=13");
    assertThatThrownBy(() -> new AdoptedWords(words).standIns("web1", List.of()))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("/a.img");
  }
}
