package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.opened;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What managers of guests write that needs only to be read.
class ForeignWordsTest {
  private static final String CHAIN =
      "json:{\"throttle-group\": \"g\", \"driver\": \"throttle\", \"file\": {\"driver\": \"qcow2\","
          + " \"file\": {\"driver\": \"file\", \"filename\": \"/img/a.qcow2\"}}}";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -id 104                              |
          -iscsi initiator-name=iqn.2001-04.x  |
          -run-with async-teardown=on          |
          -async-teardown                      |
          -trace events=/tmp/x                 |
          -compat deprecated-input=reject      |
          -D /var/log/x.log                    |
          -echr 20                             |
          -no-hpet                             | -machine hpet=off
          -realtime mlock=off                  | -overcommit mem-lock=off
          -realtime mlock=on                   | -overcommit mem-lock=on
          -no-acpi                             | -machine acpi=off
          -usbdevice tablet                    | -usbdevice tablet
          -no-fd-bootchk                       | -no-fd-bootchk
          -only-migratable                     | -only-migratable
          -msg timestamp=on                    | -msg timestamp=on
          -overcommit mem-lock=off             | -overcommit mem-lock=off
          -global ICH9-LPC.disable_s3=1        | -global ICH9-LPC.disable_s3=1
          -boot order=c,splash-time=0,menu=on  | -boot order=c,splash-time=0,menu=on
          -machine spcr=off,x-oem-id=ACME      | -machine spcr=off,x-oem-id=ACME
          """)
  void onePieceBecomes(String piece, String words) {
    String without = joined(read());
    ForeignCommandLine line = read(piece.split(" ", 2));
    assertThat(line.remarks()).isEmpty();
    String with = joined(line);
    assertThat(words == null ? with : with.replaceFirst(" " + words + "( |$)", "$1"))
        .isEqualTo(without);
    assertThat(with).contains(words == null ? "" : words);
  }

  @Test
  void aSplashGoesWithTheGuest() {
    ForeignCommandLine line = read("-boot", "menu=on,reboot-timeout=9,splash=img/boot,,x.jpg");
    assertThat(joined(line))
        .contains("-boot menu=on,reboot-timeout=9,splash=" + FILES + "/read-files/0/boot,,x.jpg");
    assertThat(line.pinned())
        .containsEntry(Path.of("/srv/vm/img/boot,x.jpg"), FILES.resolve("read-files/0/boot,x.jpg"));
    ForeignCommandLine named = read("-boot", "splash=boot.bmp");
    assertThat(joined(named)).contains("-boot splash=boot.bmp");
    assertThat(named.lookedUp()).containsExactly("boot.bmp");
  }

  @Test
  void anImageMayLieBelowAThrottle() {
    LiveMachine live = live(Set.of("d"), 0, List.of());
    LiveMachine.Image image = LiveMachine.Image.reported(CHAIN, "throttle", false);
    assertThat(image).isEqualTo(new LiveMachine.Image("/img/a.qcow2", "qcow2", false));
    String node =
        "{\"driver\":\"throttle\",\"throttle-group\":\"g\",\"node-name\":\"t\",\"file\":{"
            + "\"driver\":\"qcow2\",\"node-name\":\"q\",\"cache\":{\"direct\":true},\"file\":{"
            + "\"driver\":\"file\",\"filename\":\"/img/a.qcow2\",\"aio\":\"io_uring\"}}}";
    ForeignCommandLine line =
        read(
            opened(live, "pc-q35-7.2", List.of(image), Set.of(CHAIN, "/img/a.qcow2")),
            "-object",
            "{\"id\":\"g\",\"limits\":{\"iops-total\":100},\"qom-type\":\"throttle-group\"}",
            "-blockdev",
            node,
            "-device",
            "scsi-hd,drive=t,id=d");
    assertThat(joined(line)).contains(node, "\"iops-total\":100");
    assertThat(line.disks())
        .containsExactly(
            new GuestSpec.Disk(Path.of("/img/a.qcow2"), GuestSpec.Disk.Format.QCOW2, false));
    assertThat(LiveMachine.Image.reported("json:{", "throttle", true).file()).isEqualTo("json:{");
    assertThat(LiveMachine.Image.reported("json:{}", "throttle", true).file()).isEqualTo("json:{}");
  }

  /// A type of a distribution is the same machine wherever it is known, and where it is not known
  /// the plan says so.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "pc-q35-7.2",
        "pc-q35-rhel9.4.0",
        "pc-i440fx-rhel7.6.0",
        "pc-q35-noble",
        "pc-i440fx-jammy-hpb",
        "pc-i440fx-9.2+pve1"
      })
  void aTypeOfADistributionIsATypeWithAVersion(String machine) {
    LiveMachine live = opened(live(Set.of(), 0, List.of()), machine, List.of(), Set.of());
    assertThat(joined(read(live))).contains("-machine type=" + machine);
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            512L << 20,
            machine,
            "qemu64",
            AcceleratorWish.TCG,
            Optional.empty(),
            List.of(),
            List.of());
    assertThat(spec.faults()).noneMatch(fault -> fault.startsWith("machine"));
    assertThat(Qemu.machine(spec, "qemu-x", Set.of(machine), Set.of()).verdict())
        .isEqualTo(Verdict.PASS);
    assertThat(Qemu.machine(spec, "qemu-x", Set.of("pc-q35-10.0"), Set.of()).finding())
        .isEqualTo("qemu-x does not know machine type " + machine + ".");
  }

  @ParameterizedTest
  @ValueSource(strings = {"q35", "pc", "microvm", "none", "isapc", "ubuntu-q35"})
  void aTypeWithoutAVersionIsNone(String machine) {
    LiveMachine live = opened(live(Set.of(), 0, List.of()), machine, List.of(), Set.of());
    assertThat(read(live).reasons()).singleElement().asString().contains("has no version");
  }
}
