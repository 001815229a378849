package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.UserMode;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What a document says of devices, beyond plain disks and cards.
class SpecDevicesTest {
  private static final Path BASE = Path.of("/srv/specs");
  private static final String SMALL = "name: web1\nkernel: vmlinuz\n";

  /// One fault a line: what is added to a document, a bar, and what the message says.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "rng: 1 | rng: is neither true nor false",
        "balloon: yes | balloon: is neither true nor false",
        "cloud-init: u | cloud-init: is not a mapping",
        "cloud-init: {} | cloud-init.user-data: is missing",
        "cloud-init: {user-data: u, userdata: v} | cloud-init: 'userdata' is not",
        "cloud-init: {user-data: [u]} | cloud-init.user-data: is not a plain",
        "display: gtk | display: is not a mapping",
        "display: {} | display.vnc: is missing",
        "display: {spice: unix} | display: 'spice' is not a field",
        "display: {vnc: ':1'} | display.vnc: ':1' is neither unix nor an",
        "display: {vnc: '127.0.0.1:80'} | display.vnc: '127.0.0.1:80' is neither",
        "display: {vnc: 'a,b:5901'} | display.vnc: 'a,b:5901' is neither",
        "nics: [{model: ne2k}] | nics[0].model: 'ne2k' is not one of virtio,",
        "nics: [{}, {mtu: 60}] | nics[1].mtu: 60 is not between 68 and 65521",
        "nics: [{mtu: big}] | nics[0].mtu: 'big' is not a whole number",
        "nics: [{queues: 17}] | nics[0].queues: 17 is not between 1 and 16",
        "nics: [{vhost: 1}] | nics[0].vhost: is neither true nor false",
        "nics: [{model: e1000, vhost: true}] | nics[0].model: only virtio has",
        "nics: [{user: true, vhost: true}] | nics[0].user: a card on a user-mode",
        "nics: [{macvtap: m, tap: t}] | nics[0].macvtap: a card on a macvtap has no tap",
        "nics: [{macvtap: m, queues: 2}] | nics[0].macvtap: a card on a macvtap has one",
        "nics: [{macvtap: m, user: true}] | nics[0].user: a card on a user-mode",
        "nics: [{user: true, tap: t}] | nics[0].user: a card on a user-mode",
        "nics: [{forward: ['22:22']}] | nics[0].forward: needs user: true",
        "nics: [{user: true, forward: a}] | nics[0].forward: is not a list",
        "nics: [{user: true, forward: [22]}] | nics[0].forward: '22' is not ports",
        "nics: [{user: true, forward: ['0:22']}] | forward: '127.0.0.1:0:22' is not"
      })
  void aFaultNamesItsField(String faulty) {
    int bar = faulty.lastIndexOf(" | ");

    assertRefused(SMALL + faulty.substring(0, bar), faulty.substring(bar + 3));
  }

  /// As [#aFaultNamesItsField], of fields of a second disk.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "bus: nvme | disks[1].bus: 'nvme' is not one of virtio, scsi, sata",
        "bus: sata, readonly: true | disks[1].bus: a read-only disk cannot be on sata",
        "bus: virtio, cdrom: true | disks[1].bus: a CD is on sata or scsi",
        "serial: 12 | disks[1].serial: is not a string; put it in quotes",
        "serial: 'a,b' | disks[1].serial: 'a,b' is not 1 to 20 letters",
        "serial: abcdefghijklmnopqrstu | is not 1 to 20 letters",
        "boot: 0 | disks[1].boot: 0 is not between 1 and 99",
        "boot: first | disks[1].boot: 'first' is not a whole number",
        "cache: direct | disks[1].cache: 'direct' is not one of writeback, none, writethrough, direct",
        "aio: native | disks[1].aio: native needs cache: none or directsync",
        "aio: posix | disks[1].aio: 'posix' is not one of threads, native, io_uring",
        "discard: unmap | disks[1].discard: is neither true nor false",
        "bus: sata, iothread: true | disks[1].iothread: a disk on sata cannot have one",
        "colour: red | disks[1]: 'colour' is not a field"
      })
  void aFaultOfADiskNamesDiskAndField(String faulty) {
    int bar = faulty.lastIndexOf(" | ");
    String first = SMALL + "disks: [{path: a, format: raw}, {path: b, format: raw, ";

    assertRefused(first + faulty.substring(0, bar) + "}]", faulty.substring(bar + 3));
  }

  @Test
  void disksDoNotShareWhatIsTheirs() {
    String disk = "{path: a, format: raw, bus: sata, serial: x, boot: 1}";

    assertThat(refused(SMALL + "disks: [" + disk + "," + disk + "]").detail())
        .contains("two disks have the same serial", "two disks have the same boot");
    String bare = "{path: a, format: raw, bus: sata}";
    assertThat(
            refused(SMALL + "disks: [" + String.join(",", Collections.nCopies(7, bare)) + "]")
                .detail())
        .contains("disks: 7 on sata are more than 6");
  }

  @Test
  void everyFieldOfADeviceIsRead() {
    GuestSpec spec =
        parse(
                SMALL
                    + """
                    disks:
                      - path: /dev/vg/web1
                        format: raw
                        serial: root-1
                        boot: 2
                        cache: none
                        aio: native
                        discard: true
                        iothread: true
                      - {path: d.qcow2, format: qcow2, bus: scsi, readonly: true, cache: writethrough}
                      - {path: cd.iso, format: raw, cdrom: true, boot: 1}
                      - {path: cd.iso, format: raw, cdrom: true, bus: scsi, aio: io_uring}
                    nics:
                      - {model: e1000e, mac: 52:54:00:00:00:01}
                      - {bridge: br0, mtu: 9000, queues: 4, vhost: true}
                      - {macvtap: mv0, mac: "52:54:00:00:00:03", vhost: true}
                      - {user: true, forward: ["2222:22", "0.0.0.0:5353:53/udp"]}
                    rng: true
                    balloon: true
                    cloud-init:
                      user-data: user.yaml
                      meta-data: /etc/meta
                      network-config: net.yaml
                    display:
                      vnc: 127.0.0.1:5901
                      password-file: secret
                    """)
            .spec();

    assertThat(spec.disks())
        .containsExactly(
            new Disk(
                Path.of("/dev/vg/web1"),
                Disk.Format.RAW,
                false,
                new DiskDrive(
                    DiskDrive.Bus.VIRTIO, false, Optional.of("root-1"), OptionalInt.of(2)),
                new DiskAccess(DiskAccess.Cache.NONE, DiskAccess.Aio.NATIVE, true, true)),
            new Disk(
                BASE.resolve("d.qcow2"),
                Disk.Format.QCOW2,
                true,
                drive(DiskDrive.Bus.SCSI, false, OptionalInt.empty()),
                new DiskAccess(
                    DiskAccess.Cache.WRITETHROUGH, DiskAccess.Aio.THREADS, false, false)),
            new Disk(
                BASE.resolve("cd.iso"),
                Disk.Format.RAW,
                true,
                drive(DiskDrive.Bus.SATA, true, OptionalInt.of(1)),
                DiskAccess.PLAIN),
            new Disk(
                BASE.resolve("cd.iso"),
                Disk.Format.RAW,
                true,
                drive(DiskDrive.Bus.SCSI, true, OptionalInt.empty()),
                new DiskAccess(DiskAccess.Cache.WRITEBACK, DiskAccess.Aio.IO_URING, false, false)));
    assertThat(spec.nics().stream().map(Nic::card))
        .containsExactly(
            new Card(Card.Model.E1000E, OptionalInt.empty(), 1, false),
            new Card(Card.Model.VIRTIO, OptionalInt.of(9000), 4, true),
            new Card(Card.Model.VIRTIO, OptionalInt.empty(), 1, true),
            Card.PLAIN);
    assertThat(spec.nics().stream().map(Nic::macvtap)).containsExactly(false, false, true, false);
    assertThat(spec.nics().get(2).tap()).isEqualTo("mv0");
    assertThat(spec.nics().get(3).user())
        .contains(
            new UserMode(
                List.of(
                    new UserMode.Forward(false, "127.0.0.1", 2222, 22),
                    new UserMode.Forward(true, "0.0.0.0", 5353, 53))));
    assertThat(spec.taps()).containsExactlyElementsOf(spec.nics().subList(0, 3));
    assertThat(spec.devices())
        .isEqualTo(
            new Devices(
                true,
                true,
                Optional.of(
                    new Devices.CloudInit(
                        BASE.resolve("user.yaml"),
                        Optional.of(Path.of("/etc/meta")),
                        Optional.of(BASE.resolve("net.yaml")))),
                Optional.of(
                    new Devices.Screen(
                        new Devices.Address.Port("127.0.0.1", 5901),
                        Optional.of(BASE.resolve("secret"))))));
    assertThat(spec.extras())
        .contains(
            "disks[0].serial: root-1",
            "disks[1].bus: scsi",
            "disks[2].cdrom: true",
            "nics[1].queues: 4",
            "nics[1].vhost: true",
            "nics[2].macvtap: mv0",
            "nics[3].forward: 0.0.0.0:5353:53/udp",
            "rng: true",
            "display.vnc: 127.0.0.1:5901");
    assertThat(parse(SMALL).spec().extras()).isEmpty();
    assertThat(parse(SMALL + "display: none").spec()).isEqualTo(parse(SMALL).spec());
    assertThat(parse(SMALL + "display: {vnc: unix}").spec().devices().screen())
        .contains(new Devices.Screen(new Devices.Address.Socket(), Optional.empty()));
  }

  private static DiskDrive drive(DiskDrive.Bus bus, boolean cdrom, OptionalInt boot) {
    return new DiskDrive(bus, cdrom, Optional.empty(), boot);
  }

  private static void assertRefused(String text, String fault) {
    HyperFreshException refused = refused(text);
    assertThat(refused.problem()).isEqualTo(Problem.SPEC_INVALID);
    assertThat(refused.detail()).contains(fault).endsWith(".");
  }

  private static HyperFreshException refused(String text) {
    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> parse(text));
    assertThat(refused).as("refusal of: " + text).isNotNull();
    return refused;
  }

  private static SpecDocument parse(String text) {
    return SpecDocument.parse(text, BASE);
  }
}
