package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Many replacements of one guest in a row, up and down three series of QEMU: what a single one
/// cannot show are leaks, and state that only a second or fiftieth hand-over loses.
@Tag("slow")
class ChainTest {
  private static final int LINKS = 50;
  private static final int WARM_UP = 5;
  private static final long MAX_GROWTH_BYTES = 32 << 20;
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  /// What the process of the hyperplexor holds.
  private record Holdings(long descriptors, long threads, long anonymousBytes) {
    static Holdings now() throws IOException {
      // Twice, because finalizable leftovers of the first collection go with the second; what the
      // heap does not need any more goes back to the host.
      System.gc();
      System.gc();
      awaitQuiet();
      try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"));
          Stream<String> status = Files.lines(Path.of("/proc/self/status"))) {
        return new Holdings(
            fds.count(),
            Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().startsWith("hf-"))
                .count(),
            status
                .filter(line -> line.startsWith("RssAnon:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
                .sum());
      }
    }

    /// What an earlier test has left, and the collector has found, is closed by another thread.
    private static void awaitQuiet() {
      int[] before = {-1};
      Workshop.await(
          "descriptors that stay",
          PATIENCE,
          () -> {
            int seen = before[0];
            before[0] = OpenDescriptors.now().count();
            Workshop.pause(Duration.ofMillis(200));
            return OpenDescriptors.now().count() == before[0] && before[0] == seen;
          });
    }
  }

  /// Reads the heartbeat's counter all the time.
  private static final class Sampler implements AutoCloseable {
    private final Thread thread;
    private volatile boolean done;
    private final AtomicLong samples = new AtomicLong();
    private volatile String wentBack = "";

    Sampler(TestGuest guest) {
      thread = Thread.ofPlatform().name("chain-sampler").start(() -> sample(guest));
    }

    private void sample(TestGuest guest) {
      long last = guest.counter();
      while (!done) {
        Workshop.pause(Duration.ofMillis(1));
        long next = guest.counter();
        if (next < last) {
          wentBack = "from " + last + " to " + next;
        }
        last = next;
        samples.incrementAndGet();
      }
    }

    @Override
    public void close() {
      done = true;
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Test
  void fiftyReplacementsLoseNothingAndLeaveNothing() throws Exception {
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    }
    Optional<QemuRelease> newest = Workshop.releaseIfOffered("qemu-11.1");
    QemuRelease middle = Workshop.release("qemu-10.0");
    QemuRelease oldest = Workshop.release("qemu-7.2");
    List<QemuRelease> releases =
        newest
            .map(release -> List.of(middle, release, middle, oldest))
            .orElse(List.of(middle, oldest));
    GuestSpec spec =
        Workshop.linux("chain", 256, List.of(new Disk(image, Disk.Format.RAW, false)), List.of());
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      hyperplexor.create(spec, oldest, Progress.NONE);
      Workshop.awaitReady(workspace.files("chain"));
      GuestView view = hyperplexor.show("chain");
      try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE)) {
        newest.ifPresent(release -> remarksOnWhatIsDeprecated(hyperplexor, release));
        chain(hyperplexor, releases, guest);
        hyperplexor.stop("chain", Duration.ZERO);
        checkDisk(image, guest);
        checkNothingRuns();
        hyperplexor.delete("chain");
      }
    }
    assertThat(workspace.sockets()).as("files in run/ after the guest is gone").isEmpty();
  }

  /// The guest's machine type is that of the oldest release.
  private static void remarksOnWhatIsDeprecated(Hyperplexor hyperplexor, QemuRelease newest) {
    List<Check> checks = hyperplexor.plan("chain", newest, false, false, Progress.NONE);
    assertThat(checks).as("checks of a dry run").noneMatch(Check::failed);
    assertThat(checks)
        .filteredOn(check -> check.name().equals("machine type"))
        .extracting(Check::finding)
        .containsExactly(
            newest.name()
                + " knows pc-q35-7.2, but deprecates it: a later release will not know it.");
  }

  private void chain(Hyperplexor hyperplexor, List<QemuRelease> releases, TestGuest guest)
      throws Exception {
    long bootId = guest.bootId();
    Workshop.await("a pass over the known region", PATIENCE, () -> guest.passes() > 0);
    Workshop.await("a record on the disk", PATIENCE, () -> guest.diskSequence() > 0);
    try (Sampler sampler = new Sampler(guest)) {
      replace(hyperplexor, releases, 0, WARM_UP, guest);
      Holdings before = Holdings.now();
      List<String> sockets = workspace.sockets();
      long records = guest.diskSequence();
      replace(hyperplexor, releases, WARM_UP, LINKS / 2, guest);
      Holdings midway = Holdings.now();
      replace(hyperplexor, releases, LINKS / 2, LINKS, guest);
      Holdings after = Holdings.now();
      System.out.println("  after " + WARM_UP + ": " + before);
      System.out.println("  after " + LINKS / 2 + ": " + midway);
      System.out.println("  after " + LINKS + ": " + after);
      assertThat(sampler.samples.get()).as("samples of the counter").isGreaterThan(1000);
      assertThat(sampler.wentBack).as("the counter went back").isEmpty();
      assertThat(guest.diskSequence()).as("records on the disk").isGreaterThan(records);
      assertThat(after.descriptors()).as("descriptors").isEqualTo(before.descriptors());
      assertThat(after.threads()).as("threads").isLessThanOrEqualTo(before.threads());
      // The compilers of the JVM need most early on and give it back, so the least counts.
      assertThat(
              after.anonymousBytes() - Math.min(before.anonymousBytes(), midway.anonymousBytes()))
          .as("growth of anonymous memory, bytes")
          .isLessThan(MAX_GROWTH_BYTES);
      assertThat(workspace.sockets()).as("files in run/").hasSameSizeAs(sockets);
    }
    long passes = guest.passes();
    Workshop.await("two more passes", PATIENCE, () -> guest.passes() >= passes + 2);
    assertThat(guest.mismatches()).as("mismatches in the known region").isZero();
    assertThat(guest.diskErrors()).as("errors of the disk").isZero();
    assertThat(guest.bootId()).as("boot id").isEqualTo(bootId);
    assertThat(workspace.hypervisors()).as("hypervisors that run").hasSize(1);
  }

  private void replace(
      Hyperplexor hyperplexor, List<QemuRelease> releases, int from, int to, TestGuest guest) {
    for (int i = from; i < to; i++) {
      replace(hyperplexor, releases.get(i % releases.size()), guest);
    }
  }

  private void replace(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest) {
    ReplacementRecord record =
        hyperplexor.replace("chain", to, Duration.ofSeconds(5), Progress.NONE);
    System.out.printf(
        Locale.ROOT,
        "  to %-28s blackout %6.2f ms, heartbeat gap %6.2f ms (floor %.2f), %d state bytes%n",
        to.name(),
        record.blackoutMs().orElse(-1),
        record.guestGapMs().orElse(-1),
        record.noiseFloorMs().orElse(-1),
        record.stateBytes());
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).as("RAM bytes copied").hasValue(0);
    assertThat(record.heartbeatWentBack()).as("the heartbeat went back").isFalse();
    assertThat(record.from()).isNotEqualTo(record.to());
    assertThat(hyperplexor.show("chain").release()).isEqualTo(to.name());
    guest.awaitBeat(PATIENCE);
  }

  /// The page lags behind the disk by one record at most, and never runs ahead of it.
  private static void checkDisk(Path image, TestGuest guest) throws IOException {
    DiskRecords records = DiskRecords.read(image, guest.bootId());
    System.out.println("  disk: " + records + ", acknowledged " + guest.diskSequence());
    assertThat(records.damaged()).as("the first damaged record").isEmpty();
    assertThat(records.highest()).isBetween(guest.diskSequence(), guest.diskSequence() + 1);
    assertThat(records.whole()).isEqualTo(Math.min(records.highest(), DiskRecords.SLOTS));
  }

  private void checkNothingRuns() {
    assertThat(workspace.hypervisors().stream().map(ProcessHandle::pid).toList())
        .as("hypervisors that live")
        .isEmpty();
  }
}
