package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.machine.Machine;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Guests move to a machine with another kernel, or from a process into a machine, and back.
@Tag("slow")
class MachineMoveTest extends MachineScene {
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  /// The whole promise: another kernel, KVM and QEMU under a guest that serves TCP and writes to
  /// its disk, there and back. In the same run, for comparison, the same guest between two
  /// processes, the way of the state with nobody at its ends, and two moves whose way is measured:
  /// nothing of ours takes longer in their blackouts than QEMU itself.
  @Test
  void aGuestMovesFromKernelToKernelAndBack() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      Workshop.together(
          () -> machine("older", "6.1", "10.0"), () -> machine("newer", "6.12", "10.0"));
      Machine older = machines.get("older");
      Machine newer = machines.get("newer");
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
                String.format(Locale.ROOT, "  TCP stalled %.0f ms", stream.takeLongestStallMs()));
            awaitGone(from, "web1");
            assertThat(maps(to.pid(), "web1")).isTrue();
            assertThat(guest.populatedBytes() - populated).isLessThan(16 << 20);
            guest.awaitBeat(PATIENCE);
            assertThat(guest.counter()).isGreaterThan(beats);
          }
          stream.finish(PATIENCE);
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
        Workshop.await("another sum", PATIENCE, () -> guest.passes() > summed);
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

  private Path image() throws IOException {
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    }
    return image;
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
                + " without a QEMU at either end %.1f ms",
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
        guest.awaitBeat(PATIENCE);
      }
    }
    hyperplexor.delete("flat");
    return median(blackouts);
  }

  private static double median(List<Double> values) {
    return values.stream().sorted(Comparator.naturalOrder()).toList().get(values.size() / 2);
  }

  /// A guest that is translated wherever it runs goes into a machine only for as long as that is
  /// wanted.
  @Test
  void aGuestGoesFromAProcessToAMachineAndBack() {
    Release process = Workshop.release("qemu-10.0");
    Machine machine = machine("nested", "6.12", "10.0");
    GuestSpec spec = Workshop.tick("count", 64, AcceleratorWish.TCG);
    MemoryLayout huge = new MemoryLayout(OptionalLong.of(2 << 20), List.of());
    assertThatThrownBy(() -> hyperplexor.create(spec.madeOf(huge), machine, Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.SPEC_INVALID))
        .hasMessageContaining("In a machine a guest has one memory");
    Devices rng = new Devices(true, false, Optional.empty(), Optional.empty());
    assertThatThrownBy(() -> hyperplexor.create(spec.with(rng), machine, Progress.NONE))
        .hasMessageContaining("plain virtio disks and cards alone, and its spec has rng: true");
    Firmware uefi = new Firmware(Firmware.Kind.UEFI, true);
    assertThatThrownBy(() -> hyperplexor.create(spec.booting(uefi), machine, Progress.NONE))
        .hasMessageContaining("In a machine a guest has neither UEFI nor a TPM");
    hyperplexor.create(spec, process, Progress.NONE);
    try (TestGuest guest = TestGuest.beatingIn(hyperplexor.show("count").pid(), BOOT)) {
      assertCommitted(replace("count", machine));
      guest.awaitBeat(PATIENCE);
      ReplacementRecord back = replace("count", process);
      assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.COMMITTED);
      assertThat(back.kind()).isEqualTo("process");
      guest.awaitBeat(PATIENCE);
    }
    hyperplexor.delete("count");
  }
}
