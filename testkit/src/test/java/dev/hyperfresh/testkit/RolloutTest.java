package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Many guests on one host: what they do to each other, and what a user is told.
@Tag("slow")
class RolloutTest {
  private static final int MANY = 16;
  private static final int BUSY = 4;

  /// How much longer the blackout of one of several guests at once may be than that of a single
  /// one.
  private static final double MAX_RATIO = 1.5;

  private static final int ROUNDS = 5;
  private static final int LOOKS = 3;
  private static final Duration BUDGET = Duration.ofSeconds(20);
  private static final Duration START = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<QemuRelease> releases =
      List.of(Workshop.release("qemu-10.0"), Workshop.release("qemu-7.2"));
  private final List<Process> daemons = new ArrayList<>();

  @AfterEach
  void endDaemons() throws InterruptedException {
    for (Process daemon : daemons) {
      daemon.destroyForcibly().waitFor();
    }
  }

  /// Guests with little to do, as most guests of a full host are. Of each four that move at a time
  /// one is a Linux.
  @Test
  void sixteenGuestsMoveFourAtATime() {
    long available = Host.availableMemoryBytes() >> 20;
    Workshop.require(available > 6 * 1024, available + " MiB are too few for 16 guests");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state());
        Crowd crowd = new Crowd(hyperplexor, MANY)) {
      crowd.moveFourAtATime();
      crowd.beat();
    }
  }

  /// A whole host of them, in a minute, and none stands much longer than one that is moved alone.
  @Test
  @Tag("measure")
  void fiftyGuestsMoveFourAtATimeWithinAMinute() {
    long available = Host.availableMemoryBytes() >> 20;
    Workshop.require(available > 16 * 1024, available + " MiB are too few for 50 guests");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state());
        Crowd crowd = new Crowd(hyperplexor, 50)) {
      Sample alone = new Sample("gap of one of 50 guests, moved alone");
      for (int i = 0; i < 10; i++) {
        ReplacementRecord record =
            hyperplexor.replace(crowd.name(0), releases.get(i % 2), BUDGET, Progress.NONE);
        alone.add(record.guestGapMs().orElseThrow());
      }
      System.out.println("  " + alone);
      Crowd.Moved moved = crowd.moveFourAtATime();
      assertThat(moved.seconds()).as("seconds").isLessThan(60);
      assertThat(moved.gaps().quantile(1)).isLessThanOrEqualTo(3 * alone.quantile(1));
      crowd.beat();
    }
  }

  /// Guests on the older release.
  private final class Crowd implements AutoCloseable {
    private final Hyperplexor hyperplexor;
    private final List<TestGuest> guests = new ArrayList<>();
    private final int size;

    /// What moving them all took.
    private record Moved(double seconds, Sample gaps) {}

    Crowd(Hyperplexor hyperplexor, int size) {
      this.hyperplexor = hyperplexor;
      this.size = size;
      List<String> names = IntStream.range(0, size).mapToObj(this::name).toList();
      // One in four has an operating system, which takes its time to boot here.
      List<String> linux =
          IntStream.range(0, size).filter(i -> i % 4 == 0).mapToObj(this::name).toList();
      for (String name : names) {
        GuestSpec spec =
            linux.contains(name) ? idle(name) : Workshop.tick(name, 96, AcceleratorWish.TCG);
        hyperplexor.create(spec, releases.getLast(), Progress.NONE);
      }
      linux.forEach(name -> Workshop.awaitReady(workspace.files(name)));
      names.forEach(
          name -> guests.add(TestGuest.beatingIn(hyperplexor.show(name).pid(), Workshop.BOOT)));
    }

    String name(int number) {
      return "g" + number;
    }

    Moved moveFourAtATime() {
      long begin = System.nanoTime();
      Rollout.Result<ReplacementRecord> result = rollOut(hyperplexor, releases.getFirst(), 4);
      double seconds = (System.nanoTime() - begin) / 1e9;
      assertThat(result.entries())
          .hasSize(size)
          .allSatisfy(entry -> {
            assertThat(entry.outcome()).as(entry.toString()).isEqualTo(Rollout.Outcome.COMMITTED);
            assertThat(entry.record().orElseThrow().ramBytesCopied()).hasValue(0);
          });
      Sample blackout = new Sample("blackout of " + size + " guests, 4 at a time");
      Sample gaps = new Sample("their gaps");
      for (ReplacementRecord record : records(result)) {
        blackout.add(record.blackoutMs().orElseThrow());
        gaps.add(record.guestGapMs().orElseThrow());
      }
      System.out.printf(
          Locale.ROOT,
          "  %s, %s, at most %.1f, %.1f s in all%n",
          blackout,
          gaps,
          gaps.quantile(1),
          seconds);
      return new Moved(seconds, gaps);
    }

    /// All of them run.
    void beat() {
      guests.forEach(guest -> guest.awaitBeat(START));
      assertThat(workspace.hypervisors()).hasSize(size);
    }

    @Override
    public void close() {
      guests.forEach(TestGuest::close);
    }
  }

  private static GuestSpec idle(String name) {
    GuestSpec spec = Workshop.linux(name, 96, List.of(), List.of());
    GuestSpec.KernelBoot boot = spec.boot().orElseThrow();
    return new GuestSpec(
        name,
        spec.vcpus(),
        spec.memoryBytes(),
        spec.machine(),
        spec.cpu(),
        AcceleratorWish.TCG,
        Optional.of(
            new GuestSpec.KernelBoot(
                boot.kernel(), boot.initrd(), boot.commandLine() + " hf.period=20000")),
        spec.disks(),
        spec.nics());
  }

  /// Four guests that never pause. One of them is moved while the others run, or all at once; in
  /// turns, so that whatever else the host does meets both alike.
  @Test
  @Tag("measure")
  void fourBusyGuestsAtOnceHardlyLengthenEachOthersBlackout() {
    Sample single = new Sample("one of 4 busy guests");
    Sample together = new Sample("4 busy guests at once");
    List<String> names = IntStream.range(0, BUSY).mapToObj(i -> "busy" + i).toList();
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      for (String name : names) {
        GuestSpec spec = Workshop.ring3(name, 64, AcceleratorWish.TCG);
        int pid = hyperplexor.create(spec, releases.getLast(), Progress.NONE).pid();
        TestGuest.beatingIn(pid, Workshop.BOOT).close();
      }
      round(hyperplexor, names, new Sample("warm-up"), new Sample("warm-up"));
      for (int look = 0; look < LOOKS; look++) {
        for (int i = 0; i < ROUNDS; i++) {
          round(hyperplexor, names, single, together);
        }
        if (isWithin(single, together)) {
          break;
        }
      }
    }
    System.out.println("  " + single);
    System.out.println("  " + together);
    System.out.printf(
        Locale.ROOT,
        "  ratio of the medians %.3f; allowed %.2f and the noise of %.2f ms%n",
        together.median() / single.median(),
        MAX_RATIO,
        Sample.errorOfDifference(together, single));
    assertThat(isWithin(single, together)).as("%s; %s", single, together).isTrue();
  }

  private static boolean isWithin(Sample single, Sample together) {
    return together.median()
        <= MAX_RATIO * single.median() + Sample.errorOfDifference(together, single);
  }

  /// One after the other to the newer release, and all together back.
  private void round(Hyperplexor hyperplexor, List<String> names, Sample single, Sample together) {
    for (String name : names) {
      ReplacementRecord record =
          hyperplexor.replace(name, releases.getFirst(), BUDGET, Progress.NONE);
      assertThat(record.outcome())
          .as(record.detail())
          .isEqualTo(ReplacementRecord.Outcome.COMMITTED);
      single.add(record.blackoutMs().orElseThrow());
    }
    Rollout.Result<ReplacementRecord> result = rollOut(hyperplexor, releases.getLast(), BUSY);
    assertThat(result.entries())
        .allSatisfy(entry ->
            assertThat(entry.outcome()).as(entry.toString()).isEqualTo(Rollout.Outcome.COMMITTED));
    records(result).forEach(record -> together.add(record.blackoutMs().orElseThrow()));
  }

  private static List<ReplacementRecord> records(Rollout.Result<ReplacementRecord> result) {
    return result.entries().stream().flatMap(entry -> entry.record().stream()).toList();
  }

  private static Rollout.Result<ReplacementRecord> rollOut(
      Hyperplexor hyperplexor, QemuRelease to, int parallel) {
    return hyperplexor.rollOut(
        new GuestRollout.Order(
            List.of(),
            to,
            Optional.empty(),
            new Rollout.Pace(parallel, 0, Duration.ZERO),
            BUDGET,
            true,
            false),
        (guest, budget, progress) -> hyperplexor.replace(guest, to, budget, progress),
        Rollout.Audience.NONE);
  }

  /// The command, from the plan to a client that goes away.
  @Test
  void theCommandMovesAllAndSaysWhatItDid() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    Files.copy(Workshop.images().tick(), workspace.state().resolve("tick.elf"));
    startDaemon();
    for (String name : List.of("a", "b", "c")) {
      Path spec = workspace.state().resolve(name + ".yaml");
      Files.writeString(
          spec,
          "name: "
              + name
              + "\nmemory: 64M\naccelerator: tcg\nrelease: qemu-7.2\nkernel: tick.elf\n");
      run("guest", "create", "-f", spec.toString()).succeeds();
      TestGuest.beatingIn(show(name).path("pid").asInt(), Workshop.BOOT).close();
    }
    String to = releases.getFirst().name();

    CommandRun plan = run("replace", "--all", "--to", "qemu-10.0", "--dry-run").succeeds();
    assertThat(plan.out().lines().filter(line -> line.contains("movable"))).hasSize(3);
    assertThat(run("replace", "a", "--all", "--to", "qemu-10.0").code()).isEqualTo(2);
    assertThat(run("replace", "--to", "qemu-10.0").code()).isEqualTo(2);
    run("replace", "a", "ghost", "--to", "qemu-10.0").fails(Problem.GUEST_UNKNOWN, "ghost");

    JsonNode canary =
        run("replace", "--all", "--to", "qemu-10.0", "--canary", "1", "--soak", "2s", "--json")
            .succeeds()
            .json();
    assertThat(outcomes(canary)).containsExactly("a committed", "b committed", "c committed");
    assertThat(canary.path("guests").get(0).path("replacement").path("to").asString())
        .isEqualTo(to);
    assertThat(outcomes(run("replace", "--all", "--to", "qemu-10.0", "--json").succeeds().json()))
        .containsExactly("a there", "b there", "c there");

    run("guest", "stop", "b", "--patience", "0").succeeds();
    CommandRun named = run("replace", "b", "c", "--to", "qemu-7.2");
    assertThat(named.code()).as(named.toString()).isEqualTo(5);
    assertThat(named.out()).contains("left-alone", "HF-GUEST-003", "Not moved as asked: b");
    assertThat(run("replace", "--all", "--from", "qemu-10.0", "--to", "qemu-7.2").succeeds().out())
        .contains("committed", "there");
    assertThat(run("history", "--json").succeeds().json().path("replacements")).hasSize(5);

    interruptAfterTheFirst();
  }

  /// The daemon ends what is in flight and starts no other guest.
  private void interruptAfterTheFirst() throws Exception {
    run("guest", "delete", "b", "--force").succeeds();
    Path said = workspace.state().resolve("client.txt");
    Process client =
        new ProcessBuilder(
                CommandRun.command(
                    "replace",
                    "--all",
                    "--to",
                    "qemu-10.0",
                    "--state",
                    workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(said.toFile())
            .start();
    Workshop.await("the first guest", START, () -> Workshop.contains(said, "a: starting"));
    client.destroyForcibly().waitFor();
    Workshop.await("the end of it", START, () -> release("a").equals(releases.getFirst().name()));
    Workshop.await("a quiet guest", START, () -> state("a").equals("running"));
    Workshop.pause(Duration.ofSeconds(3));
    assertThat(release("c")).isEqualTo(releases.getLast().name());
    for (String name : List.of("a", "c")) {
      run("guest", "delete", name, "--force").succeeds();
    }
  }

  private String release(String guest) {
    return show(guest).path("release").asString();
  }

  private String state(String guest) {
    return show(guest).path("state").asString();
  }

  private JsonNode show(String guest) {
    return run("guest", "show", guest, "--json").succeeds().json();
  }

  private static List<String> outcomes(JsonNode result) {
    return result
        .path("guests")
        .valueStream()
        .map(entry -> entry.path("guest").asString() + " " + entry.path("outcome").asString())
        .toList();
  }

  private void startDaemon() throws Exception {
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(workspace.state().resolve("daemon.log").toFile())
            .start();
    daemons.add(daemon);
    Path log = workspace.state().resolve("daemon.log");
    Workshop.await("a daemon that serves", START, () -> Workshop.contains(log, "serving on"));
    assertThat(daemon.waitFor(0, TimeUnit.SECONDS)).isFalse();
  }

  private CommandRun run(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }
}
