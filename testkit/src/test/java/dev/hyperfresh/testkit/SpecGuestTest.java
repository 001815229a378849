package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.SpecDocument;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.UnixSocket;
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
@Timeout(240)
class SpecGuestTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final String NAME = "web1";
  private static final String PASSWORD = "8letters";
  private static final String USER_DATA = "#cloud-config\nhostname: seen\n";

  /// Serial numbers, sizes and whether they may be written, of disks; and other devices by what
  /// drives them. Quotes keep what is typed from being taken for what is printed.
  private static final String LOOK =
      "for d in vda vdb sda sdb sr0; do echo $d $(cat /sys/block/$d/serial) "
          + "$(tail -c +5 /sys/block/$d/device/vpd_pg80) $(cat /sys/block/$d/ro /sys/block/$d/size);"
          + " done 2>/dev/null; dd if=/dev/vdb bs=8 skip=4101 count=1 2>/dev/null; echo;"
          + " cat /sys/class/misc/hw_random/rng_current /sys/class/virtio-ports/*/name;"
          + " ls /sys/bus/virtio/drivers/virtio_balloon | grep virtio; lspci;"
          + " mount -t iso9660 -o ro /dev/vdb /data; cat /data/user-data; umount /data";

  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private int port;
  private int looks;

  @Test
  void itsDevicesAreTheSameAfterEveryMove() throws IOException {
    port = Workshop.freePort();
    GuestSpec spec = spec();
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      List<String> steps = new ArrayList<>();
      hyperplexor.create(spec, OLD, (_, text) -> steps.add(text));
      assertThat(steps).noneMatch(step -> step.contains("try again"));
      Workshop.awaitReady(workspace.files(NAME));
      String before = look(hyperplexor);
      assertThat(before)
          .contains("vda v-1 0 32768", " s-1 0 16384", " s-2 1 16384", "sr0 cd-1", "vdb cidata 1")
          .contains("CIDATA", "virtio_rng.0", "org.qemu.guest_agent.0", USER_DATA.strip())
          .containsPattern("\nvirtio[0-9]+\n");
      // The adapter of the disk on SATA, beside the one that the machine has.
      assertThat(before.split("8086:2922", -1)).hasSize(3);
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

  /// What the guest's shell says of its devices.
  private String look(Hyperplexor hyperplexor) throws IOException {
    looks++;
    String begin = "HF-BEGIN-" + looks;
    String end = "HF-END-" + looks;
    Path log = workspace.files(NAME).resolve("console.log");
    try (UnixSocket console = UnixSocket.connect(hyperplexor.show(NAME).console().orElseThrow())) {
      String typed = "echo HF-''BEGIN-" + looks + "; " + LOOK + "; echo HF-''END-" + looks + "\n";
      console.send(typed.getBytes(StandardCharsets.US_ASCII));
      Workshop.await("the answer of the shell", PATIENCE, () -> Workshop.contains(log, end));
    }
    String text = Files.readString(log, StandardCharsets.ISO_8859_1).replace("\r", "");
    return text.substring(text.indexOf(begin) + begin.length(), text.indexOf(end));
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
              - {path: s.raw, format: raw, bus: scsi, serial: s-1, discard: true, iothread: true}
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
                .replace("PORT", Integer.toString(port)),
            workspace.state())
        .spec();
  }

  private Path file(String name) {
    return workspace.state().resolve(name);
  }
}
