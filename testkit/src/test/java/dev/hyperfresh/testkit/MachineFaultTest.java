package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.AgentException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Guests stay in their machine when their state is rejected, or the new machine dies, hangs or has
/// no room; the same guests move once nothing is wrong.
@Tag("slow")
class MachineFaultTest extends MachineScene {
  /// No machine has room for such a window.
  private static final long NO_ROOM_BYTES = 1L << 42;

  private static final Duration PATIENCE = Duration.ofMinutes(3);

  /// Two guests of a machine with an old QEMU move together to one with a new QEMU, in which a
  /// stream was rejected first, and a channel broke: then they stayed where they were.
  @Test
  void guestsMoveTogetherAndStayWhenTheirStateIsRejected() throws Exception {
    Workshop.together(() -> machine("older", "6.1", "7.2"), () -> machine("newer", "6.12", "10.0"));
    Machine older = machines.get("older");
    Machine newer = machines.get("newer");
    try (TestGuest one = booted("one", older, List.of(), List.of());
        TestGuest two = ticking("two", older)) {
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
      one.awaitBeat(PATIENCE);
      two.awaitBeat(PATIENCE);
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
    guest.awaitBeat(PATIENCE);
    awaitGone(newer, name);
    return record;
  }

  /// The new machine is killed while it loads, another one hangs, and one cannot be given the
  /// guest's memory: the guest goes on in the old one each time. When the kernel of that panics
  /// while the guest is to move away, the guest has ended, and nothing of it is left anywhere.
  @Test
  void aGuestOutlivesMachinesThatDieOrHang() throws Exception {
    Workshop.together(() -> machine("older", "6.1", "10.0"), () -> machine("dies", "6.12", "10.0"));
    Machine older = machines.get("older");
    try (TestGuest guest = ticking("web1", older)) {
      Machine dies = machines.get("dies");
      fault = Optional.of(_ -> signal(dies.pid(), Signals.KILL));
      assertStays("web1", older, dies, guest, MAX_BLACKOUT);
      machines.delete("dies");
      Workshop.together(
          () -> machine("hangs", "6.12", "10.0"), () -> machine("newer", "6.12", "10.0"));
      Machine hangs = machines.get("hangs");
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
      guest.awaitBeat(PATIENCE);
      Machine newer = machines.get("newer");
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
        GuestMemory.of(memory),
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
    Workshop.await("the end of " + machine.name(), PATIENCE, machine::ended);
  }

  private void assertEndsWithItsMachine(String name, Machine newer) {
    ReplacementRecord record = hyperplexor.replace(name, newer, MAX_BLACKOUT, Progress.NONE);
    Workshop.say(record.outcome().label() + ": " + record.detail());
    assertThat(record.outcome()).isNotEqualTo(Outcome.COMMITTED);
    assertThat(record.problem()).isEqualTo(Problem.REPLACE_PREPARE.code());
    Workshop.await(
        "the end of " + name,
        PATIENCE,
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
}
