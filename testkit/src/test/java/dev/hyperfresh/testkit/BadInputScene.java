package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A daemon with a guest that beats, for everything that must not disturb it. One serves all tests
/// of a class; after every test the guest runs, and nothing of what was tried is left behind.
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class BadInputScene {
  static final String GUEST = "beating";
  static final Duration BUDGET = Duration.ofSeconds(1);

  /// As long as usual before a switch: targets are stopped in that time.
  private static final WatchTimes WATCH_TIMES =
      new WatchTimes(WatchTimes.USUAL.before(), Workshop.BRIEFLY.after());

  /// From the decision to give up until the source runs the guest again, beyond the noise floor:
  /// what half of all take at most.
  private static final double MAX_MEDIAN_MS = 50;

  /// What none may take: one is late when the host gives its processors to others just then.
  private static final double MAX_ROLL_BACK_MS = 1000;

  static final Duration SOON = Duration.ofMinutes(1);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  final QemuRelease older = Workshop.release("qemu-7.2");
  final QemuRelease newer = Workshop.release("qemu-10.0");
  TestReleases releases;
  Daemon daemon;
  TestGuest guest;
  private final List<Double> rollBacks = new ArrayList<>();
  private Footprint before;

  /// What an attempt could leave behind.
  private record Footprint(
      List<Long> hypervisors,
      List<String> sockets,
      List<String> guests,
      OpenDescriptors descriptors) {
    static Footprint now() {
      return new Footprint(
          WORKSPACE.hypervisors().stream().map(ProcessHandle::pid).toList(),
          WORKSPACE.sockets(),
          Workspace.names(WORKSPACE.state().resolve("guests")),
          OpenDescriptors.now());
    }

    boolean isNoMoreThan(Footprint before) {
      return hypervisors.size() <= before.hypervisors.size()
          && sockets.size() <= before.sockets.size()
          && guests.equals(before.guests)
          && descriptors.guestMemories().equals(before.descriptors.guestMemories())
          && descriptors.count() <= before.descriptors.count();
    }
  }

  @BeforeAll
  void start() throws IOException {
    releases = new TestReleases(WORKSPACE.state().resolve("releases"));
    daemon =
        Daemon.start(
            new DaemonConfig(WORKSPACE.state(), releases.folder(), Workshop.CACHE.resolve("apt"))
                .watching(WATCH_TIMES));
    GuestView view =
        daemon
            .hyperplexor()
            .create(Workshop.tick(GUEST, 64, AcceleratorWish.TCG), older, Progress.NONE);
    guest = TestGuest.beatingIn(view.pid(), Workshop.BOOT);
    // The first use of a part opens files that stay open.
    replace(newer, BUDGET);
    replace(older, BUDGET);
    hyperfresh("guest", "show", "nobody");
    create("name: [");
  }

  @AfterAll
  void end() {
    guest.close();
    daemon.hyperplexor().delete(GUEST);
    daemon.close();
    assertThat(WORKSPACE.sockets()).as("files in run/ after all guests are gone").isEmpty();
    assertSoon();
  }

  @BeforeEach
  void look() {
    before = Footprint.now();
  }

  @AfterEach
  void nothingIsLeftAndTheGuestBeatsOn() {
    guest.awaitBeat(SOON);
    assertThat(daemon.hyperplexor().show(GUEST).state()).isEqualTo(GuestView.State.RUNNING);
    // The connection of a command, for one, is closed a moment after its answer.
    Await.holdsWithin(SOON, () -> Footprint.now().isNoMoreThan(before));
    Footprint after = Footprint.now();
    assertThat(after.hypervisors()).as("hypervisors").hasSameSizeAs(before.hypervisors());
    assertThat(after.sockets()).as("files in run/").hasSameSizeAs(before.sockets());
    assertThat(after.guests()).as("folders of guests").isEqualTo(before.guests());
    assertThat(after.descriptors().guestMemories())
        .as("guest memories")
        .isEqualTo(before.descriptors().guestMemories());
    assertThat(after.descriptors().count())
        .as(
            "descriptors; opened and not closed: "
                + after.descriptors().openedSince(before.descriptors()))
        .isLessThanOrEqualTo(before.descriptors().count());
  }

  /// Does `work` as soon as there is one hypervisor more.
  static Thread onTarget(Consumer<ProcessHandle> work) {
    List<ProcessHandle> others = WORKSPACE.hypervisors();
    return Thread.ofPlatform()
        .name("bad-input-target")
        .start(() -> {
          Workshop.await(
              "a target",
              Duration.ofSeconds(60),
              () -> WORKSPACE.hypervisors().size() > others.size());
          work.accept(
              WORKSPACE.hypervisors().stream()
                  .filter(process -> !others.contains(process))
                  .findFirst()
                  .orElseThrow());
        });
  }

  /// A guest that only waits for a core of a busy host beats again within the pause.
  void awaitStandstill() {
    Workshop.await(
        "the guest standing still",
        Duration.ofSeconds(30),
        () -> {
          long counter = guest.counter();
          Workshop.pause(Duration.ofSeconds(1));
          return guest.counter() == counter;
        });
  }

  void stillMoves() {
    QemuRelease other =
        daemon.hyperplexor().show(GUEST).release().equals(older.name()) ? newer : older;
    assertThat(replace(other, Duration.ofSeconds(5)).outcome()).isEqualTo(Outcome.COMMITTED);
    guest.awaitBeat(SOON);
    if (other.equals(newer)) {
      assertThat(replace(older, Duration.ofSeconds(5)).outcome()).isEqualTo(Outcome.COMMITTED);
    }
  }

  ReplacementRecord replace(QemuRelease to, Duration budget) {
    return replace(to, budget, Progress.NONE);
  }

  ReplacementRecord replace(QemuRelease to, Duration budget, Progress progress) {
    // Without a rehearsal, which would find a bad target before it gets to do what is tested here.
    return daemon.guests().replace(GUEST, to.name(), budget, false, false, progress);
  }

  void rolledBack(ReplacementRecord record, Problem problem, String detail) {
    assertThat(record.outcome()).as(record.toString()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.problem()).as(record.detail()).isEqualTo(problem.code());
    assertThat(record.detail()).contains(detail);
    // There was nothing to take back before the order to hand over.
    boolean ordered = !problem.equals(Problem.REPLACE_PREPARE);
    assertThat(record.phases().rollBackMs().isPresent()).as(record.toString()).isEqualTo(ordered);
    record.phases().rollBackMs().ifPresent(ms -> took(ms, record.noiseFloorMs().orElse(0)));
  }

  private void took(double rollBackMs, double noiseMs) {
    System.out.printf(
        Locale.ROOT, "  rolled back in %.1f ms, with noise of %.1f ms%n", rollBackMs, noiseMs);
    assertThat(rollBackMs).as("roll-back, ms").isLessThan(MAX_ROLL_BACK_MS * Workshop.crowd());
    rollBacks.add(Math.max(0, rollBackMs - noiseMs));
  }

  private void assertSoon() {
    List<Double> sorted = rollBacks.stream().sorted().toList();
    assertThat(sorted).as("roll-backs").isNotEmpty();
    assertThat(sorted.get(sorted.size() / 2))
        .as("the median of roll-backs beyond their noise, ms: " + sorted)
        .isLessThan(MAX_MEDIAN_MS * Workshop.crowd());
  }

  /// A document with all that is required, and `lines` that come first.
  static String[] document(String... lines) {
    boolean named = Arrays.stream(lines).anyMatch(line -> line.startsWith("name:"));
    boolean sized = Arrays.stream(lines).anyMatch(line -> line.startsWith("memory:"));
    return Stream.of(
            Arrays.stream(lines),
            Stream.of("kernel: " + Workshop.images().tick()),
            named ? Stream.<String>empty() : Stream.of("name: other"),
            sized ? Stream.<String>empty() : Stream.of("memory: 64M"))
        .flatMap(all -> all)
        .toArray(String[]::new);
  }

  static CommandRun create(String... lines) {
    return hyperfresh("guest", "create", "-f", spec(lines).toString());
  }

  static Path spec(String... lines) {
    try {
      return Files.writeString(
          WORKSPACE.state().resolve("spec.yaml"), String.join("\n", lines) + "\n");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static CommandRun hyperfresh(String... arguments) {
    return hyperfreshIn(WORKSPACE.state(), arguments);
  }

  /// The command of users, in this process so that many can be tried.
  static CommandRun hyperfreshIn(Path state, String... arguments) {
    String[] all = Arrays.copyOf(arguments, arguments.length + 1);
    all[arguments.length] = "--state=" + state;
    return CommandRun.here(all);
  }

  static void expect(CommandRun said, Problem problem, String... details) {
    assertThat(said.code()).as(said.toString()).isEqualTo(problem.exitCode());
    assertThat(said.err())
        .as(said.toString())
        .contains(problem.code(), problem.summary(), problem.advice())
        .contains(details);
    assertThat(said.out()).as(said.toString()).isEmpty();
  }
}
