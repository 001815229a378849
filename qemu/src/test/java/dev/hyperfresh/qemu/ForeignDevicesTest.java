package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.with;
import static org.assertj.core.api.Assertions.assertThat;

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
  void theFileOfABootRomIsRefusedWhereverItIsGiven() {
    for (String global :
        List.of("e1000.romfile=/x.rom", "driver=e1000,property=romfile,value=/x.rom")) {
      assertThat(read("-global", global).reasons())
          .as(global)
          .singleElement()
          .asString()
          .contains("boot ROM");
    }
    assertThat(
            joined(read("-global", "e1000.romfile=", "-global", "kvm-pit.lost_tick_policy=slew")))
        .contains("-global e1000.romfile= -global kvm-pit");
  }
}
