package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.SpecDocument;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest of a spec with one of each device is the same to its Linux whichever QEMU it has, and
/// its screen and its ports stay where they are.
@Tag("slow")
@Timeout(600)
class SpecGuestTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final String NAME = "web1";
  private static final String PASSWORD = "8letters";
  private static final String USER_DATA = "#cloud-config\nhostname: seen\n";

  /// Serial numbers and sizes of disks and whether they may be written, other devices by what
  /// drives them, adapters by what they are, and what is on the seed. Few programs, since each
  /// takes its time on a processor that is translated.
  private static final String LOOK =
      "grep '' /sys/block/*/serial /sys/block/*/ro /sys/block/*/size /sys/block/s*/device/vpd_pg80"
          + " /sys/class/misc/hw_random/rng_current /sys/class/virtio-ports/*/name"
          + " /sys/bus/virtio/drivers/virtio_balloon/virtio*/device /sys/bus/pci/devices/*/class;"
          + " dd if=/dev/vdb bs=8 skip=4101 count=1 2>/dev/null; echo;"
          + " mount -t iso9660 -o ro /dev/vdb /data; cat /data/user-data; umount /data";

  /// AHCI, as the class of a PCI device.
  private static final String AHCI = "class:0x010601";

  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private int port;

  @Test
  void itsDevicesAreTheSameAfterEveryMove() throws IOException {
    port = Workshop.freePort();
    GuestSpec spec = spec();
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      List<String> steps = new ArrayList<>();
      hyperplexor.create(spec, OLD, (_, text) -> steps.add(text));
      assertThat(steps).noneMatch(step -> step.contains("try again"));
      Workshop.awaitReady(workspace.files(NAME));
      awaitDisks(hyperplexor);
      String before = look(hyperplexor);
      assertThat(before)
          .contains("vda/serial:v-1\n", "vda/ro:0", "vda/size:32768", "sr0/size:16384", "sr0/ro:1")
          .containsPattern("sd./device/vpd_pg80:\\W*s-1\n")
          .containsPattern("sd./device/vpd_pg80:\\W*s-2\n")
          .contains("sda/size:16384", "sdb/size:16384")
          .contains("vdb/serial:cidata\n", "vdb/ro:1", "\nCIDATA", USER_DATA.strip())
          .contains("rng_current:virtio_rng.0", "name:org.qemu.guest_agent.0", "device:0x0005");
      // The one with a disk, beside the one that the machine has anyway.
      assertThat(before.split(AHCI, -1)).hasSize(3);
      reach(hyperplexor);
      Workshop.releaseIfOffered("qemu-11.1").ifPresent(newest -> requireFits(hyperplexor, newest));
      for (QemuRelease to : List.of(NEW, OLD)) {
        ReplacementRecord record = hyperplexor.replace(NAME, to, BLACKOUT, Progress.NONE);
        assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
        assertThat(record.ramBytesCopied()).hasValue(0);
        assertThat(record.detail()).isEmpty();
        System.out.printf(
            Locale.ROOT,
            "  to %s: blackout %.2f ms, %d bytes of state%n",
            to.name(),
            record.blackoutMs().orElse(-1),
            record.stateBytes());
        assertThat(look(hyperplexor)).isEqualTo(before);
        reach(hyperplexor);
      }
      hyperplexor.letGo();
    }
    try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
      assertThat(Adopted.takeBack(next)).singleElement().asString().contains("reattached");
      assertThat(next.show(NAME).spec()).isEqualTo(spec);
      reach(next);
      next.delete(NAME);
    }
    assertThat(workspace.sockets()).isEmpty();
  }

  private static void requireFits(Hyperplexor hyperplexor, QemuRelease newest) {
    assertThat(hyperplexor.plan(NAME, newest, true, false, Progress.NONE))
        .filteredOn(check -> check.verdict() != Check.Verdict.PASS)
        .isEmpty();
  }

  /// They are looked for while other things start.
  private static void awaitDisks(Hyperplexor hyperplexor) {
    Path console = hyperplexor.show(NAME).console().orElseThrow();
    Workshop.await(
        "its disks",
        PATIENCE,
        () ->
            List.of(GuestShell.said(console, "ls /sys/block", PATIENCE).split("\\s+"))
                .containsAll(List.of("vda", "vdb", "sda", "sdb", "sr0")));
  }

  /// What the guest's shell says of its devices.
  private String look(Hyperplexor hyperplexor) {
    return GuestShell.said(hyperplexor.show(NAME).console().orElseThrow(), LOOK, PATIENCE);
  }

  /// Its screen is shown, and its echo server answers at the port of the host.
  private void reach(Hyperplexor hyperplexor) throws IOException {
    Path console = hyperplexor.show(NAME).console().orElseThrow();
    assertThat(RfbClient.at(console.resolveSibling(NAME + ".vnc"), PASSWORD).look().title())
        .isEqualTo("QEMU (" + NAME + ")");
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      socket.setSoTimeout(Math.toIntExact(PATIENCE.toMillis()));
      byte[] word = "there and back".getBytes(StandardCharsets.US_ASCII);
      socket.getOutputStream().write(word);
      InputStream in = socket.getInputStream();
      assertThat(in.readNBytes(word.length)).isEqualTo(word);
    }
  }

  private GuestSpec spec() throws IOException {
    GuestImages images = Workshop.images();
    try (OutputStream both = Files.newOutputStream(file("initrd"))) {
      Files.copy(images.initrd(), both);
      Files.copy(images.devices(), both);
    }
    Files.writeString(file("user-data"), USER_DATA);
    Files.writeString(file("password"), PASSWORD + "\n");
    for (String disk : List.of("v.raw", "s.raw", "fixed.raw", "cd.raw", "a.raw")) {
      try (RandomAccessFile image = new RandomAccessFile(file(disk).toFile(), "rw")) {
        image.setLength(disk.equals("v.raw") ? 16 << 20 : 8 << 20);
      }
    }
    return SpecDocument.parse(
            """
            name: web1
            memory: 256M
            accelerator: tcg
            kernel: KERNEL
            initrd: initrd
            cmdline: console=ttyS0 quiet panic=-1 cryptomgr.notests hf.period=5000 hf.idle hf.ip=10.0.2.15/24
            disks:
              - {path: v.raw, format: raw, serial: v-1, iothread: true, cache: writethrough}
              - {path: s.raw, format: raw, bus: scsi, serial: s-1, discard: true, iothread: true, DIRECT}
              - {path: fixed.raw, format: raw, bus: scsi, serial: s-2, readonly: true, cache: unsafe}
              - {path: cd.raw, format: raw, bus: scsi, serial: cd-1, cdrom: true}
              - {path: a.raw, format: raw, bus: sata, serial: a-1, boot: 1}
            nics:
              - user: true
                mac: 52:54:00:77:00:02
                forward: ["PORT:7"]
            agent: true
            rng: true
            balloon: true
            cloud-init:
              user-data: user-data
            display:
              vnc: unix
              password-file: password
            """
                .replace("KERNEL", images.kernel().toString())
                .replace("DIRECT", direct(file("s.raw")))
                .replace("PORT", Integer.toString(port)),
            workspace.state())
        .spec();
  }

  /// Past the page cache, where the file system can.
  private static String direct(Path image) {
    try (Fd _ = Fd.open(image, OpenFlags.READ_ONLY | OpenFlags.DIRECT)) {
      return "cache: none, aio: native";
    } catch (LinuxException e) {
      System.out.println("  without cache: none: " + e.getMessage());
      return "cache: writeback";
    }
  }

  private Path file(String name) {
    return workspace.state().resolve(name);
  }
}
