package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What is concluded from the answers of a QEMU and from a folder that looks like one of proc(5).
class LiveChecksTest {
  private static final String RUNNING = "{\"status\": \"running\", \"running\": true}";
  private static final String CAPABLE =
      "[{\"capability\": \"events\", \"state\": false},"
          + " {\"capability\": \"x-ignore-shared\", \"state\": false}]";
  private static final String OWN = "lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:77 201 201\n";
  private static final String HELD = "1: OFDLCK ADVISORY  READ -1 fe:00:77 201 201\n";

  @TempDir Path folder;
  private final Map<String, String> answers = new HashMap<>();
  private Path image;
  private Path process;
  private Path locks;

  @BeforeEach
  void aQemuThatRunsAGuestWithADisk() throws IOException {
    answers.putAll(
        Map.of(
            "query-status", RUNNING,
            "query-migrate-capabilities", CAPABLE,
            "query-migrate", "{}"));
    image = Files.writeString(folder.resolve("disk.raw"), "data");
    process = Files.createDirectory(folder.resolve("4711"));
    Files.createDirectory(process.resolve("fd"));
    Files.createDirectory(process.resolve("fdinfo"));
    Files.createSymbolicLink(process.resolve("fd/9"), image);
    Files.writeString(process.resolve("fdinfo/9"), "pos:\t0\n" + OWN);
    Files.createSymbolicLink(process.resolve("fd/24"), image);
    Files.writeString(process.resolve("fdinfo/24"), "pos:\t0\n" + OWN);
    Files.createSymbolicLink(process.resolve("fd/10"), folder.resolve("nowhere"));
    locks = Files.writeString(folder.resolve("locks"), HELD);
  }

  @Test
  void everythingInOrderPasses() {
    assertThat(checks())
        .extracting(Check::name)
        .containsExactly("running release", "devices", "disk disk.raw");
    assertThat(checks()).allMatch(check -> check.verdict() == Verdict.PASS);
  }

  @Test
  void aSourceWithoutTheCapabilitiesFails() {
    answers.put("query-migrate-capabilities", "[{\"capability\": \"events\", \"state\": false}]");

    assertFails("running release", "lacks the migration capability x-ignore-shared");
  }

  @Test
  void aTpmWithoutItsSwtpmFails() {
    answers.put(
        "query-tpm",
        "[{\"id\": \"tpm0\", \"model\": \"tpm-tis\","
            + " \"options\": {\"type\": \"emulator\", \"data\": {\"chardev\": \"c\"}}}]");
    for (String end : List.of("fd:8", "disconnected:fd:8")) {
      answers.put(
          "query-chardev",
          "[{\"label\": \"c\", \"filename\": \""
              + end
              + "\"}, {\"label\": \"d\", \"filename\": \"x\"}]");
      assertThat(live().tpm().verdict())
          .isEqualTo(end.equals("fd:8") ? Verdict.PASS : Verdict.FAIL);
    }
    answers.remove("query-chardev");
    assertThat(live().tpm().verdict()).isEqualTo(Verdict.FAIL);
  }

  @Test
  void aDeviceThatRefusesFailsInQemusWords() {
    answers.put("query-migrate", "{\"blocked-reasons\": [\"no VFIO\", \"vhost lacks a log\"]}");

    assertFails("devices", "no VFIO; vhost lacks a log");
  }

  @Test
  void aMigrationThatIsUnderWayFails() {
    answers.put("query-migrate", "{\"status\": \"active\"}");

    assertFails("devices", "under way (active)");
  }

  @Test
  void aMigrationThatIsOverDoesNotMatter() {
    answers.put("query-migrate", "{\"status\": \"failed\"}");

    assertThat(named("devices").verdict()).isEqualTo(Verdict.PASS);
  }

  @Test
  void aSourceThatDoesNotAnswerFailsAndDisksAreStillLookedAt() {
    answers.remove("query-migrate-capabilities");

    assertFails("running release", "does not answer: no answer");
    assertThat(named("disk disk.raw").verdict()).isEqualTo(Verdict.PASS);
  }

  @Test
  void anImageThatIsGoneFails() throws IOException {
    Files.move(image, folder.resolve("aside"));

    assertFails("disk disk.raw", "is not there any more");
  }

  @Test
  void anotherFileInItsPlaceFails() throws IOException {
    Path aside = Files.move(image, folder.resolve("aside"));
    Files.delete(process.resolve("fd/24"));
    Files.delete(process.resolve("fd/9"));
    Files.createSymbolicLink(process.resolve("fd/9"), aside);
    Files.copy(aside, image);

    assertFails("disk disk.raw", "is another file");
  }

  @Test
  void anImageThatSomebodyElseHasLockedFails() throws IOException {
    Files.writeString(locks, HELD + HELD);

    assertFails("disk disk.raw", "Another process has locked");
  }

  @Test
  void anImageWithoutLocksIsUnknown() throws IOException {
    Files.writeString(process.resolve("fdinfo/9"), "pos:\t0\n");
    Files.writeString(process.resolve("fdinfo/24"), "pos:\t0\n");

    assertThat(named("disk disk.raw").verdict()).isEqualTo(Verdict.UNKNOWN);
  }

  @Test
  void aProcessThatCannotBeLookedAtIsUnknown() {
    process = folder.resolve("4712");

    assertThat(named("disk disk.raw").verdict()).isEqualTo(Verdict.UNKNOWN);
  }

  @Test
  void eachAbilityOfAReleaseIsARow() throws IOException {
    Path binary = Files.createFile(folder.resolve("qemu"));
    assertThat(binary.toFile().setExecutable(true)).isTrue();
    Qemu qemu = new Qemu();
    QemuRelease able = release(binary, Set.of("pc-q35-7.2"), Set.of("qemu64"), true);
    QemuRelease unable = release(folder.resolve("none"), Set.of("pc-q35-7.1"), Set.of(), false);

    assertThat(qemu.checks(spec(), able, Accelerator.TCG))
        .extracting(Check::name)
        .containsExactly("release", "machine type", "CPU model", "capabilities");
    assertThat(qemu.checks(spec(), able, Accelerator.TCG)).noneMatch(Check::failed);
    assertThat(qemu.checks(spec(), unable, Accelerator.TCG)).allMatch(Check::failed);
    assertThat(qemu.checks(spec(), unable, Accelerator.TCG))
        .extracting(Check::finding)
        .containsExactly(
            "qemu-9.9.9 has no executable " + folder.resolve("none") + ".",
            "qemu-9.9.9 does not know machine type pc-q35-7.2.",
            "qemu-9.9.9 does not know CPU model qemu64.",
            "qemu-9.9.9 lacks the migration capability x-ignore-shared, events.");
  }

  private static QemuRelease release(
      Path binary, Set<String> machines, Set<String> cpus, boolean capable) {
    return new QemuRelease(
        "qemu-9.9.9",
        "9.9.9",
        binary,
        List.of(),
        List.of(),
        "0",
        machines,
        cpus,
        capable ? Set.of("events", "x-ignore-shared") : Set.of(),
        "a test");
  }

  private GuestSpec spec() {
    return new GuestSpec(
        "web1",
        1,
        64L << 20,
        "pc-q35-7.2",
        "qemu64,+svm",
        AcceleratorWish.TCG,
        Optional.empty(),
        List.of(new Disk(image, Disk.Format.RAW, false)),
        List.of());
  }

  private LiveChecks live() {
    return new LiveChecks(
        "qemu-7.2.22",
        command -> {
          String answer = answers.get(command);
          if (answer == null) {
            throw new Qmp.QmpException("no answer");
          }
          return QmpMessage.JSON.readTree(answer);
        });
  }

  private List<Check> checks() {
    List<Check> checks = new ArrayList<>();
    checks.addAll(live().all());
    checks.addAll(new DiskChecks(spec().disks(), process, locks).all());
    return checks;
  }

  private Check named(String name) {
    return checks().stream().filter(check -> check.name().equals(name)).findFirst().orElseThrow();
  }

  private void assertFails(String name, String finding) {
    Check check = named(name);
    assertThat(check.verdict()).as(check.sentences()).isEqualTo(Verdict.FAIL);
    assertThat(check.finding()).contains(finding);
    assertThat(check.remedy()).isNotEmpty();
  }
}
