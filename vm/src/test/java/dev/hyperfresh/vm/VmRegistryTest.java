package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ProcessIdentity;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;

/// What becomes of virtual machines when they end, when the daemon does, and when the host boots.
class VmRegistryTest extends IdleHost {
  @Test
  void aBootOfTheHostEndsThemAndTheyAreToBeStarted() throws Exception {
    create("b");
    create("a");
    create("c");
    registry.definitions().autostart("b", false);

    reboot();

    assertThat(registry.list()).isEmpty();
    assertThat(registry.definitions().stopped()).containsExactly("a", "b", "c");
    assertThat(starting).containsExactly("a", "c");
    assertThat(registry.endedWithHost("b")).isTrue();
    assertThat(told).contains("OS a is to be started, since the host has booted.");
    assertProblem(Problem.OS_UNKNOWN, () -> registry.get("a"), "is being started");
    assertProblem(Problem.OS_UNKNOWN, () -> registry.get("b"), "is stopped");
  }

  @Test
  void oneThatWasStartedIsNotStartedAgainInThatBoot() throws Exception {
    create("a");
    reboot();

    Idle first = registry.start(settings("a"));

    assertThat(registry.start(settings("a"))).isSameAs(first);
    assertThat(registry.definitions().isDue("a")).isFalse();
    assertThat(booted).containsExactly("a", "a");
    starting.clear();
    nextDaemon();
    assertThat(starting).isEmpty();
    assertThat(registry.get("a").pid()).isEqualTo(first.pid());
  }

  /// The daemon that starts it dies before it is up.
  @Test
  void oneThatDidNotComeUpIsStillToBeStarted() throws Exception {
    create("a");
    reboot();
    failure = Optional.of(Problem.OS_START);
    assertProblem(Problem.OS_START, () -> registry.start(settings("a")), "It says no");
    starting.clear();

    nextDaemon();

    assertThat(starting).containsExactly("a");
    registry.definitions().giveUp("a");
    assertProblem(Problem.OS_UNKNOWN, () -> registry.get("a"), "is stopped");
  }

  /// Though what is written down of it says that the host has booted since.
  @Test
  void oneThatRunsIsTakenBackAndNeverDoubled() {
    Idle running = create("a");
    Path files = registry.files("a");
    VmDefinition made = VmDefinition.read(files).orElseThrow();
    new VmDefinition(made.release(), 1, 1 << 20, true, "an-earlier-one", made.hardware())
        .write(files);

    nextDaemon();

    assertThat(starting).isEmpty();
    assertThat(registry.start(settings("a")).pid()).isEqualTo(running.pid());
    assertThat(booted).containsExactly("a");
    assertThat(VmDefinition.read(files)).contains(made);
  }

  /// It would be deleted while its hardware runs, or started twice.
  @Test
  void oneThatIsBeingTakenBackIsNeverOneThatIsStopped() {
    Idle running = create("a");
    List<Boolean> stopped = new CopyOnWriteArrayList<>();
    whenAsked = () -> stopped.add(registry.definitions().isStopped("a"));

    nextDaemon();

    assertThat(stopped).isNotEmpty().doesNotContain(true);
    assertThat(registry.get("a").pid()).isEqualTo(running.pid());
  }

  @Test
  void oneWhoseHardwareRunsIsNotEndedAsOneThatIsStopped() throws Exception {
    VmFile file = lives("a");

    String words = "still runs, process " + file.process().pid();
    assertProblem(Problem.OS_UNKNOWN, () -> registry.delete("a"), words);
    assertProblem(Problem.OS_UNKNOWN, () -> registry.stop("a"), words);

    assertThat(VmFile.read(registry.files("a"))).contains(file);
    assertThat(registry.definitions().find("a")).isPresent();
  }

  /// One that is stopped, though its hardware runs.
  private VmFile lives(String name) {
    Idle first = create(name);
    registry.stop(name);
    Idle other = create("other-" + name);
    VmFile file = VmFile.of(first.settings()).on(ProcessIdentity.of(other.pid())).asBooted(1);
    file.write(registry.files(name));
    return file;
  }

  @Test
  void whoIsInOneIsAskedWhenNobodyElseCanEndIt() {
    Idle running = create("a");

    assertProblem(
        Problem.OS_UNKNOWN,
        () -> registry.delete("a", _ -> registry.stop("a")),
        "is being started or ended");
    assertProblem(
        Problem.OS_IN_USE,
        () ->
            registry.stop(
                "a",
                _ -> {
                  throw Problem.OS_IN_USE.because("a has b.");
                }),
        "a has b");

    assertThat(registry.get("a")).isSameAs(running);
    assertThat(running.ended()).isFalse();
  }

  @Test
  void oneThatIsNotToBeStartedAnyMoreDoesNotStartByItself() throws Exception {
    create("a");
    create("b");
    reboot();
    registry.stop("a");

    assertProblem(Problem.OS_UNKNOWN, () -> registry.startDue(settings("a")), "is stopped");

    assertThat(registry.startDue(settings("b")).ended()).isFalse();
    assertThat(registry.startDue(settings("b"))).isSameAs(registry.get("b"));
    assertThat(booted).containsExactly("a", "b", "b");
  }

  @Test
  void whatItRunsOnIsKnownWhenItIsStartedAgain() throws Exception {
    create("a");
    assertThat(hardware()).contains("qemu-10.0.2");
    var _ = registry.start(settings("a"));

    registry.stop("a");
    reboot();
    assertThat(hardware()).contains("qemu-10.0.2");
    var _ =
        registry.start(
            new VmSettings<>(
                "a", new Plain("os-6.12"), qemu("qemu-10.0.9"), Accelerator.TCG, 1, 1 << 20));
    assertThat(hardware()).contains("qemu-10.0.9");
  }

  private Optional<String> hardware() {
    return registry.definitions().find("a").flatMap(VmDefinition::hardware);
  }

  /// An earlier version did not write down what it runs on.
  @Test
  void whatAnEarlierVersionHasWrittenIsUnderstood() throws Exception {
    create("a");
    registry.stop("a");
    Path file = registry.files("a").resolve(VmDefinition.NAME);
    StateFile.write(
        file,
        Map.of(
            "release",
            "os-6.12",
            "vcpus",
            1,
            "memoryBytes",
            1 << 20,
            "autostart",
            true,
            "boot",
            "an-earlier-one"));

    nextDaemon();

    assertThat(starting).containsExactly("a");
    assertThat(hardware()).isEmpty();
    var _ = registry.start(settings("a"));
    assertThat(hardware()).contains("qemu-10.0.2");
  }

  @Test
  void oneThatWasMadeByAnEarlierVersionComesBackToo() throws Exception {
    create("a");
    VmDefinition.remove(registry.files("a"));

    reboot();

    assertThat(starting).containsExactly("a");
    assertThat(registry.definitions().find("a").orElseThrow().release()).isEqualTo("os-6.12");
  }

  @Test
  void oneThatIsStoppedStaysSoUntilItIsStartedOrTheHostBoots() throws Exception {
    create("a");

    registry.stop("a");
    registry.stop("a");
    nextDaemon();

    assertThat(registry.definitions().stopped()).containsExactly("a");
    assertThat(starting).isEmpty();
    assertThat(registry.on("os-6.12")).containsExactly("a");
    assertProblem(Problem.OS_EXISTS, () -> create("a"), "exists already");
    assertThat(registry.start(settings("a")).ended()).isFalse();
    registry.stop("a");
    reboot();
    assertThat(starting).containsExactly("a");
  }

  @Test
  void oneThatIsStoppedWhileItWasToBeStartedIsNot() throws Exception {
    create("a");
    create("b");
    reboot();

    registry.stop("a");
    registry.definitions().autostart("b", false);
    starting.clear();
    nextDaemon();

    assertThat(starting).isEmpty();
    registry.definitions().autostart("b", true);
    nextDaemon();
    assertThat(starting).as("in the boot in which it was said").isEmpty();
    reboot();
    assertThat(starting).containsExactly("a", "b");
  }

  @Test
  void whatIsSaidWhileItComesUpCounts() {
    create("a");
    registry.stop("a");
    meanwhile = () -> registry.definitions().autostart("a", false);

    var _ = registry.start(settings("a"));

    assertThat(registry.definitions().find("a").orElseThrow().autostart()).isFalse();
    assertProblem(
        Problem.OS_UNKNOWN,
        () -> {
          registry.stop("a");
          meanwhile = () -> registry.delete("a");
          var _ = registry.start(settings("a"));
        },
        "is being started or ended");
  }

  @Test
  void oneThatEndedByItselfIsStartedAgain() throws Exception {
    Idle first = create("a");
    processes.getFirst().destroyForcibly().waitFor();
    assertThat(first.ended()).isTrue();

    Idle next = registry.start(settings("a"));

    assertThat(next.ended()).isFalse();
    assertThat(registry.list()).containsExactly(next);
  }

  @Test
  void whatIsDeletedIsForgotten() throws Exception {
    create("a");
    create("b");
    registry.stop("a");

    registry.delete("a");
    registry.kill("b");
    reboot();

    assertThat(starting).isEmpty();
    assertThat(registry.definitions().stopped()).isEmpty();
    assertThat(registry.files("a")).doesNotExist();
    assertProblem(Problem.OS_UNKNOWN, () -> registry.delete("a"), "is not one of");
    assertProblem(Problem.OS_UNKNOWN, () -> registry.start(settings("a")), "is not one of");
    assertThat(create("b").ended()).isFalse();
  }

  /// Its hardware is there already, and its name is free again.
  @Test
  void oneThatIsKilledWhileItComesUpIsGone() throws Exception {
    create("a");
    registry.stop("a");
    meanwhile =
        () -> {
          try {
            Process hardware = new ProcessBuilder("sleep", "600").start();
            processes.add(hardware);
            VmFile.of(settings("a"))
                .on(ProcessIdentity.of((int) hardware.pid()))
                .write(registry.files("a"));
            registry.kill("a");
            assertThat(hardware.waitFor()).isEqualTo(137);
          } catch (IOException | InterruptedException e) {
            throw new AssertionError(e);
          }
        };
    failure = Optional.of(Problem.OS_START);
    assertProblem(Problem.OS_START, () -> registry.start(settings("a")), "It says no");

    meanwhile = () -> {};
    failure = Optional.empty();
    VmFile.remove(registry.files("a"));
    assertProblem(Problem.OS_UNKNOWN, () -> registry.get("a"), "is not one of");
    assertThat(create("a").ended()).isFalse();
  }

  @Test
  void whoFollowsIsToldWhenOneIsStoppedGivenUpOrGone() throws Exception {
    create("a");
    create("b");
    reboot();
    registry.definitions().giveUp("a");
    registry.definitions().giveUp("a");
    registry.definitions().autostart("b", false);
    assertThat(altered).containsExactly("a gone", "b gone");
    var _ = registry.start(settings("a"));
    altered.clear();

    registry.stop("a");
    registry.delete("b");
    registry.kill("a");

    assertThat(altered).containsExactly("a gone", "b gone", "a gone");
  }
}
