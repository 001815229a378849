package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.AgentException;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Linux guests under KVM in machines, which move from one machine to the next.
@Tag("slow")
class MachineTest {
  private static final Duration BOOT = Duration.ofMinutes(4);
  private static final Duration MAX_BLACKOUT = Duration.ofSeconds(20);

  /// Of a microsecond in milliseconds.
  private static final Offset<Double> ROUNDING = within(0.002);

  /// No machine has room for such a window.
  private static final long NO_ROOM_BYTES = 1L << 42;

  private static final VmReleases<MachineRelease> RELEASES =
      MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private Machines machines;
  private Hyperplexor hyperplexor;

  /// What happens to the state on its way to a target, when something is to happen.
  private volatile Optional<Function<Integer, ChannelRelay.Then>> fault = Optional.empty();

  /// What happens while a target is made, and what that is made with.
  private volatile UnaryOperator<Launch> preparing = UnaryOperator.identity();

  private final List<ChannelRelay> relays = new ArrayList<>();
  private final MeasuredWay ways = new MeasuredWay();

  @BeforeEach
  void open() {
    Qemu processes = new Qemu();
    hyperplexor =
        new Hyperplexor(
            workspace.state(),
            new Kinds(processes, ways.over(faulty(new MachineKind(processes)))),
            Workshop.KVM,
            _ -> {});
    machines =
        new Machines(workspace.state().resolve("machines"), workspace.state().resolve("run"));
  }

  @AfterEach
  void close() {
    hyperplexor.close();
    relays.forEach(ChannelRelay::close);
    ways.close();
    machines.close();
    assertThat(workspace.sockets()).isEmpty();
  }

  private Hypervisor faulty(MachineKind real) {
    return Overlay.on(
        Hypervisor.class,
        real,
        Map.of(
            "startWaiting",
            arguments ->
                faulty(
                    real.startWaiting(
                        preparing.apply((Launch) Objects.requireNonNull(arguments[0]))))));
  }

  private Instance faulty(Instance target) {
    return Overlay.on(
        Instance.class,
        target,
        Map.of(
            "expect",
            arguments -> {
              expect(target, (Fd) Objects.requireNonNull(arguments[0]));
              return null;
            }));
  }

  private void expect(Instance target, Fd channel) {
    if (fault.isEmpty()) {
      target.expect(channel);
      return;
    }
    relays.add(ChannelRelay.insert(channel, target::expect, 0, fault.get(), "machine"));
    fault = Optional.empty();
  }

  private static MachineRelease release(String kernel, String qemu) {
    String name = "machine-" + kernel + "+qemu-" + qemu;
    return RELEASES.find(name).orElseGet(() -> RELEASES.build(kernel, qemu, Workshop::say));
  }

  private Machine machine(String name, String kernel, String qemu) {
    Machine machine =
        machines.create(
            new VmSettings<>(
                name,
                release(kernel, qemu),
                Workshop.release("qemu-10.0"),
                Accelerator.TCG,
                1,
                VmSettings.DEFAULT_MEMORY_BYTES));
    Workshop.say(
        String.format(
            Locale.ROOT,
            "%s runs %s: up after %.1f s",
            name,
            machine.settings().release().name(),
            machine.bootMs() / 1000));
    return machine;
  }

  private TestGuest booted(String name, Release on, List<Disk> disks, List<Nic> nics) {
    hyperplexor.create(Workshop.linux(name, 256, disks, nics), on, Progress.NONE);
    return beating(name);
  }

  private TestGuest beating(String name) {
    TestGuest guest = TestGuest.beatingInMachine(hyperplexor.show(name).pid(), name, BOOT);
    Workshop.awaitReady(workspace.files(name));
    return guest;
  }

  private ReplacementRecord replace(String guest, Release to) {
    ReplacementRecord record = hyperplexor.replace(guest, to, MAX_BLACKOUT, Progress.NONE);
    Workshop.say(figures(record));
    return record;
  }

  private static String figures(ReplacementRecord record) {
    return String.format(
        Locale.ROOT,
        "%s from %s to %s: %s, blackout %.1f ms (save %.1f, rest %.1f), guest stood %.0f ms"
            + " (floor %.0f), %d state bytes",
        record.guest(),
        record.from(),
        record.to(),
        record.outcome().label(),
        record.blackoutMs().orElse(0),
        record.phases().saveMs().orElse(Double.NaN),
        record.phases().loadMs().orElse(Double.NaN),
        record.guestGapMs().orElse(0),
        record.noiseFloorMs().orElse(0),
        record.stateBytes());
  }

  private static void assertCommitted(ReplacementRecord record) {
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).isEqualTo(OptionalLong.of(0));
    assertThat(record.stateBytes()).isBetween(10_000L, 4_000_000L);
    assertThat(record.kind()).isEqualTo("machine");
    assertThat(record.heartbeatWentBack()).isFalse();
    assertThat(record.phases().saveMs().orElseThrow() + record.phases().loadMs().orElseThrow())
        .as("the phases of the blackout, ms")
        .isCloseTo(record.blackoutMs().orElseThrow(), ROUNDING);
  }

  private static boolean maps(int pid, String guest) {
    try {
      return Files.readString(Path.of("/proc", Integer.toString(pid), "maps"))
          .contains("/memfd:hf-" + guest + " ");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The hardware unmaps a window that was ejected a moment later.
  private static void awaitGone(Machine machine, String guest) {
    Workshop.await(
        "the end of the window of " + guest + " in " + machine.name(),
        Duration.ofSeconds(5),
        () -> machine.ended() || !maps(machine.pid(), guest));
  }

  private Path image() throws IOException {
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    }
    return image;
  }

  /// The whole promise: another kernel, KVM and QEMU under a guest that serves TCP and writes to
  /// its disk, there and back. In the same run, for comparison, the same guest between two
  /// processes, the way of the state with nobody at its ends, and two moves whose way is measured:
  /// nothing of ours takes longer in their blackouts than QEMU itself.
  @Test
  void aGuestMovesFromKernelToKernelAndBack() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      Machine older = machine("older", "6.1", "10.0");
      Machine newer = machine("newer", "6.12", "10.0");
      Path image = image();
      List<ReplacementRecord> records = new ArrayList<>();
      List<MeasuredWay.Phases> phases = new ArrayList<>();
      try (TestGuest guest =
          network.within(() ->
              booted(
                  "web1",
                  older,
                  List.of(new Disk(image, Disk.Format.RAW, false)),
                  List.of(new Nic("hf-mach0", Optional.empty(), "52:54:00:77:00:02"))))) {
        network.ip("link", "set", "lo", "up");
        network.ip("addr", "add", "10.77.0.1/24", "dev", "hf-mach0");
        try (EchoStream stream =
            network.within(() -> EchoStream.reach(new InetSocketAddress("10.77.0.2", 7)))) {
          for (int move = 0; move < 5; move++) {
            Machine to = move % 2 == 0 ? newer : older;
            Machine from = to == newer ? older : newer;
            boolean measured = move >= 3;
            ways.measure(measured);
            stream.takeLongestStallMs();
            long beats = guest.counter();
            long populated = guest.populatedBytes();
            ReplacementRecord record = replace("web1", to);
            assertCommitted(record);
            if (measured) {
              phases.add(measured(record, from, to));
            } else {
              records.add(record);
            }
            Workshop.say(
                String.format(Locale.ROOT, "  TCP stood %.0f ms", stream.takeLongestStallMs()));
            awaitGone(from, "web1");
            assertThat(maps(to.pid(), "web1")).isTrue();
            assertThat(guest.populatedBytes() - populated).isLessThan(16 << 20);
            guest.awaitBeat(Duration.ofSeconds(10));
            assertThat(guest.counter()).isGreaterThan(beats);
          }
          stream.finish(Duration.ofSeconds(30));
          assertThat(stream.fault()).isEmpty();
          assertThat(stream.bytesLost()).isZero();
          assertThat(stream.bytesSent()).isPositive();
        }
        assertThat(
                hyperplexor
                    .plan("web1", Workshop.release("qemu-10.0"), false, false, Progress.NONE)
                    .stream()
                    .filter(Check::failed)
                    .map(Check::name))
            .as("what keeps a guest with a card from a process")
            .contains("network cards");
        long summed = guest.passes();
        Workshop.await("another sum", Duration.ofSeconds(60), () -> guest.passes() > summed);
        assertThat(guest.mismatches()).isZero();
        assertThat(guest.diskErrors()).isZero();
        assertThat(guest.echoConnections()).isEqualTo(1);
        long acknowledged = guest.diskSequence();
        long boot = guest.bootId();
        hyperplexor.delete("web1");
        DiskRecords written = DiskRecords.read(image, boot);
        assertThat(written.damaged()).isEmpty();
        assertThat(written.highest()).isGreaterThanOrEqualTo(acknowledged).isGreaterThan(10);
      }
      assertQemuTakesLonger(phases);
      compare(records, older, newer);
    }
  }

  private MeasuredWay.Phases measured(ReplacementRecord record, Machine from, Machine to) {
    MeasuredWay.Phases phases = ways.phases(record.guest()).orElseThrow();
    Workshop.say(
        String.format(
            Locale.ROOT,
            "  blackout %.1f ms = save %.1f (first byte after %.1f) + way %.1f + load %.1f; clocks"
                + " agree to within %.2f ms",
            record.blackoutMs().orElseThrow(),
            phases.saveMs(),
            phases.firstMs(),
            phases.wayMs(),
            phases.loadMs(),
            doubtMs(from) + doubtMs(to)));
    assertThat(phases.saveMs() + phases.wayMs() + phases.loadMs())
        .as("the measured phases, ms")
        .isCloseTo(record.blackoutMs().orElseThrow(), ROUNDING);
    assertThat(phases.saveMs()).isCloseTo(record.phases().saveMs().orElseThrow(), ROUNDING);
    return phases;
  }

  /// In sum, since a busy host can stop whatever runs for longer than a whole phase takes.
  private static void assertQemuTakesLonger(List<MeasuredWay.Phases> moves) {
    assertThat(moves.stream().mapToDouble(MeasuredWay.Phases::wayMs).sum())
        .as("what is ours in the blackouts, ms")
        .isLessThanOrEqualTo(
            moves.stream().mapToDouble(phases -> phases.saveMs() + phases.loadMs()).sum());
  }

  /// How far the clock of a machine may be from what is thought of it: half of the fastest of some
  /// questions.
  private static double doubtMs(Machine machine) {
    long fastest = Long.MAX_VALUE;
    for (int i = 0; i < 8; i++) {
      long before = System.nanoTime();
      var _ = machine.agent().clock();
      fastest = Math.min(fastest, System.nanoTime() - before);
    }
    return fastest / 2e6;
  }

  private void compare(List<ReplacementRecord> moves, Machine older, Machine newer) {
    double machine = median(moves.stream().map(r -> r.blackoutMs().orElseThrow()).toList());
    int bytes = (int) moves.getLast().stateBytes();
    List<Double> ways = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      ways.add(older.relayMs(newer, bytes));
    }
    double way = median(ways);
    double process = betweenProcesses();
    Workshop.say(
        String.format(
            Locale.ROOT,
            "blackout between machines %.1f ms, between processes %.1f ms; the way of %d bytes"
                + " with nobody at its ends %.1f ms",
            machine,
            process,
            bytes,
            way));
    assertThat(way).as("the way alone, ms").isLessThan(machine - way);
  }

  private double betweenProcesses() {
    List<Double> blackouts = new ArrayList<>();
    Release older = Workshop.release("qemu-7.2");
    Release newer = Workshop.release("qemu-10.0");
    hyperplexor.create(Workshop.linux("flat", 256, List.of(), List.of()), older, Progress.NONE);
    try (TestGuest guest = TestGuest.beatingIn(hyperplexor.show("flat").pid(), BOOT)) {
      for (Release to : List.of(newer, older, newer)) {
        blackouts.add(replace("flat", to).blackoutMs().orElseThrow());
        guest.awaitBeat(Duration.ofSeconds(10));
      }
    }
    hyperplexor.delete("flat");
    return median(blackouts);
  }

  private static double median(List<Double> values) {
    return values.stream().sorted(Comparator.naturalOrder()).toList().get(values.size() / 2);
  }

  /// Two guests of a machine with an old QEMU move together to one with a new QEMU, in which a
  /// stream was rejected first, and a channel broke: then they stayed where they were.
  @Test
  void guestsMoveTogetherAndStayWhenTheirStateIsRejected() throws Exception {
    Machine older = machine("older", "6.1", "7.2");
    Machine newer = machine("newer", "6.12", "10.0");
    try (TestGuest one = booted("one", older, List.of(), List.of());
        TestGuest two = booted("two", older, List.of(), List.of())) {
      fault = Optional.of(_ -> ChannelRelay.Then.CORRUPT);
      assertStays("one", older, newer, one, MAX_BLACKOUT);
      fault = Optional.of(_ -> ChannelRelay.Then.CUT);
      assertStays("one", older, newer, one, Duration.ofSeconds(3));
      Rollout.Result<ReplacementRecord> result =
          hyperplexor.rollOut(
              new GuestRollout.Order(
                  List.of("one", "two"),
                  newer,
                  Optional.empty(),
                  new Rollout.Pace(2, 0, Duration.ZERO),
                  MAX_BLACKOUT,
                  true,
                  false),
              (guest, maxBlackout, progress) ->
                  hyperplexor.replace(guest, newer, maxBlackout, progress),
              Rollout.Audience.NONE);
      assertThat(result.misses()).isEmpty();
      result
          .entries()
          .forEach(entry -> {
            Workshop.say(figures(entry.record().orElseThrow()));
            assertCommitted(entry.record().orElseThrow());
          });
      one.awaitBeat(Duration.ofSeconds(10));
      two.awaitBeat(Duration.ofSeconds(10));
      awaitGone(older, "one");
      awaitGone(older, "two");
    }
    hyperplexor.delete("one");
    hyperplexor.delete("two");
    awaitGone(newer, "one");
    awaitGone(newer, "two");
  }

  private ReplacementRecord assertStays(
      String name, Machine older, Machine newer, TestGuest guest, Duration maxBlackout) {
    ReplacementRecord record = hyperplexor.replace(name, newer, maxBlackout, Progress.NONE);
    Workshop.say(
        String.format(
            Locale.ROOT,
            "%s: %s after %.0f ms",
            record.outcome().label(),
            record.detail(),
            record.phases().rollBackMs().orElse(0)));
    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(hyperplexor.show(name).release()).isEqualTo(older.name());
    guest.awaitBeat(Duration.ofSeconds(10));
    awaitGone(newer, name);
    return record;
  }

  /// The new machine is killed while it loads, another one hangs, and one cannot be given the
  /// guest's memory: the guest goes on in the old one each time. When the kernel of that panics
  /// while the guest is to move away, the guest has ended, and nothing of it is left anywhere.
  @Test
  void aGuestOutlivesMachinesThatDieOrHang() throws Exception {
    Machine older = machine("older", "6.1", "10.0");
    try (TestGuest guest = booted("web1", older, List.of(), List.of())) {
      Machine dies = machine("dies", "6.12", "10.0");
      fault = Optional.of(_ -> signal(dies.pid(), Signals.KILL));
      assertStays("web1", older, dies, guest, MAX_BLACKOUT);
      machines.delete("dies");
      Machine hangs = machine("hangs", "6.12", "10.0");
      fault = Optional.of(_ -> signal(hangs.pid(), Signals.STOP));
      assertStays("web1", older, hangs, guest, Duration.ofSeconds(2));
      machines.delete("hangs");
      assertThatThrownBy(() -> hyperplexor.replace("web1", hangs, MAX_BLACKOUT, Progress.NONE))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> {
                assertThat(e.problem()).isEqualTo(Problem.REPLACE_OBSTACLES);
                assertThat(e.detail()).contains("Machine hangs has ended.");
              });
      guest.awaitBeat(Duration.ofSeconds(10));
      Machine newer = machine("newer", "6.12", "10.0");
      try (MemFd tooLarge = MemFd.create("hf-too-large", NO_ROOM_BYTES)) {
        preparing = launch -> with(tooLarge, launch);
        assertThat(assertStays("web1", older, newer, guest, MAX_BLACKOUT).problem())
            .isEqualTo(Problem.REPLACE_PREPARE.code());
      }
      assertThat(newer.isOccupied()).isFalse();
      preparing =
          launch -> {
            panic(older);
            return launch;
          };
      assertEndsWithItsMachine("web1", newer);
    }
    hyperplexor.delete("web1");
  }

  private static Launch with(MemFd memory, Launch launch) {
    return new Launch(
        launch.spec(),
        launch.release(),
        launch.accelerator(),
        memory,
        launch.nicQueues(),
        launch.files(),
        launch.sockets(),
        launch.generation(),
        launch.confinement(),
        launch.events(),
        launch.adopted());
  }

  /// Has the kernel inside panic, as sysrq's `c` does: the first letter of its command line.
  private static void panic(Machine machine) {
    try {
      var _ =
          machine
              .agent()
              .start(
                  new Agent.Program(
                      List.of("/init", "copy", "/proc/cmdline", "1", "/proc/sysrq-trigger"),
                      Map.of(),
                      List.of()));
    } catch (AgentException e) {
      // It may be gone before it has answered.
      Workshop.say(String.valueOf(e.getMessage()));
    }
    Workshop.await("the end of " + machine.name(), Duration.ofSeconds(30), machine::ended);
  }

  private void assertEndsWithItsMachine(String name, Machine newer) {
    ReplacementRecord record = hyperplexor.replace(name, newer, MAX_BLACKOUT, Progress.NONE);
    Workshop.say(record.outcome().label() + ": " + record.detail());
    assertThat(record.outcome()).isNotEqualTo(Outcome.COMMITTED);
    assertThat(record.problem()).isEqualTo(Problem.REPLACE_PREPARE.code());
    Workshop.await(
        "the end of " + name,
        Duration.ofSeconds(10),
        () -> hyperplexor.show(name).state() == GuestView.State.STOPPED);
    awaitGone(newer, name);
    assertThat(newer.isOccupied()).isFalse();
    assertThat(newer.ended()).isFalse();
  }

  private static ChannelRelay.Then signal(int pid, int signal) {
    try (PidFd process = PidFd.open(pid)) {
      process.signal(signal);
    }
    return ChannelRelay.Then.PASS_ON;
  }

  /// A guest that is translated wherever it runs goes into a machine only for as long as that is
  /// wanted.
  @Test
  void aGuestGoesFromAProcessToAMachineAndBack() {
    Release process = Workshop.release("qemu-10.0");
    Machine machine = machine("nested", "6.12", "10.0");
    GuestSpec spec = Workshop.ring3("count", 64, AcceleratorWish.TCG);
    hyperplexor.create(spec, process, Progress.NONE);
    try (TestGuest guest = TestGuest.beatingIn(hyperplexor.show("count").pid(), BOOT)) {
      assertCommitted(replace("count", machine));
      guest.awaitBeat(Duration.ofSeconds(30));
      ReplacementRecord back = replace("count", process);
      assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.COMMITTED);
      assertThat(back.kind()).isEqualTo("process");
      guest.awaitBeat(Duration.ofSeconds(30));
    }
    hyperplexor.delete("count");
  }
}
