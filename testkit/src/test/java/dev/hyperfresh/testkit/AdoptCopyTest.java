package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.AdoptOrder;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Guests whose memory is private to a QEMU that was started by hand are copied once into memory
/// that every later QEMU maps, or run on where they are.
@Tag("slow")
class AdoptCopyTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");
  private static final MemoryCopy ENOUGH =
      new MemoryCopy(Duration.ofSeconds(60), Duration.ofSeconds(2));

  /// Of the bare guests: its page is at 2 MiB.
  private static final String COUNTER = "{\"command-line\":\"xp /1gx 0x200018\"}";

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<ReplacementRecord> records = Collections.synchronizedList(new ArrayList<>());

  @Test
  void memoryWithoutABackendIsCopiedOnceAndMappedEverAfter() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      network.ip("link", "add", "br0", "type", "bridge");
      network.ip("addr", "add", "10.77.0.1/24", "dev", "br0");
      network.ip("link", "set", "br0", "up");
      network.ip("tuntap", "add", "dev", "old0", "mode", "tap", "vnet_hdr");
      network.ip("link", "set", "old0", "master", "br0", "up");
      copiedOnceAndMovedBackAndForth(network, disk());
    }
  }

  private void copiedOnceAndMovedBackAndForth(TestNetwork network, Path disk) throws Exception {
    try (OwnQemu own = linux(OLD, network.prefix());
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      Workshop.awaitReady(workspace.state(), "own-console.log");
      long ready = System.nanoTime();
      EchoStream stream = network.within(AdoptCopyTest::stream);
      GuestView view = network.within(() -> adopt(hyperplexor, own, NEW, ENOUGH, Progress.NONE));
      assertThat(network.interfaces()).contains("mine-0");
      assertThat(view.release()).isEqualTo(NEW.name());
      assertThat(view.origin()).isEqualTo(GuestView.Origin.ADOPTED);
      assertThat(view.detail()).contains("Its memory was private.", "MiB were copied");
      assertThat(own.isAlive()).as("the first process").isFalse();
      assertCopied(160);
      long boot;
      long highest;
      // Only memory whose size nobody can change is taken.
      try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE)) {
        assertThat(guest.beatNanos()).as("it has not booted").isGreaterThan(since(ready));
        boot = guest.bootId();
        moved(hyperplexor, OLD, guest);
        moved(hyperplexor, NEW, guest);
        long passes = guest.passes();
        Workshop.await("a look at its memory", PATIENCE, () -> guest.passes() > passes + 1);
        assertThat(guest.mismatches()).as("changed memory").isZero();
        assertThat(guest.diskErrors()).isZero();
        assertThat(guest.bootId()).isEqualTo(boot);
        highest = guest.diskSequence();
        stream.finish(PATIENCE);
        assertThat(stream.fault()).isEmpty();
        assertThat(stream.bytesLost()).isZero();
        assertThat(stream.bytesSent()).isPositive();
        assertThat(guest.echoConnections()).isEqualTo(1);
      } finally {
        stream.close();
      }
      hyperplexor.stop("mine", Duration.ZERO);
      hyperplexor.delete("mine");
      DiskRecords written = DiskRecords.read(disk, boot);
      assertThat(written.damaged()).isEmpty();
      assertThat(written.highest()).isGreaterThanOrEqualTo(highest);
    }
  }

  private static EchoStream stream() {
    try {
      return EchoStream.open(new InetSocketAddress("10.77.0.2", 7));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static long since(long nanos) {
    return System.nanoTime() - nanos;
  }

  @Test
  void aMemoryWithANameIsCopiedToAnOlderRelease() throws Exception {
    Path tick = Workshop.images().tick();
    List<String> memory = List.of("-object", "memory-backend-ram,id=m,size=64M");
    try (OwnQemu own = bare(NEW, tick, 64, ",memory-backend=m", memory);
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      long before = counting(own);
      GuestView view = adopt(hyperplexor, own, OLD, ENOUGH, Progress.NONE);
      assertCopied(64);
      try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE)) {
        assertThat(guest.counter()).isGreaterThan(before);
        moved(hyperplexor, NEW, guest);
      }
      hyperplexor.delete("mine");
    }
  }

  /// The guest writes to nearly all of its memory all the time.
  @Test
  void whatDoesNotArriveIsGivenUpAndRunsOn() throws Exception {
    try (OwnQemu own = sweeping();
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      long before = counting(own);
      JsonNode parameters = own.ask("query-migrate-parameters", "{}");
      JsonNode capabilities = own.ask("query-migrate-capabilities", "{}");

      assertNotAdopted(Problem.ADOPT_COPY, hyperplexor, own, strict(4), Progress.NONE);
      assertRunsOn(hyperplexor, own);
      assertThat(own.ask("query-migrate-parameters", "{}")).isEqualTo(parameters);
      assertThat(own.ask("query-migrate-capabilities", "{}")).isEqualTo(capabilities);

      assertNotAdopted(Problem.REPLACE_SWITCH, hyperplexor, own, strict(60), killer());
      assertRunsOn(hyperplexor, own);
      assertThat(counter(own)).isGreaterThan(before);
    }
  }

  /// Less downtime than such a guest would need.
  private static MemoryCopy strict(int seconds) {
    return new MemoryCopy(Duration.ofSeconds(seconds), Duration.ofMillis(1));
  }

  /// Kills the target while memory is copied.
  private Progress killer() {
    return (step, _) -> {
      if (step.equals("copy")) {
        workspace.hypervisors().forEach(ProcessHandle::destroyForcibly);
      }
    };
  }

  private void assertNotAdopted(
      Problem problem, Hyperplexor hyperplexor, OwnQemu own, MemoryCopy limits, Progress progress) {
    assertThatThrownBy(() -> adopt(hyperplexor, own, NEW, limits, progress))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).as(e.detail()).isEqualTo(problem));
    assertThat(records.getLast().outcome()).isEqualTo(Outcome.ROLLED_BACK);
  }

  private void assertRunsOn(Hyperplexor hyperplexor, OwnQemu own) throws IOException {
    own.assertRunning();
    assertThat(own.wasStopped()).isFalse();
    assertThat(hyperplexor.list()).isEmpty();
    assertThat(workspace.hypervisors()).isEmpty();
    assertThat(workspace.files("mine")).doesNotExist();
  }

  @Test
  void aDaemonThatIsKilledInTheMiddleHasAdoptedNothing() throws Exception {
    try (OwnQemu own = sweeping()) {
      var _ = counting(own);
      adoptAndDie(own, "after", "1.copied");
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(hyperplexor)).anyMatch(told -> told.contains("was not adopted"));
        assertRunsOn(hyperplexor, own);
      }
    }
  }

  @Test
  void whatArrivesWithoutADaemonIsTakenBack() throws Exception {
    try (OwnQemu own = bare(OLD, Workshop.images().tick(), 64, "", List.of())) {
      long before = counting(own);
      adoptAndDie(own, "after", "1.handOver");
      Workshop.await("the end of the copy", PATIENCE, () -> hasSent(own));
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(hyperplexor)).contains(Outcome.COMMITTED.label());
        GuestView view = hyperplexor.show("mine");
        assertThat(view.release()).isEqualTo(NEW.name());
        assertThat(own.isAlive()).as("the first process").isFalse();
        try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE)) {
          assertThat(guest.counter()).isGreaterThan(before);
          moved(hyperplexor, OLD, guest);
        }
        hyperplexor.delete("mine");
      }
    }
  }

  private static boolean hasSent(OwnQemu own) {
    try {
      return own.ask("query-status", "{}").path("status").asString().equals("postmigrate");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// By a daemon that kills itself then.
  private void adoptAndDie(OwnQemu own, String when, String call) throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    Process daemon =
        new ProcessBuilder(MortalDaemon.command(workspace.state(), when, call))
            .redirectErrorStream(true)
            .redirectOutput(workspace.state().resolve("daemon.log").toFile())
            .start();
    try {
      Workshop.await("a daemon that answers", PATIENCE, () -> run("guest", "list").code() == 0);
      CommandRun adoption =
          run(
              "guest",
              "adopt",
              "mine",
              "--pid",
              Integer.toString(own.pid()),
              "--qmp",
              own.qmp().toString(),
              "--copy",
              "--max-downtime",
              "1",
              "--to",
              NEW.name());
      assertThat(adoption.code()).as(adoption.toString()).isNotZero();
      assertThat(daemon.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
    } finally {
      daemon.destroyForcibly().waitFor();
    }
  }

  private CommandRun run(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.addAll(List.of("--state", workspace.state().toString()));
    return CommandRun.here(line.toArray(String[]::new));
  }

  private GuestView adopt(
      Hyperplexor hyperplexor, OwnQemu own, QemuRelease to, MemoryCopy limits, Progress progress) {
    return hyperplexor.adopt(
        new AdoptOrder(
            "mine",
            own.pid(),
            own.qmp(),
            Optional.empty(),
            Workshop.RELEASES::ofProcess,
            Optional.of(new AdoptOrder.Copy(_ -> to, limits, records::add)),
            false),
        progress);
  }

  /// Something of the memory was copied, and hardly more than all of it.
  private void assertCopied(int mebibytes) {
    ReplacementRecord record = records.getLast();
    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied().orElse(-1)).isBetween(1L, (mebibytes + 64L) << 20);
    assertThat(record.blackoutMs()).isPresent();
    System.out.printf(
        Locale.ROOT,
        "  copied %d KiB, blackout %.1f ms%n",
        record.ramBytesCopied().orElse(-1) >> 10,
        record.blackoutMs().orElse(-1));
  }

  private static void moved(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest) {
    long before = guest.counter();
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).hasValue(0);
    assertThat(guest.counter()).isGreaterThanOrEqualTo(before);
    guest.awaitBeat(PATIENCE);
  }

  /// Its beats, once it beats.
  private static long counting(OwnQemu own) {
    Workshop.await("the guest's heartbeat", PATIENCE, () -> counter(own) > 0);
    return counter(own);
  }

  /// As QEMU's monitor shows it: nobody else can see the memory.
  private static long counter(OwnQemu own) {
    try {
      String shown = own.ask("human-monitor-command", COUNTER).asString();
      return Long.decode(shown.substring(shown.indexOf("0x")).strip());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private OwnQemu sweeping() throws IOException {
    return bare(OLD, Workshop.images().sweep(), 1024, "", List.of());
  }

  private OwnQemu bare(
      QemuRelease release, Path image, int mebibytes, String machine, List<String> more)
      throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "-machine",
                "pc-q35-7.2,accel=tcg" + machine,
                "-cpu",
                "qemu64",
                "-m",
                Integer.toString(mebibytes),
                "-kernel",
                image.toString()));
    arguments.addAll(more);
    return OwnQemu.start(release, workspace.state(), List.of(), arguments.toArray(String[]::new));
  }

  private Path disk() throws IOException {
    Path disk = workspace.state().resolve("own.img");
    try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
      file.setLength((long) DiskRecords.SLOTS * 4096);
    }
    return disk;
  }

  private OwnQemu linux(QemuRelease release, List<String> prefix) throws IOException {
    GuestImages images = Workshop.images();
    return OwnQemu.start(
        release,
        workspace.state(),
        prefix,
        "-machine",
        "q35",
        "-accel",
        "tcg",
        "-cpu",
        "qemu64",
        "-m",
        "160",
        "-kernel",
        images.kernel().toString(),
        "-initrd",
        images.initrd().toString(),
        "-append",
        "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.ip=10.77.0.2/24 hf.period=2000",
        "-chardev",
        "socket,id=ser0,path=own.con,server=on,wait=off,logfile=own-console.log",
        "-serial",
        "chardev:ser0",
        "-drive",
        "file=own.img,if=none,id=d0,format=raw",
        "-device",
        "virtio-blk-pci,drive=d0,id=blk0",
        "-netdev",
        "tap,id=n0,ifname=old0,script=no,downscript=no",
        "-device",
        "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:02");
  }
}
