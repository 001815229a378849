package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// Whatever is asked of the daemon and whatever happens to a target: the guest that runs beats on,
/// the answer names what is wrong, and nothing of the attempt is left behind.
@Tag("slow")
class BadInputTest extends BadInputScene {
  @Test
  void anUnknownReleaseIsRefused() {
    expect(
        hyperfresh("replace", GUEST, "--to", "qemu-99.9"),
        Problem.RELEASE_UNKNOWN,
        "'qemu-99.9' is not installed");
    expect(create(document("release: qemu-99.9")), Problem.RELEASE_UNKNOWN, "qemu-99.9");
  }

  @Test
  void anUnknownGuestIsRefused() {
    for (List<String> command :
        List.of(
            List.of("replace", "nobody", "--to", "qemu-10.0"),
            List.of("guest", "show", "nobody"),
            List.of("guest", "stop", "nobody"),
            List.of("guest", "delete", "nobody"))) {
      expect(
          hyperfresh(command.toArray(String[]::new)),
          Problem.GUEST_UNKNOWN,
          "No guest is called 'nobody'.");
    }
  }

  @Test
  void aBlackoutBudgetOutOfRangeIsRefused() {
    for (String budget : List.of("0", "60001", "-5")) {
      expect(
          hyperfresh("replace", GUEST, "--to", "qemu-10.0", "--max-blackout=" + budget),
          Problem.API_REQUEST,
          "max_blackout_ms");
    }
  }

  @Test
  void aMachineTypeThatTheTargetLacksIsAnObstacle() {
    CommandRun created =
        create(document("name: modern", "machine: pc-q35-10.0", "release: qemu-10.0"));
    assertThat(created.code()).as(created.err()).isZero();
    CommandRun refused = hyperfresh("replace", "modern", "--to", "qemu-7.2");
    expect(
        refused,
        Problem.REPLACE_OBSTACLES,
        older.name() + " does not know machine type pc-q35-10.0");
    CommandRun plan = hyperfresh("replace", "modern", "--to", "qemu-7.2", "--dry-run");
    assertThat(plan.code()).isEqualTo(Problem.REPLACE_OBSTACLES.exitCode());
    assertThat(plan.out()).contains("cannot move", "pc-q35-10.0");
    assertThat(daemon.hyperplexor().show("modern").generation()).isEqualTo(1);
    assertThat(hyperfresh("guest", "delete", "modern", "--force").code()).isZero();
  }

  @Test
  void aMachineTypeThatNoReleaseKnowsIsRefused() {
    expect(create(document("machine: pc-q35-99.0")), Problem.RELEASE_UNKNOWN, "pc-q35-99.0");
    expect(
        create(document("machine: pc-q35-10.0", "release: qemu-7.2")),
        Problem.SPEC_INVALID,
        "does not know machine type pc-q35-10.0");
  }

  @Test
  void aMachineTypeWithoutVersionIsRefused() {
    expect(create(document("machine: q35")), Problem.SPEC_INVALID, "pin one, such as pc-q35-7.2");
    expect(
        create(document("machine: microvm", "release: qemu-10.0")),
        Problem.SPEC_INVALID,
        "microvm has no version");
  }

  @Test
  void aCpuModelThatTheReleaseLacksIsRefused() {
    expect(create(document("cpu: no-such-cpu")), Problem.SPEC_INVALID, "CPU model no-such-cpu");
  }

  @Test
  void filesThatAreNotThereAreRefusedTogether() {
    expect(
        create(
            "name: other",
            "kernel: /nowhere/vmlinuz",
            "disks: [{path: /nowhere/disk.raw, format: raw}]"),
        Problem.SPEC_FILE_MISSING,
        "/nowhere/vmlinuz, /nowhere/disk.raw");
    CommandRun noSpec = hyperfresh("guest", "create", "-f", "/nowhere/spec.yaml");
    expect(noSpec, Problem.SPEC_FILE_MISSING, "/nowhere/spec.yaml");
  }

  @Test
  void moreMemoryThanTheHostHasIsRefused() {
    expect(create(document("memory: 999999G")), Problem.SPEC_MEMORY, "MiB asked for");
  }

  @Test
  void aNameThatExistsIsRefused() {
    expect(create(document("name: " + GUEST)), Problem.GUEST_EXISTS, GUEST);
  }

  @ParameterizedTest
  @MethodSource
  void aDocumentThatCannotBeReadIsRefused(String document) {
    expect(create(document), Problem.SPEC_MALFORMED, "");
  }

  static Stream<String> aDocumentThatCannotBeReadIsRefused() {
    return Stream.of(
        "name: [",
        "- a list",
        "just words",
        "name: one\nname: two",
        "\tname: tab",
        "#" + "x".repeat(70_000));
  }

  @ParameterizedTest
  @MethodSource
  void eachFaultyFieldIsNamed(String line, String expected) {
    expect(create(document(line.split("\n"))), Problem.SPEC_INVALID, expected);
  }

  static Stream<Arguments> eachFaultyFieldIsNamed() {
    return Stream.of(
        arguments("name: 1abc", "name: '1abc'"),
        arguments("name: ../up", "name: '../up'"),
        arguments("name: " + "a".repeat(33), "name: 'aaa"),
        arguments("name: {a: b}", "name"),
        arguments("vcpus: 0", "vcpus"),
        arguments("vcpus: 65", "vcpus"),
        arguments("vcpus: many", "vcpus"),
        arguments("memory: 8M", "memory"),
        arguments("memory: 512", "memory"),
        arguments("memory: -1G", "memory"),
        arguments("memory: lots", "memory: 'lots'"),
        arguments("machine: 'pc-q35-7.2,vmport=on'", "machine"),
        arguments("cpu: 'qemu64 -snapshot'", "cpu"),
        arguments("accelerator: hvf", "accelerator: 'hvf'"),
        arguments("cmdline: 'a\tb'", "cmdline"),
        arguments("cmdline: " + "x".repeat(2001), "cmdline"),
        arguments("disks: one.raw", "disks"),
        arguments("disks: [{format: raw}]", "disks[0].path: a disk has no path"),
        arguments("disks: [{path: d}]", "d has no format"),
        arguments("disks: [{path: d, format: vmdk}]", "format: 'vmdk'"),
        arguments("disks: [{path: d, size: 1G}]", "'size' is not a field"),
        arguments("disks: [{path: d, readonly: perhaps}]", "readonly"),
        arguments("nics: [{mac: '01:00:5e:00:00:01'}]", "mac '01:00:5e:00:00:01'"),
        arguments("nics: [{mac: nonsense}]", "mac 'nonsense'"),
        arguments("nics: [{tap: a-name-longer-than-15}]", "tap 'a-name-longer-than-15'"),
        arguments("nics: [{bridge: 'br 0'}]", "bridge 'br 0'"),
        arguments("nics: [{tap: a}, {tap: a}]", "the same tap"),
        arguments("nics: [{vlan: 5}]", "'vlan' is not a field"),
        arguments("colour: red", "'colour' is not a field"));
  }

  @Test
  void allFaultsAreReportedTogether() {
    expect(
        create("name: '1'", "vcpus: 0", "memory: x", "machine: q35", "colour: red"),
        Problem.SPEC_INVALID,
        "name: '1'",
        "vcpus: 0",
        "memory: 'x'",
        "machine: 'q35'",
        "kernel: ",
        "'colour'");
  }

  @Test
  void aStateDirectoryWhosePathIsTooLongIsRefused() {
    Path deep = WORKSPACE.state().resolve("d".repeat(100));
    expect(hyperfreshIn(deep, "daemon"), Problem.HOST_SOCKET_PATH, "daemon.sock has ");
    assertThat(deep).doesNotExist();
  }

  @Test
  void aGuestWhoseSocketPathIsTooLongIsRefused() throws Exception {
    // Room for daemon.sock, and not for run/NAME.N.qmp.
    Path deep = stateWithSocketOf(100);
    try (Daemon other =
        Daemon.start(new DaemonConfig(deep, releases.folder(), Workshop.CACHE.resolve("apt")))) {
      // In a process of its own: in this one the connection to that daemon would be kept open.
      CommandRun.of(
              "guest", "create", "-f", spec(document()).toString(), "--state", deep.toString())
          .fails(Problem.HOST_SOCKET_PATH, "other.");
      assertThat(other.hyperplexor().list()).isEmpty();
      assertThat(deep.resolve("guests"))
          .satisfiesAnyOf(
              folder -> assertThat(folder).doesNotExist(),
              folder -> assertThat(folder).isEmptyDirectory());
    }
  }

  /// Whatever length is let through must also be one that can be served.
  @Test
  void aSocketPathAtTheLimitIsServedOrRefused() throws Exception {
    for (int bytes = 105; bytes <= 109; bytes++) {
      Path deep = stateWithSocketOf(bytes);
      try (Daemon other =
          Daemon.start(new DaemonConfig(deep, releases.folder(), Workshop.CACHE.resolve("apt")))) {
        assertThat(other.hyperplexor().list()).isEmpty();
        CommandRun.of("guest", "list", "--state", deep.toString()).succeeds();
      } catch (HyperFreshException e) {
        assertThat(e.problem()).as(bytes + " bytes").isEqualTo(Problem.HOST_SOCKET_PATH);
      }
    }
  }

  private static Path stateWithSocketOf(int bytes) {
    int rest = bytes - "/daemon.sock".length() - WORKSPACE.state().toString().length() - 1;
    return WORKSPACE.state().resolve("d".repeat(rest));
  }

  @Test
  void aTargetThatCannotStartIsRolledBack() throws IOException {
    QemuRelease broken = releases.script("qemu-91.0.0", newer, "echo no such luck >&2; exit 1");
    ReplacementRecord record = replace(broken, BUDGET);
    rolledBack(record, Problem.REPLACE_PREPARE, "no such luck");
    CommandRun said = hyperfresh("replace", GUEST, "--to", broken.name(), "--no-rehearsal");
    assertThat(said.code()).isEqualTo(Problem.REPLACE_PREPARE.exitCode());
    assertThat(said.out()).contains("rolled-back", Problem.REPLACE_PREPARE.code(), "no such luck");
    stillMoves();
  }

  @Test
  void aDamagedReleaseIsFoundAndRolledBack() throws IOException {
    byte[] half = Arrays.copyOf(Files.readAllBytes(newer.binary()), 100_000);
    QemuRelease damaged = releases.binary("qemu-92.0.0", newer, half);
    expect(
        hyperfresh("release", "verify", damaged.name()),
        Problem.RELEASE_DAMAGED,
        "is not the file that was added");
    rolledBack(replace(damaged, BUDGET), Problem.REPLACE_PREPARE, damaged.name());
    Files.delete(damaged.binary());
    expect(
        hyperfresh("replace", GUEST, "--to", damaged.name()),
        Problem.REPLACE_OBSTACLES,
        "has no executable");
    expect(hyperfresh("release", "verify", damaged.name()), Problem.RELEASE_DAMAGED, "is missing");
    stillMoves();
  }

  @Test
  void aTargetThatRefusesTheStateIsRolledBack() throws IOException {
    // The stream names its machine type, and a target of another type does not take it.
    QemuRelease other =
        releases.script("qemu-93.0.0", newer, "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    rolledBack(replace(other, BUDGET), Problem.REPLACE_SWITCH, "");
    guest.awaitBeat(SOON);
    // A refusal leaves no trace that the next one could stumble on.
    rolledBack(replace(other, BUDGET), Problem.REPLACE_SWITCH, "");
    guest.awaitBeat(SOON);
    stillMoves();
  }

  @Test
  void aGuestWithPrivateMemoryIsRefused() throws IOException {
    QemuRelease hoarder =
        releases.script("qemu-94.0.0", newer, "exec REAL \"${@/share=on/share=off}\"");
    CommandRun created = create(document("name: hoarder", "release: " + hoarder.name()));
    assertThat(created.code()).as(created.toString()).isZero();
    try {
      expect(
          hyperfresh("replace", "hoarder", "--to", newer.name()),
          Problem.REPLACE_OBSTACLES,
          "private to its hypervisor");
      assertThat(hyperfresh("guest", "show", "hoarder").out()).contains("running");
    } finally {
      assertThat(hyperfresh("guest", "delete", "hoarder", "--force").code()).isZero();
    }
  }

  @Test
  void aTargetKilledWhilePreparingIsRolledBack() throws Exception {
    for (int delayMs : List.of(0, 30, 100, 200)) {
      Thread killer =
          onTarget(target -> {
            Workshop.pause(Duration.ofMillis(delayMs));
            target.destroyForcibly();
          });
      // Where all is prepared before, the switch waits for that.
      Progress late = Adopted.at("Prepared", () -> Workshop.join(killer));
      ReplacementRecord record = replace(newer, BUDGET, late);
      killer.join();
      assertThat(record.outcome()).as(delayMs + " ms: " + record).isEqualTo(Outcome.ROLLED_BACK);
      assertThat(record.problem())
          .isIn(Problem.REPLACE_PREPARE.code(), Problem.REPLACE_SWITCH.code());
      guest.awaitBeat(SOON);
    }
    stillMoves();
  }

  @Test
  void aTargetKilledWhileTheGuestStandsIsRolledBack() throws Exception {
    Thread killer =
        onTarget(target -> {
          WORKSPACE.freezeBeforeTheSwitch(target);
          awaitStandstill();
          target.destroyForcibly();
        });
    ReplacementRecord record = replace(newer, Duration.ofSeconds(10));
    killer.join();
    rolledBack(record, Problem.REPLACE_SWITCH, newer.name());
    guest.awaitBeat(SOON);
    stillMoves();
  }

  @Test
  void aTargetThatHangsWhileTheGuestStandsIsRolledBackInTime() throws Exception {
    Thread freezer = onTarget(WORKSPACE::freezeBeforeTheSwitch);
    ReplacementRecord record = replace(newer, BUDGET);
    freezer.join();
    rolledBack(record, Problem.REPLACE_DEADLINE, "within 1000 ms");
    guest.awaitBeat(SOON);
    stillMoves();
  }

  /// A guest whose own hypervisor is killed is lost, and no fault of the target: the replacement
  /// says so, and leaves no target behind.
  @Test
  void aSourceKilledWhilePreparingIsReported() throws Exception {
    for (int delayMs : List.of(0, 50, 150, 300)) {
      GuestView victim =
          daemon
              .hyperplexor()
              .create(Workshop.tick("victim", 64, AcceleratorWish.TCG), older, Progress.NONE);
      TestGuest.beatingIn(victim.pid(), Workshop.BOOT).close();
      Thread killer =
          onTarget(_ -> {
            Workshop.pause(Duration.ofMillis(delayMs));
            ProcessHandle.of(victim.pid()).ifPresent(ProcessHandle::destroyForcibly);
          });
      CommandRun said = hyperfresh("replace", "victim", "--to", newer.name(), "--no-rehearsal");
      killer.join();
      assertThat(said.code())
          .as(delayMs + " ms: " + said)
          .isIn(
              Problem.REPLACE_PREPARE.exitCode(),
              Problem.REPLACE_LOST.exitCode(),
              Problem.GUEST_STATE.exitCode());
      Workshop.await(
          "the guest being reported as stopped",
          SOON,
          () -> daemon.hyperplexor().show("victim").state() == GuestView.State.STOPPED);
      assertThat(Await.emptyWithin(SOON, () -> WORKSPACE.hypervisors().stream().skip(1).toList()))
          .as("hypervisors but one, after " + delayMs + " ms")
          .isEmpty();
      assertThat(hyperfresh("guest", "delete", "victim").code()).isZero();
    }
  }
}
