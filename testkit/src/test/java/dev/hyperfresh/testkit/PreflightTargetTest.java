package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Workshop.join;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.CpuPriority;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// A rehearsal finds a target that does not fit, does not start, hangs or dies while the guest
/// runs, and leaves nothing behind.
@Tag("slow")
class PreflightTargetTest extends PreflightScene {
  /// Keeps the arguments, so that the process can be found.
  private static final String HANGS = "exec -a \"$0 $*\" sleep 1000";

  @Test
  void aTargetWithAnotherMachineIsFoundAndTheGuestNeverPaused() throws IOException {
    QemuRelease other =
        releases.script("qemu-93.0.0", newer, "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    refused(
        other,
        "qemu-93.0.0 rejects the state of the guest's machine on "
            + Workshop.release("qemu-7.2").name()
            + ": ");
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
    Duration took = Duration.ofNanos(System.nanoTime() - begin);
    assertThat(took).isLessThan(Duration.ofSeconds((long) (20 + 5 * Workshop.crowd())));
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
        Duration.ofSeconds(30),
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
        Duration.ofSeconds(60),
        () -> workspace.processes(GUEST + "-rehearsal").size() == 2);

    long begin = System.nanoTime();
    hyperplexor.stop(GUEST, Duration.ZERO);
    Duration stopped = Duration.ofNanos(System.nanoTime() - begin);
    join(client);
    Duration ended = Duration.ofNanos(System.nanoTime() - begin);

    Workshop.say("stop " + stopped.toMillis() + " ms, dry run over " + ended.toMillis() + " ms");
    // Else the dry run goes on for 20 s.
    Duration most = Duration.ofMillis((long) Math.min(15_000, 5000 * Workshop.crowd()));
    assertThat(stopped).isLessThan(most);
    assertThat(ended).isLessThan(most);
    assertThat(Await.emptyWithin(SOON, () -> workspace.processes(GUEST + "-rehearsal"))).isEmpty();
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
          Duration.ofSeconds(60),
          () -> workspace.processes(GUEST + "-rehearsal").size() == 2);
    } finally {
      daemon.destroyForcibly().waitFor();
      dryRun.destroyForcibly().waitFor();
    }
    Workshop.await(
        "the end of twin and target",
        SOON,
        () -> workspace.processes(GUEST + "-rehearsal").isEmpty());
    guest.awaitBeat(SOON);
    hyperplexor = Workshop.hyperplexor(workspace.state());
    List<String> taken = new ArrayList<>();
    hyperplexor.takeBack(
        Workshop.RELEASES::get, Map.of(), Duration.ofSeconds(30), taken::add, _ -> {});
    assertThat(taken).hasSize(1);
    assertThat(hyperplexor.show(GUEST).state()).isEqualTo(GuestView.State.RUNNING);
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
        .start(() ->
            Await.firstWithin(Duration.ofSeconds(60), () -> rehearsing.get().stream().findFirst())
                .ifPresent(work));
  }

  private static void signal(ProcessHandle process, int signal) {
    try (PidFd pidFd = PidFd.open((int) process.pid())) {
      pidFd.signal(signal);
    }
  }
}
