package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
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
import org.junit.jupiter.api.extension.RegisterExtension;

/// Linux guests under KVM in machines, which move from one machine to the next. The way of their
/// state can be measured or disturbed, and so can what a target is made of.
abstract class MachineScene {
  static final Duration BOOT = Duration.ofMinutes(4);
  static final Duration MAX_BLACKOUT = Duration.ofSeconds(20);

  /// Of a microsecond in milliseconds.
  static final Offset<Double> ROUNDING = within(0.002);

  private static final VmReleases<MachineRelease> RELEASES =
      MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();
  Machines machines;
  Hyperplexor hyperplexor;

  /// What happens to the state on its way to a target, when something is to happen.
  volatile Optional<Function<Integer, ChannelRelay.Then>> fault = Optional.empty();

  /// What happens while a target is made, and what that is made with.
  volatile UnaryOperator<Launch> preparing = UnaryOperator.identity();

  private final List<ChannelRelay> relays = new ArrayList<>();
  final MeasuredWay ways = new MeasuredWay();

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

  Machine machine(String name, String kernel, String qemu) {
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

  TestGuest booted(String name, Release on, List<Disk> disks, List<Nic> nics) {
    hyperplexor.create(Workshop.linux(name, 256, disks, nics), on, Progress.NONE);
    return beating(name);
  }

  /// A guest that is up at once and hardly takes anything of its machine.
  TestGuest ticking(String name, Release on) {
    hyperplexor.create(Workshop.tick(name, 64, AcceleratorWish.AUTO), on, Progress.NONE);
    return TestGuest.beatingInMachine(hyperplexor.show(name).pid(), name, BOOT);
  }

  private TestGuest beating(String name) {
    TestGuest guest = TestGuest.beatingInMachine(hyperplexor.show(name).pid(), name, BOOT);
    Workshop.awaitReady(workspace.files(name));
    return guest;
  }

  ReplacementRecord replace(String guest, Release to) {
    ReplacementRecord record = hyperplexor.replace(guest, to, MAX_BLACKOUT, Progress.NONE);
    Workshop.say(figures(record));
    return record;
  }

  static String figures(ReplacementRecord record) {
    return String.format(
        Locale.ROOT,
        "%s from %s to %s: %s, blackout %.1f ms (save %.1f, rest %.1f), heartbeat gap %.0f ms"
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

  static void assertCommitted(ReplacementRecord record) {
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).isEqualTo(OptionalLong.of(0));
    assertThat(record.stateBytes()).isBetween(10_000L, 4_000_000L);
    assertThat(record.kind()).isEqualTo("machine");
    assertThat(record.heartbeatWentBack()).isFalse();
    assertThat(record.phases().saveMs().orElseThrow() + record.phases().loadMs().orElseThrow())
        .as("the phases of the blackout, ms")
        .isCloseTo(record.blackoutMs().orElseThrow(), ROUNDING);
  }

  static boolean maps(int pid, String guest) {
    try {
      return Files.readString(Path.of("/proc", Integer.toString(pid), "maps"))
          .contains("/memfd:hf-" + guest + " ");
    } catch (IOException e) {
      if (!Workspace.runs(pid)) {
        return false;
      }
      throw new UncheckedIOException(e);
    }
  }

  /// The hardware unmaps a window that was ejected a moment later.
  static void awaitGone(Machine machine, String guest) {
    Workshop.await(
        "the end of the window of " + guest + " in " + machine.name(),
        Duration.ofSeconds(60),
        () -> machine.ended() || !maps(machine.pid(), guest));
  }
}
