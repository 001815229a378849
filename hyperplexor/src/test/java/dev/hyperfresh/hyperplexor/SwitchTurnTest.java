package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/// A guest waits for its turn to switch, and gives its place to the next.
class SwitchTurnTest extends ReplacementScene {
  @Test
  void aGuestWaitsForItsTurnBeforeItsOrderIsOut() throws Exception {
    stage.handingOver();
    SwitchGate.Pass other = gate.enter();

    CompletableFuture<ReplacementRecord> moving =
        CompletableFuture.supplyAsync(() -> replace(LONG));
    awaitState("Prepared");
    assertThat(moving).isNotDone();
    assertThat(stage.replacementCalls()).contains("1.connect").doesNotContain("1.handOver");
    other.leave();

    assertThat(moving.get(10, TimeUnit.SECONDS).outcome()).isEqualTo(Outcome.COMMITTED);
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void theNextGuestMaySwitchAsSoonAsTheTargetHasResumed() {
    stage
        .handingOver()
        .on("2.stateBytes", _ -> assertThat(gate.free()).as("places after the commit").isOne())
        .on("1.end", source -> assertThat(gate.free()).isOne());

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(stage.replacementCalls()).contains("2.stateBytes", "1.end");
  }

  /// That takes as long as a process has threads.
  @Test
  void theNextGuestNeedNotWaitUntilThePriorityIsTakenBack() {
    int[] places = {-1};
    Surroundings host = new Surroundings.OfHost(journal, gate, WatchTimes.USUAL);
    stage.handingOver();

    assertThat(replace(LONG, () -> {}, new Lowering(host, () -> places[0] = gate.free())).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(places).containsExactly(1);
  }

  private record Lowering(Surroundings host, Runnable lowered) implements Surroundings {
    @Override
    public long nanos() {
      return host.nanos();
    }

    @Override
    public long wallMicros() {
      return host.wallMicros();
    }

    @Override
    public void pause(long nanos) {
      host.pause(nanos);
    }

    @Override
    public Priority priority(int source, int target, boolean passedOn) {
      return new Priority() {
        @Override
        public void raise() {}

        @Override
        public void lower() {
          lowered.run();
        }
      };
    }

    @Override
    public SwitchGate.Pass enterSwitch() throws InterruptedException {
      return host.enterSwitch();
    }

    @Override
    public void write(Journal.Entry entry) {
      host.write(entry);
    }
  }

  @Test
  void nobodyElseSwitchesWhileTheOrderIsOut() {
    int[] places = {-1, -1};
    stage.on(
        "1.handOver",
        source -> {
          places[0] = gate.free();
          source.tell(new InstanceEvent.HandOverFailed(1, "no"));
        });
    stage.on("1.takeBack", _ -> places[1] = gate.free());

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(places).as("places when ordered, and when taken back").containsExactly(0, 0);
  }

  @Test
  void aGuestThatIsInterruptedBeforeItsTurnGoesOnWhereItIs() throws Exception {
    List<Thread> thread = new CopyOnWriteArrayList<>();
    stage.handingOver().on("1.connect", _ -> thread.add(Thread.currentThread()));
    SwitchGate.Pass other = gate.enter();

    CompletableFuture<ReplacementRecord> moving =
        CompletableFuture.supplyAsync(() -> replace(LONG));
    awaitState("Prepared");
    // An interrupt while the journal is written would close it.
    while (thread.getFirst().getState() != Thread.State.WAITING) {
      LockSupport.parkNanos(1_000_000);
    }
    thread.getFirst().interrupt();

    assertRolledBack(
        moving.get(10, TimeUnit.SECONDS),
        "HF-REPLACE-002",
        "It was interrupted before its turn to switch.");
    assertThat(stage.replacementCalls()).doesNotContain("1.handOver", "1.takeBack");
    other.leave();
    other.leave();
  }

  private void awaitState(String state) {
    long deadline = System.nanoTime() + LONG.toNanos();
    while (!states().contains(state)) {
      assertThat(System.nanoTime()).as("no " + state + " in time").isLessThan(deadline);
      LockSupport.parkNanos(1_000_000);
    }
  }
}
