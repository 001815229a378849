package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a QEMU made up when it started, and the firmware it found then, are the guest's and go with
/// it. The machines have no operating system: their firmware alone runs.
@Tag("slow")
@Timeout(600)
class AdoptIdentityTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final int MEBIBYTES = 64;
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void whatQemuMadeUpAtItsStartStaysTheGuests() throws Exception {
    image("a.img");
    image("b.img");
    image("c.img");
    try (OwnQemu own =
            start(
                "-device",
                "vmgenid,guid=auto",
                "-device",
                "{\"driver\":\"virtio-net-pci\",\"romfile\":\"\"}",
                "-device",
                "e1000,romfile=",
                "-device",
                "rtl8139,id=named,romfile=",
                "-drive",
                "file=a.img,if=virtio,format=raw",
                "-hda",
                "b.img",
                "-blockdev",
                "driver=file,filename=c.img,node-name=f",
                "-blockdev",
                "driver=raw,file=f,node-name=r",
                "-device",
                "ide-hd,drive=r,bus=ide.3",
                "-serial",
                "pty");
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      UUID id = UUID.fromString(own.ask("query-vm-generation-id", "{}").path("guid").asString());
      Workshop.await("the generation id in the guest's memory", PATIENCE, () -> place(id) >= 0);
      int place = place(id);
      adopt(hyperplexor, own);

      for (QemuRelease to : List.of(NEW, OLD)) {
        moved(hyperplexor, to);
        assertThat(at(place)).as("the generation id on %s", to.name()).isEqualTo(bytes(id));
        assertThat(commandLine(hyperplexor.show("mine").pid()))
            .contains("vmgenid,guid=" + id)
            // QEMU makes those first that are not written as JSON.
            .contains("\"mac\":\"52:54:00:12:34:58\"")
            .contains("e1000,romfile=,mac=52:54:00:12:34:56")
            .contains("rtl8139,id=named,romfile=,mac=52:54:00:12:34:57")
            .contains("ide-hd,drive=r,bus=ide.3,serial=QM0000");
      }
      assertThat(named(hyperplexor, "rehearsal").sentences()).contains("took the state");
      assertThat(named(hyperplexor, "identity").verdict()).isEqualTo(Verdict.PASS);
      hyperplexor.delete("mine");
    }
  }

  @Test
  void aBootRomOfAnotherLengthGoesWithTheGuest() throws Exception {
    rom(0x80000);
    try (OwnQemu own = start("-L", roms().toString(), "-device", "virtio-net-pci,id=card");
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      adopt(hyperplexor, own);
      rom(0x1000);
      assertThat(named(hyperplexor, "rehearsal").sentences()).contains("took the state");

      moved(hyperplexor, NEW);
      moved(hyperplexor, OLD);

      // Where its firmware was tampered with, that is seen before the guest stops.
      Path copy = workspace.files("mine").resolve("firmware-files/efi-virtio.rom");
      Files.write(copy, Arrays.copyOf(Files.readAllBytes(copy), 0x1000));
      Check rehearsal = named(hyperplexor, "rehearsal");
      assertThat(rehearsal.verdict()).isEqualTo(Verdict.FAIL);
      assertThat(rehearsal.finding()).contains("virtio-net-pci.rom is '0x80000 bytes'", NEW.name());
      hyperplexor.delete("mine");
    }
  }

  @Test
  void firmwareThatWasChangedSinceIsNamed() throws Exception {
    rom(0x80000);
    try (OwnQemu own = start("-L", roms().toString(), "-device", "virtio-net-pci,id=card");
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      rom(0x20000);
      assertRefused(hyperplexor, own, "efi-virtio.rom differs in length");
      Files.delete(roms().resolve("efi-virtio.rom"));
      if (QemuReleaseRoms.shipped(OLD, "efi-virtio.rom")) {
        assertRefused(hyperplexor, own, "efi-virtio.rom differs in length");
      } else {
        assertRefused(hyperplexor, own, "efi-virtio.rom is not there any more");
      }
      own.assertRunning();
      // The same length is enough: the content goes with the guest's state.
      rom(0x80000);
      adopt(hyperplexor, own);
      hyperplexor.delete("mine");
    }
  }

  @Test
  void aSocketThatSomebodyElseHasHidesNoOtherReason() throws Exception {
    try (OwnQemu own = start("-icount", "shift=3");
        var _ = dev.hyperfresh.linux.UnixSocket.connect(own.qmp());
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertThatThrownBy(() -> adopt(hyperplexor, own))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_UNFIT))
          .hasMessageContaining("another client")
          .hasMessageContaining("-icount shift=3: its clock would jump");
    }
  }

  /// Where a release has its boot ROMs.
  private static final class QemuReleaseRoms {
    static boolean shipped(QemuRelease release, String name) {
      Path lib = release.binary().resolveSibling("../lib/ipxe/qemu").normalize();
      return Files.exists(lib.resolve(name));
    }
  }

  private OwnQemu start(String... more) throws IOException {
    String[] machine = {
      "-machine",
      "pc-q35-7.2,accel=tcg,memory-backend=m",
      "-cpu",
      "qemu64",
      "-m",
      Integer.toString(MEBIBYTES),
      "-object",
      "memory-backend-file,id=m,size=" + MEBIBYTES + "M,share=on,mem-path=" + memory()
    };
    String[] all = Arrays.copyOf(machine, machine.length + more.length);
    System.arraycopy(more, 0, all, machine.length, more.length);
    return OwnQemu.start(OLD, workspace.state(), List.of(), all);
  }

  private Path memory() {
    return workspace.state().resolve("ram");
  }

  private void image(String name) throws IOException {
    try (RandomAccessFile file =
        new RandomAccessFile(workspace.state().resolve(name).toFile(), "rw")) {
      file.setLength(1 << 20);
    }
  }

  private Path roms() throws IOException {
    return Files.createDirectories(workspace.state().resolve("roms"));
  }

  /// A boot ROM that says that it is one and does nothing.
  private void rom(int length) throws IOException {
    byte[] rom = new byte[length];
    rom[0] = 0x55;
    rom[1] = (byte) 0xaa;
    Files.write(roms().resolve("efi-virtio.rom"), rom);
  }

  private int place(UUID id) {
    byte[] wanted = bytes(id);
    try {
      byte[] memory = Files.readAllBytes(memory());
      for (int at = 0; at + wanted.length <= memory.length; at += 8) {
        if (Arrays.equals(memory, at, at + wanted.length, wanted, 0, wanted.length)) {
          return at;
        }
      }
      return -1;
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private byte[] at(int place) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(memory().toFile(), "r")) {
      byte[] bytes = new byte[16];
      file.seek(place);
      file.readFully(bytes);
      return bytes;
    }
  }

  /// As Microsoft's specification has it in memory: the first three fields in the guest's order.
  private static byte[] bytes(UUID id) {
    ByteBuffer bytes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
    long high = id.getMostSignificantBits();
    bytes.putInt((int) (high >>> 32)).putShort((short) (high >>> 16)).putShort((short) high);
    bytes.order(ByteOrder.BIG_ENDIAN).putLong(id.getLeastSignificantBits());
    return bytes.array();
  }

  private static String commandLine(int pid) throws IOException {
    return Files.readString(Path.of("/proc", Integer.toString(pid), "cmdline")).replace('\0', ' ');
  }

  private static Check named(Hyperplexor hyperplexor, String name) {
    return hyperplexor.plan("mine", NEW, true, false, Progress.NONE).stream()
        .filter(check -> check.name().equals(name))
        .findFirst()
        .orElseThrow(() -> new AssertionError("there is no row " + name));
  }

  private static void assertRefused(Hyperplexor hyperplexor, OwnQemu own, String reason) {
    assertThatThrownBy(() -> adopt(hyperplexor, own))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
        .hasMessageContaining(reason);
  }

  private static void moved(Hyperplexor hyperplexor, QemuRelease to) {
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
  }
}
