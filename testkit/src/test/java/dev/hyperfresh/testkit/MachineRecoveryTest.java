package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.vm.Agent;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Guests in machines whose daemon leaves or is killed, and the next one on its directory.
@Tag("slow")
class MachineRecoveryTest {
  private static final Duration BOOT = Duration.ofMinutes(4);
  private static final Duration BEAT = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private @Nullable MachineDaemon daemon;

  @AfterEach
  void close() {
    try {
      if (daemon != null) {
        daemon.close();
      }
    } finally {
      // Of a test that failed before the machines were taken back.
      hardware().forEach(ProcessHandle::destroyForcibly);
    }
  }

  /// The hardware of all machines of this test.
  private List<ProcessHandle> hardware() {
    Path machines = workspace.state().resolve("machines");
    return ProcessHandle.allProcesses()
        .filter(process -> {
          try {
            return Files.readSymbolicLink(Path.of("/proc", Long.toString(process.pid()), "fd", "2"))
                .startsWith(machines);
          } catch (IOException e) {
            return false;
          }
        })
        .toList();
  }

  private MachineDaemon start() {
    MachineDaemon started = MachineDaemon.start(workspace.state());
    daemon = started;
    return started;
  }

  private static boolean maps(Machine machine, String guest) {
    try {
      return Files.readString(Path.of("/proc", Integer.toString(machine.pid()), "maps"))
          .contains("/memfd:hf-" + guest + " ");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void assertGone(Machine machine, String guest) {
    Workshop.await(
        "the end of the window of " + guest + " in " + machine.name(),
        BEAT,
        () -> !maps(machine, guest) && open(machine, "/memfd:hf-" + guest + " ") == 0);
  }

  private static long open(Machine machine, String start) {
    Path folder = Path.of("/proc", Integer.toString(machine.pid()), "fd");
    try (var files = Files.list(folder)) {
      return files
          .filter(file -> {
            try {
              return Files.readSymbolicLink(file).toString().startsWith(start);
            } catch (IOException e) {
              return false;
            }
          })
          .count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path image() throws IOException {
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    }
    return image;
  }

  /// Types into the console and waits until the guest's terminal has echoed it.
  private void assertConsoleWorks(GuestView view, String word) {
    try (UnixSocket client = UnixSocket.connect(view.console().orElseThrow())) {
      client.send((word + "\n").getBytes(StandardCharsets.US_ASCII));
      Path log = workspace.files(view.spec().name()).resolve("console.log");
      Workshop.await(word + " in " + log, BEAT, () -> Workshop.contains(log, word));
    }
  }

  @Test
  void theNextDaemonTakesMachineAndGuestBackAndMovesIt() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      MachineDaemon first = start();
      Machine older = first.machine("older", "6.1", "10.0");
      Path image = image();
      GuestView made =
          network.within(() ->
              first.hyperplexor.create(
                  Workshop.linux(
                      "web1",
                      256,
                      List.of(new Disk(image, Disk.Format.RAW, false)),
                      List.of(new Nic("hf-rec0", Optional.empty(), "52:54:00:77:00:02"))),
                  older,
                  Progress.NONE));
      network.ip("link", "set", "lo", "up");
      network.ip("addr", "add", "10.77.0.1/24", "dev", "hf-rec0");
      try (TestGuest guest = TestGuest.beatingInMachine(made.pid(), "web1", BOOT)) {
        Workshop.awaitReady(workspace.files("web1"));
        assertConsoleWorks(made, "before");
        try (EchoStream stream =
            network.within(() -> EchoStream.reach(new InetSocketAddress("10.77.0.2", 7)))) {
          first.letGo();
          guest.awaitBeat(BEAT);
          MachineDaemon next = network.within(this::start);

          GuestView taken = next.hyperplexor.show("web1");
          assertThat(taken.state()).as(taken.detail()).isEqualTo(GuestView.State.RUNNING);
          assertThat(taken.detail()).isEmpty();
          assertThat(taken.release()).isEqualTo("older");
          assertThat(taken.pid()).isEqualTo(made.pid());
          guest.awaitBeat(BEAT);
          assertConsoleWorks(taken, "after");

          Machine newer = next.machine("newer", "6.12", "10.0");
          ReplacementRecord record = next.replace("web1", newer);
          assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
          Workshop.say("blackout " + record.blackoutMs());
          guest.awaitBeat(BEAT);
          assertConsoleWorks(next.hyperplexor.show("web1"), "moved");
          assertGone(next.machines.get("older"), "web1");
          stream.finish(BEAT);
          assertThat(stream.fault()).isEmpty();
          assertThat(stream.bytesLost()).isZero();
          assertThat(guest.diskErrors()).isZero();

          next.letGo();
          MachineDaemon last = network.within(this::start);
          assertThat(last.hyperplexor.show("web1").release()).isEqualTo("newer");
          guest.awaitBeat(BEAT);
          last.hyperplexor.delete("web1");
          assertGone(last.machines.get("newer"), "web1");
          assertThat(workspace.sockets()).noneMatch(name -> name.startsWith("web1"));
        }
      }
    }
  }

  /// Has another process make the machines `m1` and `m2` and the guests, and die while it moves
  /// `web1`.
  private void die(String fate, String... guests) throws Exception {
    Process process = launch(fate, guests);
    try {
      assertThat(process.waitFor(8, TimeUnit.MINUTES)).as("the daemon dies").isTrue();
      // 128 + SIGKILL.
      assertThat(process.exitValue()).as(Files.readString(log())).isEqualTo(137);
      assertThat(Files.readString(log())).contains("moving");
    } finally {
      process.destroyForcibly().waitFor();
    }
    assertThat(hardware()).hasSize(2);
  }

  private Path log() {
    return workspace.state().resolve("daemon.log");
  }

  private Process launch(String fate, String... guests) throws IOException {
    MachineDaemon.release("6.1", "10.0");
    MachineDaemon.release("6.12", "10.0");
    Workshop.images();
    List<String> line = CommandRun.command();
    line.set(line.size() - 1, MachineDaemon.class.getName());
    line.add(workspace.state().toString());
    line.addAll(List.of(fate.split(" ")));
    line.addAll(List.of(guests));
    return new ProcessBuilder(new ArrayList<>(line))
        .redirectErrorStream(true)
        .redirectOutput(log().toFile())
        .start();
  }

  private static Machine machine(MachineDaemon of, String name) {
    return of.machines.get(name);
  }

  /// The target is in a machine by itself, the source in one with another guest.
  @ParameterizedTest
  @ValueSource(strings = "before 1.handOver")
  void whatWasNotOrderedIsUndoneAndNobodyElseNotices(String fate) throws Exception {
    die(fate, "web1", "web2");
    int hardware = (int) hardware().getFirst().pid();
    int m1 = open(hardware, "web2") ? hardware : (int) hardware().getLast().pid();
    try (TestGuest web2 = TestGuest.beatingInMachine(m1, "web2", BEAT);
        TestGuest web1 = TestGuest.beatingInMachine(m1, "web1", BEAT)) {
      long beats = web2.counter();
      MachineDaemon next = start();

      Machine source = machine(next, "m1");
      Machine target = machine(next, "m2");
      assertThat(source.pid()).isEqualTo(m1);
      GuestView taken = next.hyperplexor.show("web1");
      assertThat(taken.state()).as(taken.detail()).isEqualTo(GuestView.State.RUNNING);
      assertThat(taken.release()).isEqualTo("m1");
      assertThat(next.hyperplexor.show("web2").release()).isEqualTo("m1");
      assertThat(next.ended)
          .singleElement()
          .satisfies(record -> assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK));
      assertGone(target, "web1");
      web1.awaitBeat(BEAT);
      web2.awaitBeat(BEAT);
      // It begins anew with each boot.
      assertThat(web2.counter()).isGreaterThan(beats);

      ReplacementRecord record = next.replace("web1", target);
      assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
      assertGone(source, "web1");
      web1.awaitBeat(BEAT);
      web2.awaitBeat(BEAT);
    }
  }

  private static boolean open(int pid, String guest) {
    try {
      return Files.readString(Path.of("/proc", Integer.toString(pid), "maps"))
          .contains("/memfd:hf-" + guest + " ");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The daemon heard that the target runs the guest, and died before it told anybody.
  @ParameterizedTest
  @ValueSource(strings = "before 2.stateBytes")
  void aTargetThatRunsTheGuestIsKept(String fate) throws Exception {
    die(fate, "web1");

    MachineDaemon next = start();

    GuestView taken = next.hyperplexor.show("web1");
    assertThat(taken.state()).as(taken.detail()).isEqualTo(GuestView.State.RUNNING);
    assertThat(taken.release()).isEqualTo("m2");
    assertThat(taken.generation()).isEqualTo(2);
    assertThat(next.ended)
        .singleElement()
        .satisfies(record -> assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED));
    assertGone(machine(next, "m1"), "web1");
    try (TestGuest guest = TestGuest.beatingInMachine(taken.pid(), "web1", BEAT)) {
      guest.awaitBeat(BEAT);
      ReplacementRecord back = next.replace("web1", machine(next, "m1"));
      assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.COMMITTED);
      guest.awaitBeat(BEAT);
    }
  }

  /// The daemon is killed while it plugs in what the target needs. A program is started in its
  /// place, of which nothing is written down.
  @Test
  void aTargetThatWasBeingMadeIsRemoved() throws Exception {
    Process killed = launch("never at-all", "web1");
    Path file = workspace.state().resolve("machines/m2/places.json");
    try {
      Workshop.await("a place in m2", BOOT, () -> Workshop.contains(file, "\"inner\":0"));
    } finally {
      killed.destroyForcibly().waitFor();
    }
    assertThat(file).content().contains("\"inner\":0");
    int unknown;
    Path socket = workspace.state().resolve("run/m2.machine.agent");
    try (Agent agent = Agent.over(UnixSocket.connect(socket), _ -> {})) {
      unknown =
          agent.start(
              new Agent.Program(
                  List.of(MachineRelease.QEMU, "-machine", "none", "-nodefaults", "-S"),
                  Map.of(),
                  List.of()));
      assertThat(agent.state(unknown)).isNotEmpty();
    }

    MachineDaemon next = start();

    Machine target = machine(next, "m2");
    assertThatThrownBy(() -> target.agent().state(unknown)).hasMessageContaining("no program");
    assertThat(file).content().contains("\"places\":[]");
    assertGone(target, "web1");
    GuestView taken = next.hyperplexor.show("web1");
    assertThat(taken.release()).isEqualTo("m1");
    try (TestGuest guest = TestGuest.beatingInMachine(taken.pid(), "web1", BEAT)) {
      ReplacementRecord record = next.replace("web1", target);
      assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
      guest.awaitBeat(BEAT);
    }
  }
}
