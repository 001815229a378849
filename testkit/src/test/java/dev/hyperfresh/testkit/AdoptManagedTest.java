package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest in the words of programs that manage guests: a configuration file, a throttled image, a
/// boot picture, a log that was passed as a descriptor, sound, options that newer releases have
/// dropped. Its firmware finds nothing to boot and starts again, and writes a log of that.
@Tag("slow")
@Timeout(600)
class AdoptManagedTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final String START = "SeaBIOS (version";
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  private static final String CONFIGURATION =
      """
      [device "usb-ehci"]
        driver = "ich9-usb-ehci1"
        multifunction = "on"
        bus = "pcie.0"
        addr = "1d.7"

      [device "usb-uhci"]
        driver = "ich9-usb-uhci1"
        multifunction = "on"
        bus = "pcie.0"
        addr = "1d.0"
        masterbus = "usb-ehci.0"
        firstport = "0"

      [device "legacy"]
        driver = "i82801b11-bridge"
        bus = "pcie.0"
        addr = "1e.0"

      # As with an old machine.
      [device "pci.0"]
        driver = "pci-bridge"
        chassis_nr = "1"
        bus = "legacy"
        addr = "1.0"
      """;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void aGuestOfAManagerMovesThereAndBack() throws Exception {
    Files.writeString(file("machine.cfg"), CONFIGURATION);
    byte[] picture = new byte[2000];
    picture[0] = (byte) 0xff;
    picture[1] = (byte) 0xd8;
    Files.write(file("splash.jpg"), picture);
    byte[] rom = new byte[0x1000];
    rom[0] = 0x55;
    rom[1] = (byte) 0xaa;
    Files.write(file("card.rom"), rom);
    try (RandomAccessFile base = new RandomAccessFile(file("base.raw").toFile(), "rw")) {
      base.setLength(16 << 20);
    }
    Files.write(file("disk.qcow2"), PrivilegeTest.qcow2(16 << 20, "base.raw", "raw"));
    try (OwnQemu own = start();
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      Workshop.await("the firmware", PATIENCE, () -> starts() > 0);
      GuestView view = adopt(hyperplexor, own);
      assertThat(view.spec().disks()).hasSize(1);
      Check rehearsal =
          hyperplexor.plan("mine", NEW, true, false, Progress.NONE).stream()
              .filter(check -> check.name().equals("rehearsal"))
              .findFirst()
              .orElseThrow();
      assertThat(rehearsal.sentences()).contains("took the state");
      for (QemuRelease to : List.of(NEW, OLD)) {
        ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
        assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
        // What was written goes on, behind what the first process wrote.
        int before = starts();
        assertThat(before).isPositive();
        Workshop.await("the firmware again", PATIENCE, () -> starts() > before);
        assertWords(hyperplexor.show("mine").pid());
      }
      hyperplexor.delete("mine");
    }
  }

  private void assertWords(int pid) throws IOException {
    Path copies = workspace.files("mine").resolve("read-files");
    assertThat(workspace.files("mine").resolve("firmware-files"))
        .isDirectoryContaining("glob:**/splash.jpg")
        .isDirectoryContaining("glob:**/card.rom");
    String line =
        Files.readString(Path.of("/proc", Integer.toString(pid), "cmdline")).replace('\0', ' ');
    assertThat(line)
        .contains("id=usb-ehci,driver=ich9-usb-ehci1,multifunction=on")
        .contains("hpet=off")
        .contains("splash=splash.jpg", "romfile=card.rom")
        .contains("romfile=" + copies)
        .contains("path=" + file("firmware.log") + ",append=on")
        .doesNotContain("-readconfig", "fdset", "-no-hpet", "nothing_of_interest", "-iscsi");
  }

  private OwnQemu start() throws IOException {
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of("/bin/sh", "-c", "exec 7>>firmware.log; exec \"$@\"", "sh"),
        "-no-shutdown",
        "-no-hpet",
        "-boot",
        "menu=on,strict=on,reboot-timeout=1000,splash-time=10,splash=splash.jpg",
        "-cpu",
        "qemu64",
        "-m",
        "64",
        "-object",
        "memory-backend-file,id=m,size=64M,share=true,policy=default,mem-path=" + file("ram"),
        "-object",
        "{\"id\":\"throttle-drive\",\"limits\":{},\"qom-type\":\"throttle-group\"}",
        "-global",
        "ICH9-LPC.disable_s3=1",
        "-readconfig",
        "machine.cfg",
        "-add-fd",
        "set=1,fd=7,opaque=log",
        "-chardev",
        "file,id=dbg,path=/dev/fdset/1,append=on",
        "-device",
        "isa-debugcon,iobase=0x402,chardev=dbg",
        "-device",
        "usb-tablet,id=tablet,bus=usb-ehci.0,port=1",
        "-device",
        "VGA,id=vga,bus=pcie.0,addr=0x1",
        "-device",
        "virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on",
        "-device",
        "virtio-scsi,id=scsihw0,bus=pci.0,addr=0x5",
        "-blockdev",
        "{\"detect-zeroes\":\"unmap\",\"discard\":\"unmap\",\"driver\":\"throttle\",\"file\":{"
            + "\"discard\":\"unmap\",\"driver\":\"qcow2\",\"file\":{\"aio\":\"threads\","
            + "\"cache\":{\"direct\":false,\"no-flush\":false},\"driver\":\"file\",\"filename\":\""
            + file("disk.qcow2")
            + "\",\"node-name\":\"e1\",\"read-only\":false},\"node-name\":\"f1\","
            + "\"read-only\":false},\"node-name\":\"drive-scsi0\",\"read-only\":false,"
            + "\"throttle-group\":\"throttle-drive\"}",
        "-device",
        "scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,"
            + "device_id=drive-scsi0,bootindex=100,write-cache=on",
        "-audiodev",
        "none,id=sound",
        "-device",
        "ich9-intel-hda,id=hda,bus=pcie.0,addr=0x1b",
        "-device",
        "hda-duplex,id=codec,bus=hda.0,audiodev=sound",
        "-device",
        "virtio-net,id=card,romfile=card.rom",
        "-device",
        "virtio-rng,id=rng,romfile=" + file("card.rom"),
        "-iscsi",
        "initiator-name=iqn.2001-04.org.example:1",
        "-trace",
        "enable=nothing_of_interest",
        "-machine",
        "type=q35,accel=tcg,memory-backend=m");
  }

  /// How often the firmware has started.
  private int starts() {
    try {
      Path log = file("firmware.log");
      String text = Files.exists(log) ? Files.readString(log, StandardCharsets.ISO_8859_1) : "";
      return text.split(Pattern.quote(START), -1).length - 1;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path file(String name) {
    return workspace.state().resolve(name);
  }
}
