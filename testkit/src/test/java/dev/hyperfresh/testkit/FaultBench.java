package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.testkit.FaultInjector.Drill;
import java.io.Closeable;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/// One Linux guest with a network port and two disks, on a daemon whose hypervisors are in a
/// [FaultInjector]'s hands, and the questions that are asked after every fault.
final class FaultBench implements AutoCloseable {
  static final String GUEST = "victim";
  static final List<String> RELEASES = List.of("qemu-7.2", "qemu-10.0");

  /// How long a QEMU may take for an answer: hundreds of times what one takes on a busy host.
  static final Duration ANSWER = Duration.ofSeconds(2);

  static final Duration MAX_BLACKOUT = Duration.ofSeconds(1);

  private static final Duration GOES_ON = Duration.ofMinutes(2);
  private static final Duration REPLACEMENT = Duration.ofMinutes(2);

  private static final Duration SETTLES = Duration.ofSeconds(30);
  private static final String TAP = "hf-fault0";
  private static final int STATE_MIB = 48;

  private final Workspace workspace;
  private final Path disks;
  private final TestNetwork network;
  private final FaultInjector injector;
  private Daemon daemon;
  private Optional<Life> life = Optional.empty();

  /// One boot of the guest, and those who watch it.
  private record Life(TestGuest guest, EchoStream stream, MonotoneWatch watch)
      implements AutoCloseable {
    @Override
    public void close() {
      watch.close();
      stream.close();
      guest.close();
    }
  }

  /// What an attempt could leave behind.
  record Leftovers(
      List<String> interfaces, List<String> descriptors, List<String> threads, List<String> files) {
    /// What is here now and was not in `before`.
    List<String> since(Leftovers before) {
      List<String> more = new ArrayList<>();
      more.addAll(beyond(interfaces, before.interfaces));
      more.addAll(beyond(descriptors, before.descriptors));
      more.addAll(beyond(threads, before.threads));
      more.addAll(beyond(files, before.files));
      return more;
    }

    private static List<String> beyond(List<String> now, List<String> before) {
      List<String> more = new ArrayList<>(now);
      before.forEach(more::remove);
      return more;
    }
  }

  /// Mounts the state directory, starts a daemon there and boots the guest.
  FaultBench(Workspace workspace) throws IOException {
    this.workspace = workspace;
    this.disks = Files.createTempDirectory(Path.of("/tmp"), "hf-disks-");
    this.network = TestNetwork.create();
    // A file system of its own, which can be full without harm to anybody else.
    TestNetwork.run(
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "mode=700,size=" + STATE_MIB + "m",
        "hf-fault",
        workspace.state().toString());
    this.injector = new FaultInjector(workspace.state());
    RELEASES.forEach(Workshop::release);
    this.daemon = startDaemon();
  }

  private Daemon startDaemon() {
    return network.within(() -> Daemon.start(config(workspace.state()), injector.kinds(ANSWER)));
  }

  static DaemonConfig config(Path state) {
    return new DaemonConfig(
            state, Workshop.CACHE.resolve("releases"), Workshop.CACHE.resolve("apt"))
        .watching(Workshop.BRIEFLY);
  }

  /// Boots the guest unless it lives.
  void boot() throws IOException {
    if (life.isPresent() && !lives()) {
      // An earlier test has failed, and has said so.
      endHypervisors(0);
      forget();
    }
    if (life.isPresent()) {
      return;
    }
    try (RandomAccessFile file = new RandomAccessFile(records().toFile(), "rw")) {
      file.setLength(0);
      file.setLength(16 << 20);
    }
    Files.deleteIfExists(fileSystem());
    FileRecords.format(fileSystem(), 32);
    network.within(() ->
        daemon
            .hyperplexor()
            .create(spec(), daemon.releases().get(RELEASES.getFirst()), Progress.NONE));
    network.ip("addr", "add", "10.77.0.1/24", "dev", TAP);
    Workshop.awaitReady(workspace.files(GUEST));
    TestGuest guest = TestGuest.beatingIn(view().pid(), GOES_ON);
    EchoStream stream = network.within(FaultBench::connect);
    life = Optional.of(new Life(guest, stream, MonotoneWatch.of(guest)));
    // The first use of a part opens files that stay open.
    replace(Progress.NONE);
    replace(Progress.NONE);
  }

  private boolean lives() {
    return daemon.hyperplexor().list().stream()
        .anyMatch(view -> view.state() != GuestView.State.STOPPED);
  }

  private static EchoStream connect() {
    long deadline = System.nanoTime() + GOES_ON.toNanos();
    while (true) {
      try {
        return EchoStream.open(new InetSocketAddress("10.77.0.2", 7));
      } catch (IOException e) {
        if (System.nanoTime() > deadline) {
          throw new UncheckedIOException(e);
        }
      }
    }
  }

  private GuestSpec spec() {
    GuestSpec plain =
        Workshop.linux(
            GUEST,
            128,
            List.of(
                new Disk(records(), Disk.Format.RAW, false),
                new Disk(fileSystem(), Disk.Format.RAW, false)),
            List.of(new Nic(TAP, Optional.empty(), "52:54:00:77:00:03")));
    GuestSpec.KernelBoot boot = plain.boot().orElseThrow();
    return new GuestSpec(
        plain.name(),
        plain.vcpus(),
        plain.memoryBytes(),
        plain.machine(),
        plain.cpu(),
        AcceleratorWish.AUTO,
        Optional.of(
            new GuestSpec.KernelBoot(
                boot.kernel(), boot.initrd(), boot.commandLine() + " hf.period=5000")),
        plain.disks(),
        plain.nics());
  }

  private Path records() {
    return disks.resolve("records.raw");
  }

  private Path fileSystem() {
    return disks.resolve("files.ext4");
  }

  GuestView view() {
    return daemon.hyperplexor().show(GUEST);
  }

  /// Replaces to the other release.
  ReplacementRecord replace(Progress progress) {
    return daemon.guests().replace(GUEST, other(view().release()), MAX_BLACKOUT, progress);
  }

  static String other(String release) {
    return release.startsWith(RELEASES.getFirst()) ? RELEASES.getLast() : RELEASES.getFirst();
  }

  Leftovers leftovers() {
    return new Leftovers(network.interfaces(), OpenDescriptors.now().targets(), threads(), files());
  }

  private static List<String> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> name.startsWith("hf-") || name.startsWith("fault-"))
        // The generation is in some names, and only the number of those counts.
        .map(name -> name.replaceFirst("(hf-qmp-.*)-[0-9]+$", "$1"))
        .toList();
  }

  /// What lies in the guest's folder and beside the sockets, but for logs.
  private List<String> files() {
    List<String> files = new ArrayList<>();
    Workspace.names(workspace.files(GUEST)).stream()
        .filter(name -> !name.endsWith(".log"))
        .forEach(files::add);
    workspace.sockets().stream()
        .filter(name -> name.startsWith(GUEST))
        .map(name -> name.replaceFirst("\\.[0-9]+\\.", ".N."))
        .forEach(files::add);
    return files;
  }

  /// One replacement with `plan`. On a busy host a replacement can fail by itself before it comes
  /// to the plan's point; it is then tried once more.
  ReplacementRecord replaceUnder(FaultPlan plan) {
    Drill drill = injector.drill(plan, view(), this::replace);
    if (!drill.wentOff()) {
      ReplacementRecord early = drill.record();
      System.out.printf(
          "  %s: not reached: %s %s%n", plan, early.outcome().label(), early.detail());
      drill = injector.drill(plan, view(), this::replace);
    }
    assertThat(drill.wentOff()).as("the point of '%s' is reached", plan).isTrue();
    return drill.record();
  }

  /// Fails unless the guest runs, on one hypervisor, and has lost nothing.
  void requireGuestGoesOn() {
    Life now = life.orElseThrow();
    TestGuest guest = now.guest();
    Map<String, Long> before = progress(now);
    Await.holdsWithin(GOES_ON, () -> standing(now, before).isEmpty());
    assertThat(standing(now, before))
        .as("what stands still, the stream's fault being '%s'", now.stream().fault())
        .isEmpty();
    assertThat(now.watch().wentBack()).as("the heartbeat went back").isEmpty();
    assertThat(now.stream().fault()).as("fault of the stream").isEmpty();
    assertThat(guest.echoConnections()).as("connections").isEqualTo(1);
    assertThat(guest.mismatches()).as("mismatches in memory").isZero();
    assertThat(guest.diskErrors() + guest.fileErrors()).as("errors of disks").isZero();
    assertThat(guest.fileMismatches()).as("files that were read back wrong").isZero();
    requireOneRunner();
  }

  private static List<String> standing(Life life, Map<String, Long> before) {
    return progress(life).entrySet().stream()
        .filter(now -> now.getValue() <= before.getOrDefault(now.getKey(), 0L))
        .map(Map.Entry::getKey)
        .sorted()
        .toList();
  }

  private static Map<String, Long> progress(Life life) {
    return Map.of(
        "beats", life.guest().counter(),
        "records", life.guest().diskSequence(),
        "files", life.guest().fileSequence(),
        "echo", life.stream().bytesBack());
  }

  private void requireOneRunner() {
    GuestView view = view();
    assertThat(view.state()).as(view.detail()).isEqualTo(GuestView.State.RUNNING);
    // One that was told to end is there for a moment.
    Await.holdsWithin(SETTLES, () -> pids().equals(List.of((long) view.pid())));
    assertThat(pids()).as("hypervisors that live").containsExactly((long) view.pid());
    List<Integer> saying =
        injector.instances().stream()
            .filter(instance -> instance.runState().isLive())
            .map(Instance::pid)
            .toList();
    assertThat(saying).as("hypervisors that say they run the guest").containsExactly(view.pid());
    assertThat(VirtualProcessors.extraordinaryThreads(view.pid()))
        .as("threads that kept the priority of a switch or of a start")
        .isEmpty();
    long before = VirtualProcessors.busyNanos(view.pid());
    Await.until(
        "work of a virtual processor",
        GOES_ON,
        () -> VirtualProcessors.busyNanos(view.pid()) > before);
  }

  /// Fails unless nobody runs the guest, everybody says so, and what it was told is on disk is on
  /// disk. Then removes it, so that [#boot] can use its name again.
  void requireGuestIsLostHonestly() throws IOException {
    Life was = life.orElseThrow();
    Await.until("the guest's end", GOES_ON, () -> view().state() == GuestView.State.STOPPED);
    assertThat(Await.emptyWithin(SETTLES, this::pids)).as("hypervisors that live").isEmpty();
    assertThat(was.watch().wentBack()).as("the heartbeat went back").isEmpty();
    checkRecords(was.guest());
    Path copy = disks.resolve("replayed.ext4");
    Files.copy(fileSystem(), copy, StandardCopyOption.REPLACE_EXISTING);
    FileRecords.replayJournal(copy);
    checkFiles(copy, was.guest());
    Files.delete(copy);
    forget();
  }

  private void checkRecords(TestGuest guest) throws IOException {
    DiskRecords records = DiskRecords.read(records(), guest.bootId());
    assertThat(records.damaged()).as("the first damaged record").isEmpty();
    assertThat(records.highest()).isBetween(guest.diskSequence(), guest.diskSequence() + 1);
    assertThat(records.whole()).isEqualTo(Math.min(records.highest(), DiskRecords.SLOTS));
  }

  private static void checkFiles(Path image, TestGuest guest) throws IOException {
    FileRecords.check(image);
    FileRecords files = FileRecords.read(image, guest.bootId());
    System.out.println("  files: " + files + ", acknowledged " + guest.fileSequence());
    assertThat(files.damaged()).as("the first damaged record in a file").isEmpty();
    assertThat(files.highest()).isBetween(guest.fileSequence(), guest.fileSequence() + 1);
    assertThat(files.whole()).isGreaterThanOrEqualTo(FileRecords.kept(guest.fileSequence()));
  }

  private void forget() {
    life.ifPresent(Life::close);
    life = Optional.empty();
    if (!daemon.hyperplexor().list().isEmpty()) {
      daemon.hyperplexor().delete(GUEST);
    }
    assertThat(network.interfaces()).as("interfaces without the guest").doesNotContain(TAP);
    assertThat(workspace.sockets())
        .as("sockets without the guest")
        .noneMatch(name -> name.startsWith(GUEST));
  }

  /// Powers the guest off, and checks its disks and every byte of its stream.
  void finish() throws IOException {
    if (life.isEmpty()) {
      return;
    }
    Life now = life.get();
    now.stream().finish(GOES_ON);
    assertThat(now.stream().fault()).as("fault of the stream").isEmpty();
    assertThat(now.stream().bytesLost()).as("bytes of the stream that were lost").isZero();
    System.out.println("  stream: " + now.stream().bytesSent() + " bytes, all came back");
    daemon.hyperplexor().stop(GUEST, GOES_ON);
    assertThat(workspace.hypervisors()).as("hypervisors that live").isEmpty();
    checkRecords(now.guest());
    checkFiles(fileSystem(), now.guest());
    forget();
  }

  /// Fails when there is more than there was before, also after a moment.
  void requireNothingLeft(Leftovers before) {
    assertThat(Await.emptyWithin(SETTLES, () -> leftovers().since(before)))
        .as("what is left behind")
        .isEmpty();
  }

  /// The same after a new daemon was started, whose own descriptors and threads are others.
  void requireNothingLeftOfADaemon(Leftovers before) {
    List<String> expected =
        List.of(
            "disks.json",
            "guest.properties",
            "initrd",
            "kernel",
            GUEST + ".N.con",
            GUEST + ".N.qmp");
    Await.holdsWithin(
        SETTLES,
        () -> network.interfaces().equals(before.interfaces()) && files().equals(expected));
    assertThat(network.interfaces()).as("interfaces").isEqualTo(before.interfaces());
    assertThat(files()).as("files").isEqualTo(expected);
  }

  private List<Long> pids() {
    return workspace.hypervisors().stream().map(ProcessHandle::pid).toList();
  }

  private void endHypervisors(int except) {
    for (ProcessHandle process : workspace.hypervisors()) {
      if (process.pid() != except) {
        process.destroyForcibly();
        Await.until("the end of " + process.pid(), GOES_ON, () -> !process.isAlive());
      }
    }
  }

  /// Lets a daemon in a process of its own take the guest, with `plan` for its next replacement,
  /// and takes the guest back when that daemon has ended.
  ///
  /// @return what it printed
  String handToAnotherDaemon(FaultPlan plan) throws IOException {
    daemon.letGo();
    Path said = workspace.state().resolve("faulty-daemon.log");
    try {
      Process other =
          new ProcessBuilder(FaultyDaemon.command(network.path(), workspace.state(), plan))
              .redirectErrorStream(true)
              .redirectOutput(said.toFile())
              .start();
      if (!other.waitFor(REPLACEMENT.toSeconds(), TimeUnit.SECONDS)) {
        other.destroyForcibly().waitFor();
      }
      return Files.readString(said) + "exit code " + other.exitValue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted", e);
    } finally {
      daemon = startDaemon();
    }
  }

  @Override
  public void close() {
    try (Closeable _ = () -> Workspace.delete(disks);
        Closeable _ = () -> TestNetwork.run("umount", workspace.state().toString());
        Closeable _ = network::close;
        Closeable _ = daemon::close) {
      life.ifPresent(Life::close);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
