package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.UserMode;
import java.io.IOException;
import java.io.StringReader;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;
import org.junit.jupiter.api.Test;

/// What one daemon writes down of a spec, and the next one reads.
class SpecPropertiesTest {
  /// As a daemon wrote it that knew of no other disks and cards.
  private static final String EARLIER =
      """
      name=web1
      vcpus=2
      memory=67108864
      machine=pc-q35-7.2
      cpu=qemu64
      wish=TCG
      agent=false
      clock=KEEP
      on-crash=STOP
      on-reboot=RESTART
      on-poweroff=STOP
      kernel=/k
      initrd=/i
      cmdline=quiet
      disk.0=/d.qcow2
      disk.0.format=QCOW2
      disk.0.readonly=false
      disk.1=/e
      disk.1.format=RAW
      disk.1.readonly=true
      nic.0=tap0
      nic.0.mac=52:54:00:00:00:01
      nic.0.bridge=br0
      """;

  private static final GuestSpec PLAIN =
      new GuestSpec(
          "web1",
          2,
          64L << 20,
          "pc-q35-7.2",
          "qemu64",
          AcceleratorWish.TCG,
          Optional.of(new KernelBoot(Path.of("/k"), Optional.of(Path.of("/i")), "quiet")),
          List.of(
              new Disk(Path.of("/d.qcow2"), Disk.Format.QCOW2, false),
              new Disk(Path.of("/e"), Disk.Format.RAW, true)),
          List.of(new Nic("tap0", Optional.of("br0"), "52:54:00:00:00:01")));

  /// And it reads what is written now.
  @Test
  void aGuestOfAnEarlierDaemonIsTheSameOne() throws IOException {
    Properties earlier = new Properties();
    earlier.load(new StringReader(EARLIER));

    assertThat(SpecProperties.read(earlier, "")).isEqualTo(PLAIN);
    assertThat(written(PLAIN)).isEqualTo(earlier);
  }

  @Test
  void everyDeviceIsReadAsItWasWritten() {
    UserMode user =
        new UserMode(
            List.of(
                new UserMode.Forward(false, "127.0.0.1", 2222, 22),
                new UserMode.Forward(true, "0.0.0.0", 53, 5353)));
    GuestSpec rich =
        with(
                List.of(
                    new Disk(
                        Path.of("/dev/vg/a"),
                        Disk.Format.RAW,
                        false,
                        new DiskDrive(
                            DiskDrive.Bus.SCSI, false, Optional.of("s-0"), OptionalInt.of(2)),
                        new DiskAccess(
                            DiskAccess.Cache.DIRECTSYNC, DiskAccess.Aio.IO_URING, true, true)),
                    new Disk(
                        Path.of("/cd"),
                        Disk.Format.RAW,
                        true,
                        new DiskDrive(
                            DiskDrive.Bus.SATA, true, Optional.empty(), OptionalInt.empty()),
                        DiskAccess.PLAIN)),
                List.of(
                    new Nic(
                        "tap0",
                        Optional.empty(),
                        "52:54:00:00:00:01",
                        new Card(Card.Model.VIRTIO, OptionalInt.of(9000), 4, true),
                        Optional.empty()),
                    new Nic(
                        "",
                        Optional.empty(),
                        "52:54:00:00:00:02",
                        new Card(Card.Model.RTL8139, OptionalInt.empty(), 1, false),
                        Optional.of(user)),
                    new Nic(
                        "",
                        Optional.empty(),
                        "52:54:00:00:00:03",
                        Card.PLAIN,
                        Optional.of(new UserMode(List.of()))),
                    Nic.ofMacvtap("mv0", "52:54:00:00:00:04")))
            .with(
                new Devices(
                    true,
                    true,
                    Optional.of(
                        new Devices.CloudInit(
                            Path.of("/u"), Optional.of(Path.of("/m")), Optional.of(Path.of("/n")))),
                    Optional.of(
                        new Devices.Screen(
                            new Devices.Address.Port("[::1]", 5901),
                            Optional.of(Path.of("/secret"))))));

    assertThat(SpecProperties.read(written(rich), "")).isEqualTo(rich);
    GuestSpec other =
        PLAIN.with(
            new Devices(
                false,
                true,
                Optional.of(
                    new Devices.CloudInit(Path.of("/u"), Optional.empty(), Optional.empty())),
                Optional.of(new Devices.Screen(new Devices.Address.Socket(), Optional.empty()))));
    assertThat(SpecProperties.read(written(other), "")).isEqualTo(other);
  }

  private static GuestSpec with(List<Disk> disks, List<Nic> nics) {
    return new GuestSpec(
        PLAIN.name(),
        PLAIN.vcpus(),
        PLAIN.memoryBytes(),
        PLAIN.machine(),
        PLAIN.cpu(),
        PLAIN.accelerator(),
        PLAIN.boot(),
        disks,
        nics);
  }

  private static Properties written(GuestSpec spec) {
    Properties p = new Properties();
    SpecProperties.put(p, "", spec);
    return p;
  }
}
