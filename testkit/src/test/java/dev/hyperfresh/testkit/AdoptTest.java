package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Guests that were started without HyperFresh are taken over while they run, and moved then; those
/// that could not be moved are refused and not touched.
@Tag("slow")
class AdoptTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration DAEMON_START = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void aLinuxGuestIsTakenOverMovedAndMovedBack() throws Exception {
    Path disk = disk();
    try (OwnQemu own = linux(OLD, memfd(256), List.of(), List.of())) {
      Workshop.awaitReady(workspace.state(), "own-console.log");
      try (TestGuest guest = TestGuest.beatingIn(own.memory("memory-backend-memfd"), PATIENCE)) {
        Workshop.await("a disk record", PATIENCE, () -> guest.diskSequence() > 0);
        try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
          GapSampler gaps = new GapSampler(guest);
          gaps.quiet(Duration.ofSeconds(2));
          GuestView view = adopt(hyperplexor, own);
          gaps.stop();
          assertThat(view.state()).isEqualTo(GuestView.State.RUNNING);
          assertThat(view.origin()).isEqualTo(GuestView.Origin.ADOPTED);
          assertThat(view.release()).isEqualTo(OLD.name());
          assertThat(view.spec().machine()).isEqualTo("pc-q35-7.2");
          assertThat(view.spec().memoryBytes()).isEqualTo(256L << 20);
          assertThat(view.console()).contains(workspace.state().resolve("own.con"));
          own.assertRunning();
          assertThat(own.wasStopped()).as("stopped by the adoption").isFalse();
          gaps.assertNoGapAboveNoise();
          // A daemon that ends before anything was moved.
          hyperplexor.letGo();
        }
        own.assertRunning();
        takenBackAndMoved(own, guest);
        long boot = guest.bootId();
        long highest = guest.diskSequence();
        assertThat(guest.mismatches()).as("changed memory").isZero();
        assertThat(guest.diskErrors()).isZero();
        try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
          assertThat(takeBack(hyperplexor)).hasSize(1);
          moved(hyperplexor, NEW, guest);
          hyperplexor.stop("mine", Duration.ZERO);
          hyperplexor.delete("mine");
        }
        DiskRecords records = DiskRecords.read(disk, boot);
        assertThat(records.damaged()).isEmpty();
        assertThat(records.highest()).isGreaterThanOrEqualTo(highest);
      }
    }
    assertThat(workspace.files("mine")).doesNotExist();
  }

  private void takenBackAndMoved(OwnQemu own, TestGuest guest) {
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertThat(takeBack(hyperplexor)).singleElement().asString().contains("reattached");
      assertThat(hyperplexor.show("mine").origin()).isEqualTo(GuestView.Origin.ADOPTED);
      assertThat(own.wasStopped()).as("stopped by reattaching").isFalse();
      long boot = guest.bootId();
      moved(hyperplexor, NEW, guest);
      assertThat(own.isAlive()).as("the first process after a replacement").isFalse();
      moved(hyperplexor, OLD, guest);
      assertThat(guest.bootId()).isEqualTo(boot);
      assertThat(hyperplexor.show("mine").console().orElseThrow()).hasFileName("mine.3.con");
      hyperplexor.letGo();
    }
  }

  @Test
  void memoryInAFileIsTakenOverFromBothReleases() throws Exception {
    for (QemuRelease release : List.of(OLD, NEW)) {
      Path file = workspace.state().resolve("ram-" + release.name());
      try (OwnQemu own =
              tick(release, "memory-backend-file,id=m,size=64M,share=on,mem-path=" + file);
          TestGuest guest = TestGuest.beatingIn(own.memory("ram-"), PATIENCE);
          Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        GuestView view = adopt(hyperplexor, own);
        assertThat(view.detail()).contains(file.toString());
        moved(hyperplexor, release.equals(OLD) ? NEW : OLD, guest);
        moved(hyperplexor, release, guest);
        hyperplexor.delete("mine");
      }
    }
  }

  @Test
  void whatCannotMoveIsRefusedWithEveryReasonAndRunsOn() throws Exception {
    try (OwnQemu own =
            OwnQemu.start(
                OLD,
                workspace.state(),
                List.of(),
                "-machine",
                "q35,accel=tcg",
                "-m",
                "64",
                "-cpu",
                "max,migratable=off",
                "-netdev",
                "hubport,id=n0,hubid=0",
                "-device",
                "virtio-net-pci,netdev=n0",
                "-kernel",
                Workshop.images().tick().toString());
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertThatThrownBy(() -> adopt(hyperplexor, own))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
          .hasMessageContaining("private")
          .hasMessageContaining("migratable=off")
          .hasMessageContaining("hub");
      own.assertRunning();
      assertThat(own.wasStopped()).isFalse();
      assertThat(hyperplexor.list()).isEmpty();
      assertThat(workspace.files("mine")).doesNotExist();
    }
  }

  @Test
  void aMemFdUnderANewQemuIsRefused() throws Exception {
    try (OwnQemu own = tick(NEW, memfd(64));
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertRefused(hyperplexor, own, Problem.ADOPT_REFUSED, "QEMU from 8.1 on");
      own.assertRunning();
    }
  }

  @Test
  void whatWasPluggedSinceAndCannotMoveIsNamed() throws Exception {
    try (OwnQemu own = tick(OLD, memfd(64));
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      own.say("device_add", "{\"driver\":\"edu\",\"id\":\"late\",\"bus\":\"rp0\"}");
      assertRefused(hyperplexor, own, Problem.ADOPT_REFUSED, "not one that is known to move");
    }
  }

  @Test
  void aProcessAndASocketThatDoNotFitAreRefused() throws Exception {
    try (OwnQemu own = tick(OLD, memfd(64));
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      int self = (int) ProcessHandle.current().pid();
      assertUnfit(hyperplexor, self, own.qmp(), "belongs to process " + own.pid());
      assertUnfit(hyperplexor, 0x3fffff, own.qmp(), "no process");
      assertUnfit(hyperplexor, own.pid(), workspace.state().resolve("none"), "cannot be opened");
      Path other = workspace.state().resolve("other.sock");
      try (UnixSocket _ = UnixSocket.listen(other, 0600)) {
        assertUnfit(hyperplexor, self, other, "control socket");
      }
      try (UnixSocket _ = UnixSocket.connect(own.qmp())) {
        assertUnfit(hyperplexor, own.pid(), own.qmp(), "another client");
      }
      // With nobody on it the same socket works.
      assertThat(adopt(hyperplexor, own).pid()).isEqualTo(own.pid());
      assertThatThrownBy(() -> adopt(hyperplexor, "again", own.pid(), own.qmp()))
          .hasMessageContaining("runs guest mine");
      own.assertRunning();
      hyperplexor.delete("mine");
    }
  }

  @Test
  void aTapInABridgeGivesWayToOurs() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      network.ip("link", "add", "br0", "type", "bridge");
      network.ip("addr", "add", "10.77.0.1/24", "dev", "br0");
      network.ip("link", "set", "br0", "up");
      network.ip("tuntap", "add", "dev", "old0", "mode", "tap", "vnet_hdr");
      network.ip("link", "set", "old0", "mtu", "9000", "master", "br0", "up");
      Path disk = disk();
      assertThat(disk).exists();
      List<String> card =
          List.of(
              "-netdev",
              "tap,id=n0,ifname=old0,script=no,downscript=no",
              "-device",
              "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:02");
      try (OwnQemu own = linux(OLD, memfd(256), network.prefix(), card)) {
        Workshop.awaitReady(workspace.state(), "own-console.log");
        try (TestGuest guest = TestGuest.beatingIn(own.memory("memory-backend-memfd"), PATIENCE);
            Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state());
            EchoStream stream = network.within(AdoptTest::stream)) {
          GuestView view = network.within(() -> adopt(hyperplexor, own));
          assertThat(view.detail()).contains("old0", "mine-0", "br0");
          moved(hyperplexor, NEW, guest);
          assertThat(network.interfaces()).contains("mine-0");
          assertThat(network.ip("link", "show", "mine-0")).contains("mtu 9000");
          moved(hyperplexor, OLD, guest);
          Workshop.pause(Duration.ofSeconds(1));
          System.out.printf(
              Locale.ROOT, "  longest wait of the stream %.0f ms%n", stream.takeLongestStallMs());
          stream.finish(PATIENCE);
          assertThat(stream.fault()).isEmpty();
          assertThat(stream.bytesLost()).isZero();
          assertThat(stream.bytesSent()).isPositive();
          assertThat(guest.echoConnections()).isEqualTo(1);
          hyperplexor.delete("mine");
        }
      }
      assertThat(network.interfaces()).doesNotContain("mine-0");
    }
  }

  private static EchoStream stream() {
    try {
      return EchoStream.open(new InetSocketAddress("10.77.0.2", 7));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void theCommandAdoptsAndADaemonThatWasKilledTakesBack() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    List<Process> daemons = new ArrayList<>();
    try (OwnQemu own = tick(OLD, memfd(64));
        TestGuest guest = TestGuest.beatingIn(own.memory("memory-backend-memfd"), PATIENCE)) {
      daemons.add(daemon());
      run("guest", "adopt", "mine", "--pid", self(), "--qmp", own.qmp().toString())
          .fails(Problem.ADOPT_UNFIT, "belongs to process " + own.pid());
      JsonNode adopted =
          run(
                  "guest",
                  "adopt",
                  "mine",
                  "--pid",
                  Integer.toString(own.pid()),
                  "--qmp",
                  own.qmp().toString(),
                  "--json")
              .succeeds()
              .json();
      assertThat(adopted.path("origin").asString()).isEqualTo("adopted");
      assertThat(adopted.path("release").asString()).isEqualTo(OLD.name());
      daemons.getLast().destroyForcibly().waitFor();
      daemons.add(daemon());
      JsonNode shown = run("guest", "show", "mine", "--json").succeeds().json();
      assertThat(shown.path("origin").asString()).isEqualTo("adopted");
      assertThat(shown.path("pid").asInt()).isEqualTo(own.pid());
      JsonNode record = run("replace", "mine", "--to", "qemu-10.0", "--json").succeeds().json();
      assertThat(record.path("outcome").asString()).isEqualTo("committed");
      assertThat(record.path("ram_bytes_copied").asLong()).isZero();
      daemons.getLast().destroyForcibly().waitFor();
      daemons.add(daemon());
      guest.awaitBeat(PATIENCE);
      run("replace", "mine", "--to", "qemu-7.2").succeeds();
      guest.awaitBeat(PATIENCE);
      run("guest", "delete", "mine", "--force").succeeds();
    } finally {
      run("guest", "delete", "mine", "--force");
      for (Process daemon : daemons) {
        daemon.destroyForcibly().waitFor();
      }
    }
  }

  private static String self() {
    return Long.toString(ProcessHandle.current().pid());
  }

  private Process daemon() throws Exception {
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start();
    Workshop.await(
        "a daemon that answers",
        DAEMON_START,
        () -> {
          try {
            return run("guest", "list").code() == 0;
          } catch (Exception e) {
            throw new AssertionError(e);
          }
        });
    return daemon;
  }

  private CommandRun run(String... arguments) throws Exception {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }

  /// Watches for the longest time between two beats.
  private static final class GapSampler {
    private final TestGuest guest;
    private final Thread thread;
    private volatile boolean done;
    private volatile long quietNanos;
    private volatile long longestNanos;

    GapSampler(TestGuest guest) {
      this.guest = guest;
      this.thread = Thread.ofPlatform().name("gaps").start(this::sample);
    }

    private void sample() {
      long last = System.nanoTime();
      long counter = guest.counter();
      while (!done) {
        Workshop.pause(Duration.ofNanos(200_000));
        long now = System.nanoTime();
        long next = guest.counter();
        if (next != counter) {
          counter = next;
          longestNanos = Math.max(longestNanos, now - last);
          last = now;
        }
      }
      longestNanos = Math.max(longestNanos, System.nanoTime() - last);
    }

    /// What passes now is noise.
    void quiet(Duration time) {
      Workshop.pause(time);
      quietNanos = longestNanos;
      longestNanos = 0;
    }

    void stop() throws InterruptedException {
      done = true;
      thread.join();
    }

    void assertNoGapAboveNoise() {
      System.out.printf(
          Locale.ROOT,
          "  longest gap during the adoption %.2f ms, before %.2f ms%n",
          longestNanos / 1e6,
          quietNanos / 1e6);
      // A QEMU that was stopped and continued over its socket stands for as long as two commands
      // take; what is above is told by the STOP that is looked for beside this.
      double most = Math.max(4.0 * quietNanos, 200e6 * Workshop.crowd());
      assertThat((double) longestNanos).isLessThan(most);
    }
  }

  private static String memfd(int mebibytes) {
    return "memory-backend-memfd,id=m,size=" + mebibytes + "M,share=on";
  }

  private OwnQemu tick(QemuRelease release, String memory) throws IOException {
    return OwnQemu.start(
        release,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "64",
        "-object",
        memory,
        "-device",
        "pcie-root-port,id=rp0,chassis=1,slot=1",
        "-kernel",
        Workshop.images().tick().toString());
  }

  private Path disk() throws IOException {
    Path disk = workspace.state().resolve("own.img");
    try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
      file.setLength((long) DiskRecords.SLOTS * 4096);
    }
    return disk;
  }

  private OwnQemu linux(QemuRelease release, String memory, List<String> prefix, List<String> more)
      throws IOException {
    GuestImages images = Workshop.images();
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "-name",
                "somebody's own",
                "-machine",
                "q35,memory-backend=m",
                "-accel",
                "tcg",
                "-cpu",
                "qemu64",
                "-m",
                "256",
                "-smp",
                "1",
                "-object",
                memory,
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
                "virtio-blk-pci,drive=d0,id=blk0"));
    arguments.addAll(more);
    return OwnQemu.start(release, workspace.state(), prefix, arguments.toArray(String[]::new));
  }

  private static GuestView adopt(Hyperplexor hyperplexor, OwnQemu own) {
    return adopt(hyperplexor, "mine", own.pid(), own.qmp());
  }

  private static GuestView adopt(Hyperplexor hyperplexor, String name, int pid, Path control) {
    return hyperplexor.adopt(
        name, pid, control, Optional.empty(), Workshop.RELEASES::ofProcess, Progress.NONE);
  }

  private static void moved(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest) {
    long before = guest.counter();
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).hasValue(0);
    assertThat(guest.counter()).isGreaterThanOrEqualTo(before);
    guest.awaitBeat(PATIENCE);
    System.out.printf(
        Locale.ROOT,
        "  to %s: blackout %.2f ms, %d bytes of state%n",
        to.name(),
        record.blackoutMs().orElse(-1),
        record.stateBytes());
  }

  private static void assertRefused(
      Hyperplexor hyperplexor, OwnQemu own, Problem problem, String reason) {
    assertThatThrownBy(() -> adopt(hyperplexor, own))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem))
        .hasMessageContaining(reason);
    assertThat(hyperplexor.list()).isEmpty();
  }

  private void assertUnfit(Hyperplexor hyperplexor, int pid, Path control, String reason) {
    assertThatThrownBy(() -> adopt(hyperplexor, "mine", pid, control))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_UNFIT))
        .hasMessageContaining(reason);
    assertThat(workspace.files("mine")).doesNotExist();
  }
}
