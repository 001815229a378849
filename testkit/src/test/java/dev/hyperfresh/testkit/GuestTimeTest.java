package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What replacements do to the clocks of a guest, as the guest itself reads them.
@Tag("slow")
class GuestTimeTest {
  private static final int MOVES = 6;

  /// How far a record may be from what the guest's clock really lost. They were 0.03 to 0.15 ms
  /// apart on a host on which up to 25 tasks wanted each core.
  private static final double TOLERANCE_MS = 1;

  /// How far the wall clock may be from the host's when the agent has set it and nothing is
  /// remarked: what its answers take on a busy host.
  private static final double STEP_TOLERANCE_MS = 100;

  private static final int ATTEMPTS = 4;
  private static final Duration SET_BACK = Duration.ofSeconds(10);

  private static final Duration READING = Duration.ofMillis(500);
  private static final Duration LONGEST_READING = Duration.ofSeconds(10);

  /// How many of the quickest looks have to agree, and how closely.
  private static final int AGREEING = 5;

  private static final Duration AGREEMENT = Duration.ofNanos(200_000);
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  /// How far the guest's clocks are behind the host's, milliseconds; the host's monotonic clock has
  /// another zero, so that only differences of `monotonic` say something.
  private record Behind(double atMs, double monotonic, double wall) {
    /// The quickest of many looks: a beat is read some time after the guest wrote it. On a busy
    /// host looks go on until several agree, as one alone may be late by milliseconds.
    static Behind of(TestGuest guest) {
      long until = Clock.monotonicNanos() + READING.toNanos();
      long limit = Clock.monotonicNanos() + LONGEST_READING.toNanos();
      long[] quickest = new long[AGREEING];
      Arrays.fill(quickest, Long.MAX_VALUE);
      long wall = Long.MAX_VALUE;
      while (Clock.monotonicNanos() < until
          || (quickest[AGREEING - 1] - quickest[0] > AGREEMENT.toNanos()
              && Clock.monotonicNanos() < limit)) {
        Workshop.pause(Duration.ofNanos(100_000));
        long offset = guest.wallOffsetNanos();
        long beat = guest.beatNanos();
        Clock.Timestamp host = Clock.now();
        long behind = host.monotonicNanos() - beat;
        if (behind < quickest[AGREEING - 1]) {
          quickest[AGREEING - 1] = behind;
          Arrays.sort(quickest);
        }
        wall = Math.min(wall, host.realtimeNanos() - beat - offset);
      }
      return new Behind(Clock.monotonicNanos() / 1e6, quickest[0] / 1e6, wall / 1e6);
    }
  }

  @Test
  void aGuestsClocksLoseWhatIsRecordedAndItsAgentSetsTheWallClock() throws Exception {
    List<QemuRelease> releases =
        List.of(Workshop.release("qemu-10.0"), Workshop.release("qemu-7.2"));
    try (Hyperplexor hyperplexor = hyperplexor()) {
      GuestView view = hyperplexor.create(withAgent("timed"), releases.getLast(), Progress.NONE);
      Workshop.awaitReady(workspace.files("timed"));
      try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE);
          MonotoneWatch watch = MonotoneWatch.of(guest)) {
        keep(hyperplexor, releases, guest);
        step(hyperplexor, releases, guest);
        assertThat(watch.wentBack()).as("where the monotonic clock went back").isEmpty();
      }
      hyperplexor.delete("timed");
    }
    assertThat(workspace.sockets()).as("files in run/ after the guest is gone").isEmpty();
  }

  private Hyperplexor hyperplexor() {
    return Workshop.hyperplexor(workspace.state(), WatchTimes.USUAL);
  }

  /// Moves the guest and leaves its clocks to themselves.
  private void keep(Hyperplexor hyperplexor, List<QemuRelease> releases, TestGuest guest) {
    Behind quiet = Behind.of(guest);
    Workshop.pause(Duration.ofSeconds(2));
    Behind first = Behind.of(guest);
    // The guest's kernel does not know the exact rate of its clock.
    double rate = (first.monotonic() - quiet.monotonic()) / (first.atMs() - quiet.atMs());
    System.out.printf(
        Locale.ROOT,
        "  unmoved: %.3f ms in %.0f ms%n",
        first.monotonic() - quiet.monotonic(),
        first.atMs() - quiet.atMs());
    double recorded = 0;
    Behind before = first;
    for (int i = 0; i < MOVES; i++) {
      ReplacementRecord record = move(hyperplexor, releases.get(i % 2), false);
      Behind after = Behind.of(guest);
      double drift = rate * (after.atMs() - before.atMs());
      double lost = after.monotonic() - before.monotonic() - drift;
      double wallLost = after.wall() - before.wall() - drift;
      double said = record.clocks().lostMs().orElseThrow();
      System.out.printf(
          Locale.ROOT,
          "  to %-11s blackout %6.2f, recorded %6.2f ms, CLOCK_MONOTONIC lost %6.2f, CLOCK_REALTIME"
              + " %6.2f%n",
          record.to(),
          record.blackoutMs().orElse(-1),
          said,
          lost,
          wallLost);
      assertThat(lost).as("lost by CLOCK_MONOTONIC, ms").isCloseTo(said, within(TOLERANCE_MS));
      assertThat(wallLost).as("lost by CLOCK_REALTIME, ms").isCloseTo(said, within(TOLERANCE_MS));
      recorded += said;
      before = after;
    }
    assertThat(hyperplexor.show("timed").clockLoss().micros() / 1e3)
        .as("the guest's total, ms")
        .isCloseTo(recorded, within(0.001 * MOVES));
    assertThat(hyperplexor.show("timed").clockLoss().unmeasured()).isZero();
  }

  /// The way of the time into the guest is as long as the host is busy, so that a second move may
  /// be needed to get it there.
  private void step(Hyperplexor hyperplexor, List<QemuRelease> releases, TestGuest guest) {
    setBack(hyperplexor.show("timed").generation(), guest);
    ReplacementRecord record;
    int attempt = 0;
    do {
      Behind before = Behind.of(guest);
      record = move(hyperplexor, releases.get(attempt % 2), true);
      Behind after = Behind.of(guest);
      System.out.printf(
          Locale.ROOT,
          "  stepped %.2f ms; the wall clock was %.2f ms behind and is %.2f. %s%n",
          record.clocks().steppedMs().orElse(-1),
          before.wall(),
          after.wall(),
          record.clocks().remark());
      assertThat(after.monotonic() - before.monotonic())
          .as("lost by CLOCK_MONOTONIC, which is not stepped, ms")
          .isCloseTo(record.clocks().lostMs().orElseThrow(), within(TOLERANCE_MS));
      if (record.clocks().remark().isEmpty()) {
        assertThat(after.wall()).as("behind the host, ms").isCloseTo(0, within(STEP_TOLERANCE_MS));
        assertThat(record.clocks().steppedMs().orElseThrow())
            .as("set forward, ms")
            .isCloseTo(
                before.wall() + record.clocks().lostMs().orElseThrow() - after.wall(),
                within(STEP_TOLERANCE_MS));
      }
    } while (!record.clocks().remark().isEmpty() && ++attempt < ATTEMPTS);
    assertThat(record.clocks().remark()).isEmpty();
    assertThat(Behind.of(guest).wall()).as("behind the host, ms").isLessThan(STEP_TOLERANCE_MS);
  }

  /// Tells the agent a time long ago.
  private void setBack(int generation, TestGuest guest) {
    Path channel = workspace.state().resolve("run").resolve("timed." + generation + ".agt");
    String order =
        "{\"execute\": \"guest-set-time\", \"arguments\": {\"time\": "
            + (Clock.realtimeNanos() - SET_BACK.toNanos())
            + "}}\n";
    try (UnixSocket socket = UnixSocket.connect(channel)) {
      socket.send(order.getBytes(StandardCharsets.US_ASCII));
      socket.receiveTimeout(PATIENCE);
      assertThat(socket.receive(new byte[4096], new ArrayList<>())).isPositive();
    }
    assertThat(Behind.of(guest).wall()).isGreaterThan((double) SET_BACK.toMillis());
  }

  private static ReplacementRecord move(
      Hyperplexor hyperplexor, QemuRelease to, boolean stepClock) {
    ReplacementRecord record =
        hyperplexor.replace("timed", to, Duration.ofSeconds(5), true, stepClock, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    return record;
  }

  private GuestSpec withAgent(String name) throws IOException {
    GuestImages images = Workshop.images();
    Path initrd = workspace.state().resolve("initrd");
    try (OutputStream both = Files.newOutputStream(initrd)) {
      Files.copy(images.initrd(), both);
      Files.copy(images.agent(), both);
    }
    GuestSpec spec = Workshop.linux(name, 256, List.of(), List.of());
    return withAgent(
        spec,
        new GuestSpec.KernelBoot(
            images.kernel(), Optional.of(initrd), spec.boot().orElseThrow().commandLine()),
        ClockPolicy.KEEP);
  }

  private static GuestSpec withAgent(GuestSpec spec, GuestSpec.KernelBoot boot, ClockPolicy clock) {
    return new GuestSpec(
        spec.name(),
        spec.vcpus(),
        spec.memoryBytes(),
        spec.machine(),
        spec.cpu(),
        spec.accelerator(),
        Optional.of(boot),
        spec.disks(),
        spec.nics(),
        true,
        clock);
  }

  /// A guest that never opens its port: nobody answers, and nothing else changes.
  @Test
  void aGuestWhoseAgentIsSilentMovesAllTheSame() {
    GuestSpec tick = Workshop.tick("timed", 64, AcceleratorWish.TCG);
    GuestSpec spec = withAgent(tick, tick.boot().orElseThrow(), ClockPolicy.STEP);
    try (Hyperplexor hyperplexor = hyperplexor()) {
      hyperplexor.create(spec, Workshop.release("qemu-7.2"), Progress.NONE);
      ReplacementRecord record = move(hyperplexor, Workshop.release("qemu-10.0"), false);
      System.out.println("  " + record.clocks().remark());
      assertThat(record.clocks().steppedMs()).isEmpty();
      assertThat(record.clocks().remark())
          .isEqualTo("The agent in the guest does not answer within 5.0 s.");
      assertThat(record.clocks().lostMs().orElseThrow())
          .isGreaterThanOrEqualTo(record.blackoutMs().orElseThrow());
      hyperplexor.delete("timed");
    }
  }

  @Test
  void aPlanSaysWhenThereIsNobodyToSetTheClock() {
    GuestSpec spec = Workshop.tick("timed", 64, AcceleratorWish.TCG);
    QemuRelease newer = Workshop.release("qemu-10.0");
    try (Hyperplexor hyperplexor = hyperplexor()) {
      hyperplexor.create(spec, Workshop.release("qemu-7.2"), Progress.NONE);
      assertThat(hyperplexor.plan("timed", newer, false, false, Progress.NONE))
          .noneMatch(check -> check.name().equals("wall clock"));
      assertThat(hyperplexor.plan("timed", newer, false, true, Progress.NONE))
          .filteredOn(check -> check.name().equals("wall clock"))
          .singleElement()
          .satisfies(check -> {
            assertThat(check.verdict()).isEqualTo(Check.Verdict.UNKNOWN);
            assertThat(check.finding()).contains("the guest has no channel to an agent");
          });
      ReplacementRecord record = move(hyperplexor, newer, true);
      assertThat(record.clocks().remark())
          .isEqualTo("There is no channel to an agent in the guest.");
      hyperplexor.delete("timed");
    }
  }
}
