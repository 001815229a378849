package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.with;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// Devices as a command line makes them, and as they are by now.
class ForeignDevicesTest {
  @Test
  void imagesAndDevicesMustStillBeThoseOfTheLine() {
    LiveMachine snapshot = live(Set.of(), 1, List.of("/img/overlay.qcow2", "/img/base.qcow2"));
    assertThat(read(snapshot, "-drive", "file=/img/base.qcow2,if=virtio").reasons())
        .singleElement()
        .asString()
        .contains("/img/overlay.qcow2");
    LiveMachine ejected = live(Set.of(), 0, List.of());
    assertThat(read(ejected, "-cdrom", "/img/a.iso").reasons())
        .anyMatch(reason -> reason.contains("no longer uses /img/a.iso"));
    assertThat(read(live(Set.of("late"), 0, List.of())).reasons())
        .singleElement()
        .asString()
        .contains("plugged since: late");
  }

  @Test
  void whatQemuMadeUpIsWrittenDown() {
    var generation = new MachineIdentity.Device("vmgenid", Map.of("guid", "a11e"));
    var card = new MachineIdentity.Device("e1000", Map.of("mac", "52:54:00:12:34:56"));
    assertThat(
            joined(
                read(
                    with(generation, card),
                    "-device",
                    "{\"driver\":\"e1000\",\"addr\":\"4\",\"x\":{\"y\":1}}",
                    "-device",
                    "vmgenid,guid=auto")))
        .contains("-device driver=vmgenid,guid=a11e")
        .contains("{\"driver\":\"e1000\",\"addr\":\"4\",\"x\":{\"y\":1},")
        .contains("\"mac\":\"52:54:00:12:34:56\"}");
    // What it was told is kept as it was written.
    assertThat(joined(read(with(card), "-device", "e1000,mac=52:54:00:12:34:56,addr=4")))
        .contains("-device e1000,mac=52:54:00:12:34:56,addr=4");
    for (String device : List.of("vmgenid", "vmgenid,guid=auto", "e1000")) {
      assertThat(read(live(Set.of(), 1, List.of()), "-device", device).reasons())
          .as(device)
          .singleElement()
          .asString()
          .contains("QEMU chose its");
    }
  }

  @Test
  void theFileOfABootRomIsCopiedWhereverItIsGiven() {
    String copy = FILES + "/read-files/";
    ForeignCommandLine line =
        read(
            live(Set.of(), 3, List.of()),
            "-device",
            "virtio-rng-pci,romfile=/srv/roms/a.rom,rombar=0",
            "-device",
            "{\"driver\":\"virtio-balloon-pci\",\"romfile\":\"b/c.rom\",\"addr\":\"5\"}",
            "-device",
            "virtio-rng-pci,romfile=/srv/roms/a.rom",
            "-global",
            "e1000.romfile=/x.rom",
            "-global",
            "driver=e1000,property=romfile,value=/y.rom");
    assertThat(joined(line))
        .contains("driver=virtio-rng-pci,romfile=" + copy + "0/a.rom,rombar=0")
        .contains("\"driver\":\"virtio-balloon-pci\",\"romfile\":\"" + copy + "1/c.rom\"")
        .contains("driver=virtio-rng-pci,romfile=" + copy + "0/a.rom ")
        .contains("-global e1000.romfile=" + copy + "2/x.rom")
        .contains("-global driver=e1000,property=romfile,value=" + copy + "3/y.rom");
    assertThat(line.pinned())
        .hasSize(4)
        .containsEntry(Path.of("/srv/roms/a.rom"), Path.of(copy + "0/a.rom"))
        .containsEntry(Path.of("/srv/vm/b/c.rom"), Path.of(copy + "1/c.rom"));
    // One without a folder is looked for where all firmware is.
    assertThat(
            joined(
                read(
                    live(Set.of(), 1, List.of()),
                    "-device",
                    "virtio-rng-pci,romfile=efi.rom",
                    "-global",
                    "e1000.romfile=",
                    "-global",
                    "kvm-pit.lost_tick_policy=slew")))
        .contains("-device virtio-rng-pci,romfile=efi.rom")
        .contains("-global e1000.romfile= -global kvm-pit");
  }

  @Test
  void aDeviceMayHaveAnotherName() {
    var card = new MachineIdentity.Device("virtio-net-pci", Map.of("mac", "52:54:00:12:34:56"));
    assertThat(joined(read(with(card), "-device", "virtio-net,addr=4")))
        .contains("-device driver=virtio-net,addr=4,mac=52:54:00:12:34:56");
    String[] drivers = {
      "virtio-blk,drive=x",
      "virtio-scsi",
      "virtio-serial",
      "virtio-balloon",
      "virtio-rng",
      "virtio-mouse",
      "ahci",
      "lsi",
      "virtio-scsi-pci-non-transitional",
      "virtio-blk-pci-transitional,drive=x"
    };
    for (String driver : drivers) {
      assertThat(joined(read(live(Set.of(), 1, List.of()), "-device", driver)))
          .contains("-device " + driver);
    }
  }

  @Test
  void soundMovesAndFallsSilentWhereItBelongsToADesktop() {
    ForeignCommandLine line =
        read(
            live(Set.of("hda", "codec"), 0, List.of()),
            "-audiodev",
            "{\"id\":\"a,1\",\"driver\":\"pipewire\",\"out\":{\"frequency\":48000}}",
            "-audiodev",
            "none,id=b,timer-period=1000",
            "-device",
            "ich9-intel-hda,id=hda",
            "-device",
            "{\"driver\":\"hda-duplex\",\"id\":\"codec\",\"bus\":\"hda.0\",\"audiodev\":\"b\"}");
    assertThat(joined(line))
        .contains("-audiodev none,id=a,,1 -audiodev none,id=b,timer-period=1000")
        .contains("\"audiodev\":\"b\"");
    assertThat(line.remarks()).singleElement().asString().contains("a,1 (pipewire) is silent");
  }
}
