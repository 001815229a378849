package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.vm.VmReleases;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// Machines as users meet them: made, replaced under a guest and ended by commands.
@Tag("slow")
class MachineCommandTest {
  private static final Duration BOOT = Duration.ofMinutes(4);
  private static final Duration SOON = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private Daemon daemon;
  private MachineRelease older;
  private MachineRelease newer;

  @BeforeEach
  void start() throws IOException {
    TestReleases processes = new TestReleases(workspace.state().resolve("releases"));
    older = release("6.1", processes.folder());
    newer = release("6.12", processes.folder());
    daemon =
        Daemon.start(
            new DaemonConfig(workspace.state(), processes.folder(), Workshop.CACHE.resolve("apt")));
  }

  @AfterEach
  void end() {
    daemon.close();
    assertThat(workspace.sockets()).isEmpty();
  }

  /// The release itself stays in the cache; only its description is copied.
  private static MachineRelease release(String kernel, Path folder) throws IOException {
    Path cache = Workshop.CACHE.resolve("releases");
    VmReleases<MachineRelease> releases = MachineRecipe.releases(cache, Workshop.PACKAGES);
    MachineRelease release =
        releases
            .find("machine-" + kernel + "+qemu-10.0")
            .orElseGet(() -> releases.build(kernel, "10.0", Workshop::say));
    Path home = Files.createDirectories(folder.resolve(release.name()));
    Files.copy(cache.resolve(release.name()).resolve("machine.json"), home.resolve("machine.json"));
    return release;
  }

  @Test
  void aMachineIsReplacedUnderItsGuest() throws Exception {
    releasesAreShown();
    machineIsMade();
    int hardware = guestIsMade();
    try (TestGuest guest = TestGuest.beatingInMachine(hardware, "web1", BOOT)) {
      Workshop.awaitReady(workspace.files("web1"));
      whatIsInUseStays();
      aWrongOrderBootsNothing();
      aGuestThatDoesNotMoveKeepsItsMachine(guest);
      aMachineThatDoesNotBootChangesNothing(guest);
      machineIsReplaced(guest);
    }
    historyTells();
    allIsDeleted();
    eventsTell();
  }

  private void eventsTell() throws IOException {
    List<String> types =
        CommandRun.eventsUntil(workspace.state(), "guest.deleted").stream()
            .map(event -> event.path("type").asString() + " " + event.path("subject").asString())
            .toList();
    assertThat(types)
        .containsSubsequence("machine.running m1", "guest.changed web1", "guest.replaced web1")
        .containsSubsequence("machine.running m1-2", "machine.ended m1", "guest.deleted web1");
  }

  private void releasesAreShown() {
    assertThat(hyperfresh("release", "list").succeeds().out())
        .contains("qemu-10.0.", older.name(), newer.name(), "machine");
    JsonNode shown = hyperfresh("release", "show", "machine-6.12", "--json").succeeds().json();
    assertThat(shown.path("name").asString()).isEqualTo(newer.name());
    assertThat(shown.path("kernel").asString()).startsWith("6.12.");
    assertThat(shown.path("image_bytes").asLong()).isGreaterThan(20 << 20);
    assertThat(shown.path("sha256").asString()).hasSize(64);
    assertThat(hyperfresh("release", "show", newer.name()).succeeds().out())
        .contains(newer.name(), "pc-q35-7.2");
    hyperfresh("release", "verify", newer.name()).succeeds();
  }

  private void machineIsMade() {
    CommandRun made =
        hyperfresh("machine", "create", "m1", "--release", "machine-6.1+qemu-10.0", "--vcpus", "2")
            .succeeds();
    assertThat(made.err()).contains("booting " + older.name() + " on qemu-10.0.", "m1 is up after");
    assertThat(made.out()).contains("m1", "running", older.name(), "boot ms");
    hyperfresh("machine", "create", "m1", "--release", "machine-6.12")
        .fails(Problem.MACHINE_EXISTS, "m1");
    assertThat(hyperfresh("machine", "list").succeeds().out())
        .contains("NAME", "KERNEL", "m1", older.kernelVersion(), "none");
    JsonNode shown = machine("m1");
    assertThat(shown.path("accelerator_reason").asString()).isNotBlank();
    // More processors than one only where they are not translated.
    assertThat(shown.path("vcpus").asInt())
        .isEqualTo(shown.path("accelerator").asString().equals("kvm") ? 2 : 1);
    assertThat(shown.path("boot_ms").asDouble()).isPositive();
    assertThat(shown.path("memory_free_at_boot_mib").asLong()).isBetween(100L, 1024L);
    assertThat(shown.path("guests")).isEmpty();
  }

  /// @return the process that is the hardware of its machine
  private int guestIsMade() throws IOException {
    GuestImages images = Workshop.images();
    Path spec =
        Files.writeString(
            workspace.state().resolve("web1.yaml"),
            String.join(
                "\n",
                "name: web1",
                "memory: 256M",
                "release: m1",
                "kernel: " + images.kernel(),
                "initrd: " + images.initrd(),
                "cmdline: console=ttyS0 quiet panic=-1 cryptomgr.notests",
                ""));
    assertThat(hyperfresh("guest", "create", "-f", spec.toString()).succeeds().out())
        .contains("web1", "m1", "the KVM of machine m1");
    JsonNode guest = hyperfresh("guest", "show", "web1", "--json").succeeds().json();
    assertThat(guest.path("kind").asString()).isEqualTo("machine");
    assertThat(guest.path("pid").asInt()).isEqualTo(machine("m1").path("pid").asInt());
    return guest.path("pid").asInt();
  }

  private void whatIsInUseStays() {
    hyperfresh("machine", "delete", "m1").fails(Problem.MACHINE_IN_USE, "m1 runs web1");
    hyperfresh("release", "remove", "machine-6.1").fails(Problem.RELEASE_IN_USE, "m1");
    hyperfresh("release", "remove", "qemu-10.0").fails(Problem.RELEASE_IN_USE, "hardware of");
  }

  private void aWrongOrderBootsNothing() {
    hyperfresh("replace", "web1", "--to", "machine-6.12")
        .fails(Problem.RELEASE_UNKNOWN, "hyperfresh machine create NAME --release machine-6.12");
    hyperfresh("replace", "web1", "--to", "m9").fails(Problem.RELEASE_UNKNOWN, "machines: m1");
    hyperfresh("replace", "--machine", "m9", "--to", "machine-6.12")
        .fails(Problem.MACHINE_UNKNOWN, "'m9'");
    hyperfresh("replace", "--machine", "m1", "--to", "m1").fails(Problem.API_REQUEST, "by itself");
    hyperfresh("replace", "--machine", "m1", "--to", "machine-6.12", "--parallel", "0")
        .fails(Problem.API_REQUEST, "parallel");
    hyperfresh("replace", "--machine", "m1", "--to", "machine-9.9")
        .fails(Problem.RELEASE_UNKNOWN, "machine-9.9");
    assertThat(workspace.state().resolve("machines")).isDirectoryNotContaining("glob:**m1-2");
  }

  /// No hand-over is done within a millisecond.
  private void aGuestThatDoesNotMoveKeepsItsMachine(TestGuest guest) {
    CommandRun stayed =
        hyperfresh("replace", "--machine", "m1", "--to", "machine-6.12", "--max-blackout", "1");
    assertThat(stayed.code()).as(stayed.toString()).isEqualTo(Problem.REPLACE_OBSTACLES.exitCode());
    assertThat(stayed.out())
        .contains(
            "rolled-back",
            "Not moved as asked: web1",
            "Machine m1 stays with the guests that did not move; m1-2 got none and is ended.");
    guest.awaitBeat(SOON);
    assertThat(machine("m1").path("guests").path(0).asString()).isEqualTo("web1");
    hyperfresh("machine", "show", "m1-2").fails(Problem.MACHINE_UNKNOWN, "'m1-2'");
  }

  /// The kernel of that release panics, since it finds no user space.
  private void aMachineThatDoesNotBootChangesNothing(TestGuest guest) throws IOException {
    String broken = "machine-9.9.9+qemu-" + newer.qemuVersion();
    Path releases = workspace.state().resolve("releases");
    Path home = Files.createDirectories(releases.resolve(broken));
    ObjectNode description =
        (ObjectNode)
            JsonMapper.shared()
                .readTree(releases.resolve(newer.name()).resolve("machine.json").toFile());
    description.put("name", broken).put("kernelVersion", "9.9.9");
    description.put(
        "initrd", Files.writeString(home.resolve("initrd"), "no archive").toUri().toString());
    JsonMapper.shared().writeValue(home.resolve("machine.json").toFile(), description);
    hyperfresh("replace", "--machine", "m1", "--to", broken)
        .fails(Problem.MACHINE_START, "m1-2 (" + broken + ") did not start");
    guest.awaitBeat(SOON);
    assertThat(machine("m1").path("guests").path(0).asString()).isEqualTo("web1");
    hyperfresh("machine", "show", "m1-2").fails(Problem.MACHINE_UNKNOWN, "'m1-2'");
    Files.delete(home.resolve("machine.json"));
  }

  private void machineIsReplaced(TestGuest guest) {
    long beats = guest.counter();
    CommandRun replaced =
        hyperfresh(
                "replace",
                "--machine",
                "m1",
                "--to",
                "machine-6.12",
                "--max-blackout",
                "20000",
                "--json")
            .succeeds();
    assertThat(replaced.err())
        .contains(
            "m1-2 is to replace m1", "m1-2 is up after", "web1: ", "m1 is empty and is ended");
    JsonNode result = replaced.json();
    assertThat(result.path("machine").asString()).isEqualTo("m1-2");
    assertThat(result.path("old_retired").asBoolean()).isTrue();
    assertThat(result.path("machine_withdrawn").asBoolean(true)).isFalse();
    JsonNode record = result.path("guests").path(0).path("replacement");
    assertThat(record.path("ram_bytes_copied").asLong(-1)).isZero();
    Workshop.say("blackout " + record.path("blackout_ms").asDouble() + " ms");
    guest.awaitBeat(SOON);
    assertThat(guest.counter()).isGreaterThan(beats);
    hyperfresh("machine", "show", "m1").fails(Problem.MACHINE_UNKNOWN, "'m1'");
    assertThat(machine("m1-2").path("release").asString()).isEqualTo(newer.name());
    assertThat(machine("m1-2").path("guests").path(0).asString()).isEqualTo("web1");
  }

  private void historyTells() {
    List<JsonNode> all =
        hyperfresh("history", "web1", "--json")
            .succeeds()
            .json()
            .path("replacements")
            .valueStream()
            .toList();
    assertThat(all).hasSize(2);
    JsonNode moved = all.getFirst();
    assertThat(moved.path("outcome").asString()).isEqualTo("committed");
    assertThat(moved.path("kind").asString()).isEqualTo("machine");
    assertThat(moved.path("from").asString()).isEqualTo("m1");
    assertThat(moved.path("to").asString()).isEqualTo("m1-2");
    assertThat(moved.path("kernel_from").asString()).isEqualTo(older.kernelVersion());
    assertThat(moved.path("kernel_to").asString()).isEqualTo(newer.kernelVersion());
    assertThat(moved.path("qemu_to").asString()).isEqualTo(newer.qemuVersion());
    assertThat(hyperfresh("audit", "--json").succeeds().out())
        .contains("POST /v1/machines/m1/replacements", "DELETE /v1/machines/m1");
  }

  private void anEndedMachineIsNotReplaced() {
    Injection.kill(machine("m1-2").path("pid").asInt());
    Workshop.await(
        "the end of m1-2", SOON, () -> machine("m1-2").path("state").asString().equals("ended"));
    hyperfresh("replace", "--machine", "m1-2", "--to", "machine-6.1")
        .fails(Problem.MACHINE_ENDED, "m1-2");
  }

  private void allIsDeleted() {
    hyperfresh("guest", "delete", "web1", "--force").succeeds();
    anEndedMachineIsNotReplaced();
    assertThat(hyperfresh("machine", "delete", "m1-2").succeeds().out()).contains("is deleted");
    hyperfresh("machine", "delete", "m1-2").fails(Problem.MACHINE_UNKNOWN, "'m1-2'");
    assertThat(hyperfresh("machine", "list", "--json").succeeds().json().path("machines"))
        .isEmpty();
    assertThat(workspace.state().resolve("machines")).isEmptyDirectory();
  }

  /// Each of them is refused before anything boots.
  @Test
  void badInputBootsNoMachine() throws IOException {
    create("m1", "--release", "machine-9.9").fails(Problem.RELEASE_UNKNOWN, "machine-9.9");
    create("m1", "--release", "qemu-10.0").fails(Problem.RELEASE_KIND, "begins with machine-");
    for (String name : List.of("1m", "m_1", "../up", "a".repeat(33), "qemu-m", "machine-6.12")) {
      create(name, "--release", newer.name()).fails(Problem.SPEC_INVALID, name);
    }
    create("m1", "--release", newer.name(), "--memory", "100M")
        .fails(Problem.SPEC_INVALID, "memory");
    create("m1", "--release", newer.name(), "--vcpus", "0").fails(Problem.SPEC_INVALID, "vcpus");
    create("m1", "--release", newer.name(), "--memory", "9999999G")
        .fails(Problem.SPEC_MEMORY, "MiB asked for");
    assertThat(create("m1", "--release", newer.name(), "--memory", "lots").code()).isEqualTo(2);
    hyperfresh("machine", "show", "m1").fails(Problem.MACHINE_UNKNOWN, "'m1'");
    hyperfresh("machine", "delete", "m1").fails(Problem.MACHINE_UNKNOWN, "'m1'");
    hyperfresh("release", "build", "machine", "--kernel", "six", "--qemu", "10.0")
        .fails(Problem.RELEASE_KIND, "'six'");
    removeHardware();
    create("m1", "--release", newer.name())
        .fails(Problem.MACHINE_START, "hyperfresh release fetch qemu-10.0");
    assertThat(hyperfresh("machine", "list", "--json").succeeds().json().path("machines"))
        .isEmpty();
  }

  /// What is left is a QEMU 7.2, which cannot be a machine's hardware. Its description alone is
  /// taken away: the release itself is in the cache, where guests of other tests may run it, and a
  /// release that anybody runs is not removed.
  private void removeHardware() throws IOException {
    Path home = workspace.state().resolve("releases").resolve(Workshop.release("qemu-10.0").name());
    Files.delete(home.resolve("release.json"));
    Files.delete(home);
    assertThat(hyperfresh("release", "list").succeeds().out()).contains("qemu-7.2.");
  }

  private CommandRun create(String... arguments) {
    return hyperfresh(
        Stream.concat(Stream.of("machine", "create"), Stream.of(arguments)).toArray(String[]::new));
  }

  private JsonNode machine(String name) {
    return hyperfresh("machine", "show", name, "--json").succeeds().json();
  }

  private CommandRun hyperfresh(String... arguments) {
    return CommandRun.here(
        Stream.concat(Stream.of(arguments), Stream.of("--state=" + workspace.state().toString()))
            .toArray(String[]::new));
  }
}
