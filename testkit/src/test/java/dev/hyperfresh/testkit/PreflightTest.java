package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.CpuPriority;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What is looked at before a replacement, on real QEMUs: a pair of releases that fits passes, one
/// that does not is found while the guest runs, and nothing of a rehearsal is left behind.
@Tag("slow")
@Timeout(300)
class PreflightTest {
  private static final String GUEST = "looked-at";

  /// Keeps the arguments, so that the process can be found.
  private static final String HANGS = "exec -a \"$0 $*\" sleep 1000";

  private static final Duration BUDGET = Duration.ofSeconds(5);
  private static final Duration SOON = Duration.ofSeconds(2);
  private static final int REHEARSALS = 4;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final QemuRelease older = Workshop.release("qemu-7.2");
  private final QemuRelease newer = Workshop.release("qemu-10.0");
  private final List<String> steps = new ArrayList<>();
  private TestReleases releases;
  private Hyperplexor hyperplexor;
  private TestGuest guest;
  private Footprint before;

  /// What a rehearsal could leave behind.
  private record Footprint(
      List<Long> processes, List<String> files, List<String> taps, List<String> descriptors) {
    static Footprint of(Workspace workspace) {
      return new Footprint(
          workspace.processes("").stream().map(ProcessHandle::pid).toList(),
          below(workspace.state()),
          names(Path.of("/sys/class/net")).stream()
              .filter(name -> name.startsWith("hfwait"))
              .toList(),
          open());
    }

    private static List<String> below(Path folder) {
      try (Stream<Path> files = Files.walk(folder)) {
        return files.map(Path::toString).sorted().toList();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static List<String> names(Path folder) {
      try (Stream<Path> files = Files.list(folder)) {
        return files.map(file -> file.getFileName().toString()).sorted().toList();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static List<String> open() {
      return names(Path.of("/proc/self/fd")).stream()
          .map(number -> target(Path.of("/proc/self/fd", number)))
          .map(open -> open.replaceFirst("^(socket|pipe):.*", "$1"))
          .sorted()
          .toList();
    }

    private static String target(Path link) {
      try {
        return Files.readSymbolicLink(link).toString();
      } catch (IOException e) {
        return "gone";
      }
    }
  }

  @BeforeEach
  void start() throws IOException {
    releases = new TestReleases(workspace.state().resolve("releases"));
    hyperplexor = Workshop.hyperplexor(workspace.state());
    create(Workshop.ring3(GUEST, 64, AcceleratorWish.TCG));
  }

  private void create(GuestSpec spec) {
    GuestView view = hyperplexor.create(spec, older, Progress.NONE);
    guest = TestGuest.beatingIn(view.pid(), Workshop.BOOT);
    // The first use of a part opens files that stay open.
    plan(newer);
    steps.clear();
    before = Footprint.of(workspace);
  }

  /// Starts over with a guest that has a disk; gives its image.
  private Path withDisk() {
    end();
    hyperplexor = Workshop.hyperplexor(workspace.state());
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    create(with(List.of(new Disk(image, Disk.Format.RAW, false)), List.of()));
    return image;
  }

  private static GuestSpec with(List<Disk> disks, List<Nic> nics) {
    GuestSpec plain = Workshop.ring3(GUEST, 64, AcceleratorWish.TCG);
    return new GuestSpec(
        plain.name(),
        plain.vcpus(),
        plain.memoryBytes(),
        plain.machine(),
        plain.cpu(),
        plain.accelerator(),
        plain.boot(),
        disks,
        nics);
  }

  @AfterEach
  void end() {
    guest.close();
    hyperplexor.close();
  }

  @Test
  void aPairThatFitsPassesInBothDirectionsAndLeavesNothing() {
    List<Check> there = plan(newer);
    assertPass(there);
    assertThat(named(there, "rehearsal").finding())
        .matches("qemu-10.* took the state of a twin on qemu-7.*, in [0-9]+ ms, just now\\.");
    assertThat(steps).hasSize(1).first().asString().startsWith("Preflight rehearsing");
    untouched();

    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, Progress.NONE).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertPass(plan(older));
  }

  @Test
  void whatPassedIsRememberedAndADryRunRehearsesAnew() {
    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, this::step).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(rehearsals()).as("after the dry run of the set-up").isZero();
    hyperplexor.replace(GUEST, older, BUDGET, this::step);
    assertThat(rehearsals()).as("the first time in this direction").isEqualTo(1);
    hyperplexor.replace(GUEST, newer, BUDGET, this::step);
    hyperplexor.replace(GUEST, older, BUDGET, this::step);
    assertThat(rehearsals()).as("both directions remembered").isEqualTo(1);
    plan(newer);
    assertThat(rehearsals()).as("a dry run").isEqualTo(2);
    assertThat(hyperplexor.show(GUEST).generation()).isEqualTo(5);
  }

  @Test
  void anotherBinaryUnderTheSameNameIsRehearsedAnew() throws IOException {
    QemuRelease fine = releases.script("qemu-90.0.0", newer, "exec REAL \"$@\"");
    assertPass(plan(fine));
    QemuRelease worse =
        releases.script("qemu-90.0.0", newer, "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    refused(worse, "rejects");
  }

  @Test
  void aTargetWithAnotherMachineIsFoundAndTheGuestNeverPaused() throws IOException {
    QemuRelease other =
        releases.script("qemu-93.0.0", newer, "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    refused(other, "qemu-93.0.0 rejects the state of the guest's machine on qemu-7.2.22: ");
    // It is the target's own word for it.
    assertThat(named(plan(other), "rehearsal").finding()).contains("pc-q35-7.1");
    untouched();
    neverPaused();
  }

  @Test
  void aTargetWithAnotherDeviceIsFound() throws IOException {
    withDisk();
    QemuRelease other =
        releases.script(
            "qemu-94.0.0",
            newer,
            "exec REAL \"${@/virtio-blk-pci,/virtio-scsi-pci,id=x -device virtio-blk-pci,}\"");
    refused(other, "qemu-94.0.0");
    QemuRelease narrower =
        releases.script("qemu-95.0.0", newer, "exec REAL \"${@/id=blk0,/id=blk0,num-queues=7,}\"");
    refused(narrower, "rejects");
    untouched();
    neverPaused();
  }

  @Test
  void aTargetThatDoesNotStartIsFound() throws IOException {
    QemuRelease broken = releases.script("qemu-91.0.0", newer, "echo no such luck >&2; exit 1");
    refused(broken, "no such luck");
    untouched();
  }

  @Test
  void aTargetThatHangsIsFoundInTime() throws IOException {
    QemuRelease deaf = releases.script("qemu-96.0.0", newer, HANGS);
    List<String> seen = Collections.synchronizedList(new ArrayList<>());
    Thread watcher =
        onRehearsal(
            "",
            twin -> {
              awaitExtraordinary(twin, CpuPriority.mayRaise());
              awaitExtraordinary(twin, false);
              seen.add("behind all others, and then not any more");
            });
    long begin = System.nanoTime();
    refused(deaf, "within 20 s");
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(25));
    join(watcher);
    assertThat(seen).as("the twin's priority").hasSize(1);
    untouched();
    neverPaused();
  }

  /// A rehearsal must come to its end on a busy host too.
  private static void awaitExtraordinary(ProcessHandle process, boolean wanted) {
    int pid = (int) process.pid();
    Workshop.await(
        "a twin that is " + (wanted ? "" : "not ") + "in the background",
        Duration.ofSeconds(10),
        () -> VirtualProcessors.extraordinaryThreads(pid).isEmpty() != wanted);
  }

  @Test
  void aDryRunThatHangsEndsAtOnceWhenItsGuestIsStopped() throws Exception {
    QemuRelease deaf = releases.script("qemu-96.0.0", newer, HANGS);
    CompletableFuture<List<Check>> dryRun = new CompletableFuture<>();
    Thread client =
        Thread.ofPlatform()
            .start(() -> {
              try {
                dryRun.complete(plan(deaf));
              } catch (HyperFreshException e) {
                dryRun.completeExceptionally(e);
              }
            });
    Workshop.await(
        "twin and target",
        Duration.ofSeconds(30),
        () -> workspace.processes(GUEST + "-rehearsal").size() == 2);

    long begin = System.nanoTime();
    hyperplexor.stop(GUEST, Duration.ZERO);
    Duration stopped = Duration.ofNanos(System.nanoTime() - begin);
    join(client);
    Duration ended = Duration.ofNanos(System.nanoTime() - begin);

    Workshop.say("stop " + stopped.toMillis() + " ms, dry run over " + ended.toMillis() + " ms");
    assertThat(stopped).isLessThan(Duration.ofSeconds(5));
    assertThat(ended).isLessThan(Duration.ofSeconds(5));
    assertThat(workspace.processes(GUEST + "-rehearsal")).isEmpty();
    assertThatThrownBy(dryRun::join)
        .cause()
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.PLAN_GIVEN_UP));
  }

  @Test
  void aTargetThatHangsWithItsChannelIsFoundInTime() {
    Thread freezer = onRehearsal("defer", process -> signal(process, Signals.STOP));
    List<Check> checks = plan(newer);
    join(freezer);
    assertThat(named(checks, "rehearsal").verdict()).isEqualTo(Verdict.FAIL);
    assertThat(named(checks, "rehearsal").finding()).contains("within 20 s");
    untouched();
  }

  @Test
  void aTargetThatIsKilledFailsAndATwinThatIsKilledSaysNothing() {
    Thread killer = onRehearsal("defer", process -> signal(process, Signals.KILL));
    List<Check> checks = plan(newer);
    join(killer);
    assertThat(named(checks, "rehearsal").verdict()).isEqualTo(Verdict.FAIL);
    untouched();

    killer = onRehearsal("", process -> signal(process, Signals.KILL));
    checks = plan(newer);
    join(killer);
    assertThat(named(checks, "rehearsal").verdict()).isEqualTo(Verdict.UNKNOWN);
    untouched();
    assertPass(plan(newer));
  }

  @Test
  void aDaemonThatIsKilledLeavesNoRehearsalBehind() throws Exception {
    Workshop.require(Files.isExecutable(Path.of("/usr/bin/setpriv")), "there is no setpriv");
    releases.script("qemu-96.0.0", newer, HANGS);
    hyperplexor.letGo();
    String state = workspace.state().toString();
    Path log = workspace.state().resolve("daemon.log");
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", state))
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    Process dryRun = daemon;
    try {
      Workshop.await(
          "the daemon", Duration.ofSeconds(60), () -> Workshop.contains(log, "serving on"));
      dryRun =
          new ProcessBuilder(
                  CommandRun.command(
                      "replace", GUEST, "--to", "qemu-96.0.0", "--dry-run", "--state", state))
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      Workshop.await(
          "twin and target",
          Duration.ofSeconds(30),
          () -> workspace.processes(GUEST + "-rehearsal").size() == 2);
    } finally {
      daemon.destroyForcibly().waitFor();
      dryRun.destroyForcibly().waitFor();
    }
    Workshop.await(
        "the end of twin and target",
        Duration.ofSeconds(2),
        () -> workspace.processes(GUEST + "-rehearsal").isEmpty());
    guest.awaitBeat(SOON);
    hyperplexor = Workshop.hyperplexor(workspace.state());
    List<String> taken = new ArrayList<>();
    hyperplexor.takeBack(
        Workshop.RELEASES::get, Map.of(), Duration.ofSeconds(30), taken::add, _ -> {});
    assertThat(taken).hasSize(1);
    assertThat(hyperplexor.show(GUEST).state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void withoutRehearsalTheRowIsUnknownAndTheReplacementGoesOn() {
    List<Check> checks = hyperplexor.plan(GUEST, newer, false, false, this::step);
    assertThat(named(checks, "rehearsal").verdict()).isEqualTo(Verdict.UNKNOWN);
    assertThat(steps).isEmpty();
    assertThat(hyperplexor.replace(GUEST, newer, BUDGET, false, false, this::step).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(rehearsals()).isZero();
  }

  @Test
  void anImageThatWasReplacedIsFound() throws IOException {
    Path image = withDisk();
    assertPass(plan(newer));
    Path aside = workspace.state().resolve("aside.raw");
    Files.move(image, aside);
    assertFails(plan(newer), "disk disk.raw", "is not there any more");
    Files.copy(aside, image);
    assertFails(plan(newer), "disk disk.raw", "is another file");
    Files.move(aside, image, StandardCopyOption.REPLACE_EXISTING);
    assertPass(plan(newer));
    neverPaused();
  }

  @Test
  void anImageThatAnotherProcessHasLockedIsFound() throws Exception {
    Path image = withDisk();
    // The way QEMU locks: a byte that says "nobody else may write".
    Process other =
        new ProcessBuilder(
                "python3",
                "-c",
                "import fcntl,sys;f=open(sys.argv[1],'r+b');fcntl.lockf(f,fcntl.LOCK_SH,1,201);"
                    + "print('held',flush=True);sys.stdin.read()",
                image.toString())
            .start();
    try {
      assertThat(other.inputReader().readLine()).isEqualTo("held");
      assertFails(plan(newer), "disk disk.raw", "Another process has locked");
    } finally {
      other.destroy();
      other.waitFor();
    }
    assertPass(plan(newer));
  }

  @Test
  void aGuestThatStandsIsFound() throws Exception {
    int pid = hyperplexor.show(GUEST).pid();
    try (PidFd source = PidFd.open(pid)) {
      source.signal(Signals.STOP);
      List<Check> checks = plan(newer);
      source.signal(Signals.CONT);
      assertFails(checks, "running release", "does not answer");
    }
    assertPass(plan(newer));
  }

  @Test
  void aPortThatIsGoneIsFoundAndCardsAreRehearsedOnTapsOfTheirOwn() {
    end();
    try (TestNetwork network = TestNetwork.create()) {
      hyperplexor = Workshop.hyperplexor(workspace.state());
      GuestSpec spec =
          with(List.of(), List.of(new Nic("hflooked0", Optional.empty(), "52:54:00:00:00:31")));
      network.within(() -> {
        create(spec);
        return true;
      });
      List<Check> checks = plan(newer);
      assertPass(checks);
      assertThat(named(checks, "rehearsal").finding()).doesNotContain("connected to nothing");
      assertThat(named(checks, "port hflooked0").verdict()).isEqualTo(Verdict.PASS);
      assertThat(network.interfaces()).containsExactlyInAnyOrder("lo", "hflooked0");
      untouched();
      network.ip("link", "del", "hflooked0");
      assertFails(plan(newer), "port hflooked0", "is no device any more");
    }
  }

  @Test
  void howLongARehearsalTakes() {
    Sample there = new Sample("rehearsal " + older.name() + " → " + newer.name());
    Sample back = new Sample("rehearsal " + newer.name() + " → " + older.name());
    for (int i = 0; i < REHEARSALS; i++) {
      there.add(millis(plan(newer)));
    }
    hyperplexor.replace(GUEST, newer, BUDGET, Progress.NONE);
    for (int i = 0; i < REHEARSALS; i++) {
      back.add(millis(plan(older)));
    }
    Workshop.say(there.toString());
    Workshop.say(back.toString());
    assertThat(there.quantile(1)).isLessThan(20_000);
    assertThat(back.quantile(1)).isLessThan(20_000);
  }

  private static double millis(List<Check> checks) {
    assertPass(checks);
    String finding = named(checks, "rehearsal").finding();
    return Double.parseDouble(finding.replaceFirst(".* in ([0-9]+) ms.*", "$1"));
  }

  private List<Check> plan(QemuRelease to) {
    return hyperplexor.plan(GUEST, to, true, false, this::step);
  }

  private void step(String state, String text) {
    steps.add(state + " " + text);
  }

  private long rehearsals() {
    return steps.stream().filter(step -> step.contains("rehearsing")).count();
  }

  private void refused(QemuRelease to, String finding) {
    assertThatThrownBy(() -> hyperplexor.replace(GUEST, to, BUDGET, Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(Problem.REPLACE_OBSTACLES);
              assertThat(refused.detail()).contains(finding);
            });
  }

  /// Nothing of the attempt is there any more, and the guest beats.
  private void untouched() {
    guest.awaitBeat(SOON);
    Footprint after = Footprint.of(workspace);
    assertThat(after.processes()).as("processes").isEqualTo(before.processes());
    assertThat(after.files())
        .as("files")
        .filteredOn(file -> !file.contains("/releases/"))
        .isEqualTo(before.files().stream().filter(f -> !f.contains("/releases/")).toList());
    assertThat(after.taps()).as("throw-away taps").isEqualTo(before.taps());
    assertThat(after.descriptors()).as("descriptors").isEqualTo(before.descriptors());
    assertThat(hyperplexor.show(GUEST).generation()).isEqualTo(1);
  }

  /// What the source was told and reported lies in its transcript, once it has ended.
  private void neverPaused() {
    hyperplexor.stop(GUEST, Duration.ZERO);
    Path transcript = workspace.files(GUEST).resolve("qmp.log");
    assertThat(transcript).content().contains("query-migrate").doesNotContain("\"STOP\"");
  }

  private static void assertPass(List<Check> checks) {
    assertThat(checks).isNotEmpty().allMatch(check -> check.verdict() == Verdict.PASS);
  }

  private static void assertFails(List<Check> checks, String name, String finding) {
    Check check = named(checks, name);
    assertThat(check.verdict()).as(checks.toString()).isEqualTo(Verdict.FAIL);
    assertThat(check.finding()).contains(finding);
    assertThat(check.remedy()).isNotEmpty();
  }

  private static Check named(List<Check> checks, String name) {
    return checks.stream()
        .filter(check -> check.name().equals(name))
        .findFirst()
        .orElseThrow(() -> new AssertionError("no check " + name + " in " + checks));
  }

  /// Does `work` with the process of the next rehearsal that waits for a stream (`defer`) or is the
  /// twin (empty), as soon as it is QEMU.
  private Thread onRehearsal(String word, Consumer<ProcessHandle> work) {
    Supplier<List<ProcessHandle>> rehearsing =
        () ->
            workspace.processes(GUEST + "-rehearsal").stream()
                .filter(process -> {
                  List<String> line = Workspace.arguments(process.pid());
                  return line.contains("defer") == word.equals("defer")
                      && line.getFirst().contains("qemu");
                })
                .toList();
    return Thread.ofPlatform()
        .name("preflight-meddler")
        .start(() -> {
          Workshop.await("a rehearsal", Duration.ofSeconds(20), () -> !rehearsing.get().isEmpty());
          work.accept(rehearsing.get().getFirst());
        });
  }

  private static void signal(ProcessHandle process, int signal) {
    try (PidFd pidFd = PidFd.open((int) process.pid())) {
      pidFd.signal(signal);
    }
  }

  private static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
