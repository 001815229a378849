package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Refusals.assertRefused;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.Health;
import dev.hyperfresh.relocation.HealthCheck;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RestartPolicy;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.relocation.VolumeMount;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/// Containers end in every way, and it is noticed, written down and acted upon.
///
/// Two operating systems serve all tests; the one that loses one of them comes last.
@Tag("slow")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ContainerLifeTest extends ContainerLifeScene {
  private static final long MEMORY_MAX = 16L << 20;

  /// `container` in an OS, which neither starts one nor removes what it was to start.
  private static final String HOLDS_ON =
      """
      cp /usr/lib/hyperfresh/container /run/really
      cat >/run/holds-on <<'END'
      #!/bin/busybox sh
      case $1 in
        start)
          echo a test does not start it
          echo >>/run/asked
          exit 1 ;;
        remove)
          if [ -e /run/asked ]; then echo >>/run/asked; echo a test holds on to it; exit 1; fi ;;
      esac
      exec /run/really "$@"
      END
      chmod 755 /run/holds-on
      mount --bind /run/holds-on /usr/lib/hyperfresh/container
      """;

  @Test
  @Order(1)
  void howItEndedIsKnown() {
    Instant before = Instant.now();
    // One that ends before it is known to have started.
    run("quick", "say", "hello", "exit", "0");
    assertThat(ended("quick").code()).hasValue(0);
    Workshop.await(
        "its log", LIMIT, () -> systems().logOf("quick").last().text().equals("hello\n"));
    run("fails", "wait", "300", "exit", "3");
    assertThat(ended("fails").code()).hasValue(3);
    // By the clock of the OS, which is not quite the host's.
    assertThat(ended("fails").at()).isBetween(before, Instant.now().plusSeconds(1));
    run("killed");
    systems()
        .get("one")
        .run(List.of("sh", "-c", "kill -9 $(cat /run/containers/killed/pid)"), LIMIT);
    assertThat(ended("killed").signal()).hasValue(9);
    assertThat(ended("killed").outOfMemory()).isFalse();
    var _ = systems().run(spec("hungry", MEMORY_MAX, "eat"), "one", Progress.NONE);
    assertThat(ended("hungry").signal()).hasValue(9);
    assertThat(ended("hungry").outOfMemory()).isTrue();
    assertThat(systems().view("hungry").state().how()).isEqualTo("signal 9, out of memory");
    Workshop.await("them to be cleared up", LIMIT, () -> systems().containers().isEmpty());
    assertThat(systems().get("one").run(List.of("ls", "/run/containers"), LIMIT)).isEmpty();
    assertThat(systems().views()).hasSize(4);
    assertRefused(
        Problem.CONTAINER_STATE,
        "exit code 3",
        () -> systems().execute("fails", List.of("/bin/job")));
  }

  /// Whoever is to tell how it ended may be killed itself.
  @Test
  @Order(1)
  void anEndThatNobodySawIsNone() {
    run("unseen");
    systems()
        .get("one")
        .run(
            List.of(
                "sh",
                "-c",
                "kill -9 $(ps -o pid,args | grep '[k]eep run /run/containers/unseen ' | awk '{"
                    + " print $1 }')"),
            LIMIT);
    assertThat(ended("unseen").code()).isEmpty();
    assertThat(ended("unseen").signal()).isEmpty();
    systems().remove("unseen", false);
  }

  @Test
  @Order(2)
  void theNextDaemonKnowsAndNoticesWhatEndedMeanwhile() {
    run("later", "wait", "1500", "exit", "7");
    run("stays", "append", "/data/runs");
    awaitRuns("stays", 1);
    assertThat(systems().stats("stays").pids()).isEqualTo(1);
    assertThat(systems().stats("stays").memoryBytes()).isPositive();
    systems().letGo();
    Workshop.pause(Duration.ofSeconds(3));
    daemon = Optional.of(OsDaemon.start(state()));
    assertThat(ended("later").code()).hasValue(7);
    assertThat(ended("fails").code()).hasValue(3);
    assertThat(ended("hungry").outOfMemory()).isTrue();
    Workshop.await("later to be cleared up", LIMIT, () -> systems().containers().size() == 1);
    nextDaemon();
    nextDaemon();
    assertThat(ended("later").code()).hasValue(7);
    // One program waits for each container, however many daemons there were.
    Workshop.await(
        "one that waits",
        LIMIT,
        () ->
            systems()
                .get("one")
                .run(List.of("sh", "-c", "ps -o args | grep -c '[k]eep wait' || true"), LIMIT)
                .equals("1"));
    systems()
        .get("one")
        .run(List.of("sh", "-c", "kill -9 $(cat /run/containers/stays/pid)"), LIMIT);
    assertThat(ended("stays").signal()).hasValue(9);
  }

  @Test
  @Order(3)
  void onlyRmRemovesFiles() throws IOException {
    Path runs = state().resolve("containers/base/share/rootfs/data/runs");
    run("base", "append", "/data/runs");
    awaitRuns("base", 1);
    assertRefused(Problem.CONTAINER_STATE, "runs", () -> systems().remove("base", false));
    systems().stop("base", Duration.ofSeconds(10));
    // It has a handler for the signal that asks it to end.
    assertThat(ended("base").code()).hasValue(15);
    systems().stop("base", Duration.ZERO);
    ContainerSpec spec = new ContainerSpec("base", bundle("other", 0), Optional.empty());
    assertRefused(
        Problem.CONTAINER_EXISTS, "has ended", () -> systems().run(spec, "one", Progress.NONE));
    assertThat(runs).hasContent("run\n");

    var _ = systems().start("base", Optional.of("two"), Progress.NONE);
    awaitRuns("base", 2);
    assertThat(systems().view("base").os()).isEqualTo("two");
    assertRefused(
        Problem.CONTAINER_STATE,
        "runs",
        () -> systems().start("base", Optional.empty(), Progress.NONE));
    systems().remove("base", true);
    assertThat(runs).doesNotExist();
    assertRefused(Problem.CONTAINER_UNKNOWN, "base", () -> systems().view("base"));
    Witness witness = daemon.orElseThrow().witness;
    Workshop.await(
        "its removal: " + witness.lines(),
        LIMIT,
        () -> witness.last("base").equals("base removed"));
    assertThat(witness.lines())
        .containsSubsequence(
            "base running in one", "base ended in one", "base running in two", "base removed");

    Path left = Files.createDirectories(state().resolve("containers/left/rootfs/data"));
    Files.writeString(left.resolve("precious"), "x");
    assertThat(systems().leftOvers()).containsExactly("left");
    ContainerSpec again = new ContainerSpec("left", bundle("third", 0), Optional.empty());
    assertRefused(
        Problem.CONTAINER_EXISTS, "left", () -> systems().run(again, "one", Progress.NONE));
    assertThat(left.resolve("precious")).exists();
    systems().remove("left", false);
    assertThat(systems().leftOvers()).isEmpty();
    assertThat(left).doesNotExist();
  }

  @Test
  @Order(4)
  void anOsThatGetsAContainerIsNotEnded() {
    run("mover");
    var move =
        systems()
            .relocate(
                "mover",
                "two",
                Transport.MAPPED,
                (state, _) -> {
                  if (state.equals("Prepared")) {
                    assertRefused(
                        Problem.OS_IN_USE, "mover is arriving", () -> systems().delete("two"));
                  } else if (state.equals("Draining")) {
                    assertRefused(
                        Problem.OS_IN_USE, "mover is leaving", () -> systems().delete("one"));
                  }
                });
    assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
    // The end in the old OS, where nothing of it is left, is not its own.
    assertThat(systems().view("mover").state()).isInstanceOf(ContainerState.Running.class);
    systems()
        .get("two")
        .run(List.of("sh", "-c", "kill -9 $(cat /run/containers/mover/pid)"), LIMIT);
    assertThat(ended("mover").signal()).hasValue(9);
    systems().remove("mover", false);
  }

  /// Also what a shared mapping of it has that no program has written.
  @Test
  @Order(5)
  void volumesGoWithAContainerAndStayWhenItIsRemoved() throws IOException {
    Path bundle = bundle("counts", 0, "count", "/data/kept");
    Files.createDirectories(bundle.resolve("rootfs/data/kept"));
    Files.writeString(bundle.resolve("rootfs/data/kept/first"), "of the image");
    systems().createVolume("read");
    Files.writeString(volume("read").resolve("known"), "x");
    ContainerSpec spec =
        new ContainerSpec(
            "counts",
            bundle,
            Optional.empty(),
            List.of(
                VolumeMount.parse("kept:/data/kept").orElseThrow(),
                VolumeMount.parse("read:/read:ro").orElseThrow()),
            Optional.empty());
    var _ = systems().run(spec, "one", Progress.NONE);
    assertRefused(Problem.VOLUME_IN_USE, "counts", () -> systems().removeVolume("kept"));
    ContainerSpec other =
        new ContainerSpec(
            "other", bundle, Optional.empty(), spec.volumes().subList(0, 1), Optional.empty());
    assertRefused(
        Problem.VOLUME_IN_USE, "counts", () -> systems().run(other, "two", Progress.NONE));
    assertThat(systems().views()).noneMatch(view -> view.name().equals("other"));

    for (String to : List.of("two", "one")) {
      awaitCount("kept", counted("kept") + 50);
      var move = systems().relocate("counts", to, Transport.MAPPED, Progress.NONE);
      assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
      awaitCount("kept", counted("kept") + 50);
      assertThat(systems().view("counts").state()).isInstanceOf(ContainerState.Running.class);
      assertThat(exitCode("counts", "has", "/read/known")).isZero();
      assertThat(exitCode("counts", "refused", "/read/new")).isZero();
      assertThat(exitCode("counts", "refused", "/data/kept/new")).isOne();
    }
    systems().stop("counts", Duration.ZERO);
    systems().remove("counts", false);
    long last = counted("kept");
    assertThat(volume("kept").getParent()).isEqualTo(state().resolve("volumes"));
    assertThat(volume("kept").resolve("first")).hasContent("of the image");

    // In another container it goes on where it was, under the next daemon too.
    Files.delete(bundle.resolve("rootfs/data/kept/first"));
    nextDaemon();
    var _ = systems().run(spec, "two", Progress.NONE);
    awaitCount("kept", last + 10);
    systems().remove("counts", true);
    assertThat(volume("kept").resolve("first")).hasContent("of the image");
    systems().removeVolume("kept");
    systems().removeVolume("read");
    assertThat(systems().volumes()).isEmpty();
    assertRefused(Problem.VOLUME_UNKNOWN, "kept", () -> systems().removeVolume("kept"));
  }

  private static Instant movedWhile(String name, String... words) {
    Instant begun = Instant.now();
    run(name, words);
    var move = systems().relocate(name, "two", Transport.MAPPED, Progress.NONE);
    assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
    return begun;
  }

  /// A program that believes the kernel, which lets nobody sleep shorter than he asked for.
  @Test
  @Order(5)
  void aSleepIsNotCutShort() {
    Instant begun = movedWhile("sleeps", "sleep", "25", "exit", "3");
    Instant later = movedWhile("waits", "wait", "25000", "exit", "4");
    assertThat(ended("sleeps").code()).hasValue(3);
    assertThat(ended("waits").code()).hasValue(4);
    Duration slept = Duration.between(begun, ended("sleeps").at());
    Duration waited = Duration.between(later, ended("waits").at());
    System.out.printf("  of 25 s: %s with what is left, %s without%n", slept, waited);
    assertThat(List.of(slept, waited))
        .allSatisfy(time -> assertThat(time).isGreaterThan(Duration.ofMillis(24_900)));
    systems().remove("sleeps", false);
    systems().remove("waits", false);
  }

  @Test
  @Order(5)
  void aContainerThatDoesNotWorkInTheNewOsIsMovedBack() {
    var _ = systems().run(checked("picky", "kernel", "6.1."), "one", Progress.NONE);
    awaitHealth("picky", Health.State.HEALTHY);
    assertRefused(
        Problem.RELOCATE_UNHEALTHY,
        "exit code 1: it is 6.12",
        () -> systems().relocate("picky", "two", Transport.MAPPED, Progress.NONE));
    assertThat(systems().view("picky").os()).isEqualTo("one");
    awaitHealth("picky", Health.State.HEALTHY);

    var move = systems().relocate("picky", "two", Transport.MAPPED, false, Progress.NONE);
    assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
    awaitHealth("picky", Health.State.UNHEALTHY);
    assertThat(systems().view("picky").health().orElseThrow().failure()).contains("it is 6.12");
    assertRefused(
        Problem.RELOCATE_PREFLIGHT,
        "Its health check fails",
        () -> systems().relocate("picky", "one", Transport.MAPPED, Progress.NONE));
    // It has run once, and what checked it has left nothing.
    awaitRuns("picky", 1);
    Workshop.await("its checks to end", LIMIT, () -> systems().stats("picky").pids() == 1);
    systems().remove("picky", true);
  }

  /// A check that does not end is ended, and nobody waits longer than it may take.
  @Test
  @Order(5)
  void aCheckThatDoesNotEndHasFailed() {
    ContainerSpec slow = checked("slow", "wait", "3600000");
    HealthCheck check = slow.health().orElseThrow();
    var _ =
        systems()
            .run(
                new ContainerSpec(
                    slow.name(),
                    slow.bundle(),
                    slow.network(),
                    List.of(),
                    Optional.of(
                        new HealthCheck(
                            check.command(),
                            check.interval(),
                            Duration.ofSeconds(1),
                            2,
                            Duration.ZERO))),
                "two",
                Progress.NONE);
    awaitHealth("slow", Health.State.UNHEALTHY);
    assertThat(systems().view("slow").health().orElseThrow().failure())
        .contains("did not end within 1 s");
    systems().remove("slow", true);
    OsVm two = systems().get("two");
    Workshop.await(
        "the end of its check", LIMIT, () -> !inShell(two, "ps -o args").contains("job"));
  }

  /// On a host so busy that one of them takes as long as a run that went well, earlier restarts do
  /// not count any more, and there may be others.
  @Test
  @Order(5)
  void aPolicyStartsItAgain() {
    ContainerSpec spec = spec("again", 0, "append", "/data/runs", "wait", "100", "exit", "1");
    RestartPolicy twice = RestartPolicy.parse("on-failure:2").orElseThrow();
    Instant begun = Instant.now();
    var _ = systems().run(spec, twice, "one", Progress.NONE);
    awaitRuns("again", 3);
    boolean quick = Duration.between(begun, Instant.now()).toSeconds() < 10;
    assertThat(ended("again").code()).hasValue(1);
    Workshop.await("no more starts", LIMIT, () -> systems().view("again").nextStart().isEmpty());
    if (quick) {
      assertThat(systems().view("again").restarts()).isEqualTo(2);
    }
    systems().remove("again", true);
  }

  /// It has its name and shows how it ended until its OS lets go, which is asked once a second,
  /// however many have to do with it.
  @Test
  @Order(5)
  void oneThatDoesNotStartIsTakenFromAnOsThatHoldsOnToIt() {
    ContainerSpec spec = spec("stuck", 0, "append", "/data/runs");
    OsVm one = systems().get("one");
    inShell(one, HOLDS_ON);
    try {
      assertRefused(
          Problem.CONTAINER_START,
          "a test does not start it",
          () -> systems().run(spec, "one", Progress.NONE));
      assertThat(systems().view("stuck").state().how()).isEqualTo("it did not start");
      assertRefused(
          Problem.CONTAINER_EXISTS, "stuck", () -> systems().run(spec, "two", Progress.NONE));
      for (int i = 0; i < 10; i++) {
        assertRefused(
            Problem.CONTAINER_STATE,
            "stuck",
            () -> systems().start("stuck", Optional.empty(), Progress.NONE));
        systems().stop("stuck", Duration.ZERO);
      }
      Instant begun = Instant.now();
      int before = asked(one);
      Workshop.pause(Duration.ofSeconds(4));
      Workshop.await("the next time", LIMIT, () -> asked(one) > before);
      int asked = asked(one) - before;
      assertThat(asked).isLessThan((int) Duration.between(begun, Instant.now()).toSeconds() + 2);
    } finally {
      // It may be running.
      inShell(one, "umount -l /usr/lib/hyperfresh/container");
    }
    Workshop.await(
        "its OS to let go",
        LIMIT,
        () -> systems().containers().stream().noneMatch(held -> held.name().equals("stuck")));
    var _ = systems().start("stuck", Optional.empty(), Progress.NONE);
    awaitRuns("stuck", 1);
    systems().remove("stuck", true);
  }

  private static int asked(OsVm os) {
    return Integer.parseInt(inShell(os, "wc -l </run/asked"));
  }

  private static String inShell(OsVm os, String script) {
    return os.run(List.of("sh", "-c", script), LIMIT).strip();
  }

  /// The next daemon goes on with the policy, and one that has lost its OS is started in another.
  @Test
  @Order(6)
  void oneThatLosesItsOsIsStartedInAnother() throws IOException {
    RestartPolicy always = RestartPolicy.parse("always").orElseThrow();
    var _ = systems().run(spec("lives", 0, "append", "/data/runs"), always, "one", Progress.NONE);
    run("plain");
    awaitRuns("lives", 1);
    try (PidFd os = PidFd.open(systems().get("one").pid())) {
      os.signal(Signals.KILL);
    }
    awaitRuns("lives", 2);
    Workshop.await(
        "lives to run",
        LIMIT,
        () -> systems().view("lives").state() instanceof ContainerState.Running);
    assertThat(systems().view("lives").os()).isEqualTo("two");
    ContainerView plain = systems().view("plain");
    assertThat(plain.state()).isInstanceOf(ContainerState.Lost.class);
    assertThat(plain.state().how()).isEqualTo("OS one ended");
    systems().delete("one");

    try (PidFd os = PidFd.open(systems().get("two").pid())) {
      os.signal(Signals.KILL);
    }
    Workshop.await(
        "it to say what it waits for",
        LIMIT,
        () -> systems().view("lives").failure().contains("no other has 64 MiB"));
    systems().delete("two");
    nextDaemon();
    assertThat(systems().view("plain").state()).isInstanceOf(ContainerState.Lost.class);
    assertThat(systems().view("lives").state()).isInstanceOf(ContainerState.Lost.class);
    Workshop.await(
        "it to wait for an OS again",
        LIMIT,
        () -> systems().view("lives").failure().contains("no other has 64 MiB"));
    systems().stop("lives", Duration.ZERO);
    assertThat(systems().view("lives").nextStart()).isEmpty();
    assertThat(state().resolve("containers/lives/share/rootfs/data/runs")).hasContent("run\nrun\n");
  }
}
