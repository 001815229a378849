package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskAccess.Aio;
import dev.hyperfresh.hypervisor.DiskAccess.Cache;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.DiskDrive.Bus;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.UserMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// The devices of a spec, and what a rehearsal has in their place. Those of a spec that says
/// nothing of them stand in [CommandLineTest].
class DeviceWordsTest {
  /// Adapters stand before the first disk that is on them.
  @Test
  void disksAreOnTheirBuses() {
    GuestSpec spec =
        spec(
            List.of(
                disk(Bus.SCSI, false, Optional.of("s-0"), OptionalInt.of(2), threaded(Cache.NONE)),
                disk(Bus.SATA, false, Optional.empty(), OptionalInt.empty(), DiskAccess.PLAIN),
                disk(
                    Bus.VIRTIO,
                    false,
                    Optional.of("v"),
                    OptionalInt.empty(),
                    threaded(Cache.DIRECTSYNC)),
                disk(Bus.SCSI, true, Optional.empty(), OptionalInt.empty(), DiskAccess.PLAIN),
                disk(Bus.SATA, true, Optional.of("cd"), OptionalInt.of(1), DiskAccess.PLAIN)),
            List.of());
    List<String> line = words(spec);

    assertThat(spec.faults()).isEmpty();
    assertThat(devices(line))
        .containsExactly(
            "iothread,id=thread-scsi",
            "virtio-scsi-pci,id=scsi,iothread=thread-scsi",
            "scsi-hd,id=blk0,drive=disk0,bus=scsi.0,scsi-id=0,serial=s-0,bootindex=2",
            "ich9-ahci,id=sata",
            "ide-hd,id=blk1,drive=disk1,bus=sata.0,serial=disk1",
            "iothread,id=thread2",
            "virtio-blk-pci,id=blk2,drive=disk2,serial=v,write-cache=off,iothread=thread2",
            "scsi-cd,id=blk3,drive=disk3,bus=scsi.0,scsi-id=1",
            "ide-cd,id=blk4,drive=disk4,bus=sata.1,serial=cd,bootindex=1");
    assertThat(devices(twin(spec, false))).isEqualTo(devices(line));
    assertThat(twin(spec, false)).noneMatch(word -> word.contains("fdset"));
  }

  @Test
  void imagesAreOpenedAsTheSpecSays() {
    GuestSpec spec =
        spec(
            List.of(
                plain(new DiskAccess(Cache.NONE, Aio.NATIVE, true, false)),
                plain(new DiskAccess(Cache.UNSAFE, Aio.IO_URING, false, false)),
                plain(new DiskAccess(Cache.WRITETHROUGH, Aio.THREADS, false, false)),
                plain(DiskAccess.PLAIN)),
            List.of());
    List<JsonNode> nodes = nodes(words(spec));

    assertThat(nodes.get(0).path("cache").path("direct").asBoolean()).isTrue();
    assertThat(nodes.get(0).path("cache").path("no-flush").asBoolean()).isFalse();
    assertThat(nodes.get(0).path("discard").asString()).isEqualTo("unmap");
    assertThat(nodes.get(0).path("file").path("aio").asString()).isEqualTo("native");
    assertThat(nodes.get(1).path("cache").path("no-flush").asBoolean()).isTrue();
    assertThat(nodes.get(1).path("file").path("aio").asString()).isEqualTo("io_uring");
    for (JsonNode other : nodes.subList(2, 4)) {
      assertThat(other.propertyNames())
          .containsExactlyInAnyOrder("driver", "node-name", "read-only", "file");
      assertThat(other.path("file").propertyNames())
          .containsExactlyInAnyOrder("driver", "filename", "locking");
    }
    assertThat(devices(words(spec)))
        .filteredOn(word -> word.contains("write-cache=off"))
        .singleElement()
        .asString()
        .contains("disk2");
  }

  /// Its numbers may be others after a boot.
  @Test
  void aBlockDeviceIsOpenedAsOne() {
    DiskImages images =
        new DiskImages(
            List.of(
                List.of(
                    new DiskImages.Image(
                        Path.of("/dev/vg/a"),
                        Disk.Format.RAW,
                        false,
                        5,
                        DiskImages.Image.DEVICE,
                        ""))));

    JsonNode node = nodes(images.arguments(0, DiskAccess.PLAIN)).getFirst();

    assertThat(node.path("driver").asString()).isEqualTo("raw");
    assertThat(node.path("file").path("driver").asString()).isEqualTo("host_device");
  }

  @Test
  void cardsHaveTheirModels() {
    UserMode user =
        new UserMode(
            List.of(
                new UserMode.Forward(false, "127.0.0.1", 2222, 22),
                new UserMode.Forward(true, "0.0.0.0", 53, 5353)));
    GuestSpec spec =
        spec(
            List.of(),
            List.of(
                nic(
                    1,
                    new Card(Card.Model.VIRTIO, OptionalInt.of(9000), 3, false),
                    Optional.empty()),
                nic(2, Card.PLAIN, Optional.of(user)),
                nic(
                    3,
                    new Card(Card.Model.E1000E, OptionalInt.empty(), 1, false),
                    Optional.empty())));

    assertThat(spec.faults()).isEmpty();
    assertThat(AdoptedMachine.queues(spec, Optional.empty())).containsExactly(3, 1);
    assertThat(words(spec))
        .containsExactly(
            "-netdev",
            "tap,fds=13:14:15,id=net0",
            "-device",
            "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,romfile=,host_mtu=9000,mq=on,"
                + "vectors=8",
            "-netdev",
            "user,id=net1",
            "-device",
            "virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:00:00:02,romfile=",
            "-netdev",
            "tap,fd=16,id=net2",
            "-device",
            "e1000e,id=nic2,netdev=net2,mac=52:54:00:00:00:03,romfile=");
    assertThat(twin(spec, true)).isEqualTo(words(spec));
    assertThat(twin(spec, false))
        .contains("hubport,hubid=13,id=net0", "user,id=net1", "hubport,hubid=16,id=net2");
    assertThat(DeviceWords.takenLater(spec).networks())
        .singleElement()
        .satisfies(network -> {
          assertThat(network.where()).isEqualTo("tcp:127.0.0.1:2222 and udp::53");
          assertThat(network.id()).contains("net1");
          assertThat(network.silent().text()).isEqualTo("type=user,id=net1");
        });
  }

  @Test
  void queuesAreCountedBeyondTheFirstNumbers() {
    Card many = new Card(Card.Model.VIRTIO, OptionalInt.empty(), 6, false);
    List<String> words =
        words(
            spec(
                List.of(),
                List.of(nic(1, many, Optional.empty()), nic(2, many, Optional.empty()))));

    assertThat(words)
        .contains("tap,fds=13:14:15:16:17:18,id=net0", "tap,fds=19:20:400:401:402:403,id=net1");
  }

  /// The guest's own instances are passed what their user may not open; a twin does without.
  @Test
  void theKernelMovesThePacketsOfCardsThatAskForIt() {
    Card vhost = new Card(Card.Model.VIRTIO, OptionalInt.empty(), 2, true);
    GuestSpec spec =
        spec(
            List.of(),
            List.of(
                nic(1, Card.PLAIN, Optional.empty()),
                nic(2, vhost, Optional.empty()),
                nic(
                    3,
                    new Card(Card.Model.VIRTIO, OptionalInt.empty(), 1, true),
                    Optional.empty())));

    assertThat(words(spec))
        .contains(
            "tap,fd=13,id=net0",
            "tap,fds=14:15,id=net1,vhost=on,vhostfds=701:702",
            "tap,fd=16,id=net2,vhost=on,vhostfd=703");
    assertThat(twin(spec, true))
        .contains("tap,fds=14:15,id=net1", "tap,fd=16,id=net2")
        .noneMatch(word -> word.contains("vhost"));
  }

  @Test
  void otherDevicesAreThereInTheTwinToo() {
    Devices devices =
        new Devices(
            true,
            true,
            Optional.empty(),
            Optional.of(
                new Devices.Screen(
                    new Devices.Address.Port("127.0.0.1", 5907), Optional.of(Path.of("/secret")))));
    GuestSpec spec = spec(List.of(), List.of()).with(devices);

    assertThat(words(spec))
        .containsExactly(
            "-object",
            "rng-builtin,id=randomness",
            "-device",
            "virtio-rng-pci,id=rng,rng=randomness",
            "-device",
            "virtio-balloon-pci,id=balloon,free-page-reporting=on",
            "-device",
            "VGA,id=screen",
            "-vnc",
            "vnc=none,password=on");
    assertThat(twin(spec, false)).isEqualTo(words(spec));
    assertThat(DeviceWords.takenLater(spec).vnc().map(VncServer::text))
        .contains("vnc=127.0.0.1:7,password=on");
    assertThat(DeviceWords.takenLater(spec(List.of(), List.of())).words()).isEmpty();
    // The daemon makes that one.
    Devices socket =
        new Devices(
            false,
            false,
            Optional.empty(),
            Optional.of(new Devices.Screen(new Devices.Address.Socket(), Optional.empty())));
    assertThat(DeviceWords.takenLater(spec.with(socket)).words()).isEmpty();
    assertThat(words(spec.with(socket))).contains("vnc=none");
  }

  private static List<String> words(GuestSpec spec) {
    List<List<DiskImages.Image>> images =
        spec.disks().stream()
            .map(disk ->
                List.of(
                    new DiskImages.Image(disk.path(), disk.format(), disk.readOnly(), 1, 2, "")))
            .toList();
    return new DeviceWords(
            spec, spec.disks(), new Backends.OfGuest(new DiskImages(images), Optional.empty()))
        .all();
  }

  private static List<String> twin(GuestSpec spec, boolean taps) {
    List<Long> bytes = spec.disks().stream().map(_ -> 512L).toList();
    return new DeviceWords(
            spec, spec.disks(), new Backends.OfRehearsal(bytes, Optional.empty(), taps))
        .all();
  }

  /// What decides how the guest sees its disks.
  private static List<String> devices(List<String> line) {
    List<String> devices = new ArrayList<>();
    for (int i = 0; i < line.size(); i++) {
      if (List.of("-object", "-device").contains(line.get(i))) {
        devices.add(line.get(i + 1));
      }
    }
    return devices;
  }

  private static List<JsonNode> nodes(List<String> line) {
    return line.stream()
        .filter(word -> word.startsWith("{"))
        .map(QmpMessage.JSON::readTree)
        .toList();
  }

  private static Disk plain(DiskAccess access) {
    return disk(Bus.VIRTIO, false, Optional.empty(), OptionalInt.empty(), access);
  }

  private static Disk disk(
      Bus bus, boolean cdrom, Optional<String> serial, OptionalInt boot, DiskAccess access) {
    return new Disk(
        Path.of("/d"), Disk.Format.RAW, cdrom, new DiskDrive(bus, cdrom, serial, boot), access);
  }

  private static DiskAccess threaded(Cache cache) {
    return new DiskAccess(cache, Aio.NATIVE, true, true);
  }

  private static Nic nic(int last, Card card, Optional<UserMode> user) {
    return new Nic(
        user.isPresent() ? "" : "tap" + last,
        Optional.empty(),
        "52:54:00:00:00:0" + last,
        card,
        user);
  }

  private static GuestSpec spec(List<Disk> disks, List<Nic> nics) {
    return new GuestSpec(
        "web1",
        1,
        64L << 20,
        "pc-q35-7.2",
        "qemu64",
        AcceleratorWish.TCG,
        Optional.of(new KernelBoot(Path.of("/k"), Optional.empty(), "")),
        disks,
        nics);
  }
}
