package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.SimulatedTime.MILLI;
import static dev.hyperfresh.hyperplexor.SimulatedTime.SECOND;

import dev.hyperfresh.hyperplexor.SimulatedWorld.Defect;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.OptionalLong;
import java.util.Queue;
import java.util.function.Consumer;

/// One hypervisor's process: what it does by itself, with the guest too, and what a daemon has it
/// do.
final class SimulatedInstance implements Instance {
  private static final long PATIENCE = 2 * SECOND;

  final SimulatedControl control;
  boolean alive = true;
  RunState state;
  boolean hung;
  boolean undead;
  boolean killed;
  boolean hasRun;
  boolean stoppedByItself;

  /// Of the guest's states the one that it has, as [SimulatedGuest#epoch] counts them.
  int epoch;

  private final SimulatedWorld world;
  private final Launch launch;
  private final Queue<Runnable> backlog = new ArrayDeque<>();
  private RunState before = RunState.RUNNING;
  private boolean frozen;
  private boolean condemned;
  private boolean cancelled;
  private boolean channelCut;
  private boolean loading;
  private boolean writtenBack;

  /// Hand-overs that it was told to make; answers come in order, so an earlier one is over.
  private int orders;

  SimulatedInstance(SimulatedWorld world, Launch launch, RunState state) {
    this.world = world;
    this.launch = launch;
    this.state = state;
    this.hasRun = state == RunState.RUNNING;
    this.control = new SimulatedControl(world, this, state == RunState.AWAITING);
    this.epoch = hasRun ? world.guest.epoch : 0;
    world.processes.add(this);
  }

  // ---- the process ----

  boolean isLive() {
    return alive && state.isLive();
  }

  boolean executes() {
    return isLive() && !hung && !undead && (!frozen || world.defect == Defect.FREEZE_LIES);
  }

  boolean stands() {
    return hung || undead || (frozen && world.defect != Defect.FREEZE_LIES);
  }

  /// Does `action` by itself after a while; not before it may run again, and never when dead.
  private void soon(long nanos, Runnable action) {
    world.time.later(
        nanos,
        () -> {
          if (alive && stands()) {
            backlog.add(action);
          } else if (alive && (!condemned || world.defect == Defect.FREEZE_LIES)) {
            action.run();
          }
        });
  }

  private void goOnByItself() {
    while (alive && !condemned && !stands() && !backlog.isEmpty()) {
      backlog.remove().run();
    }
  }

  void die(String reason) {
    if (!alive) {
      return;
    }
    world.trace("generation " + generation() + " dies: " + reason);
    alive = false;
    boolean held =
        world.processes.stream()
            .anyMatch(other ->
                other.alive
                    && (other.epoch == world.guest.epoch || (other.loading && !other.condemned)));
    if (!held) {
      world.guest.stateWasLost = true;
    }
    control.tell(new InstanceEvent.Ended(generation(), reason));
  }

  boolean isCancelled() {
    return cancelled;
  }

  void cutChannel() {
    channelCut = true;
  }

  void hang() {
    hung = true;
  }

  void hangFor(long nanos) {
    hung = true;
    world.time.later(
        nanos,
        () -> {
          hung = false;
          goOnByItself();
          control.answer();
        });
  }

  void becomeUndead() {
    undead = true;
  }

  // ---- the guest ----

  void powerOffByItself() {
    if (!executes()) {
      return;
    }
    world.guest.isOff = true;
    world.time.later(
        world.latency(),
        () -> {
          world.guest.offUnheard |= !alive || stands() || control.isUnheard();
          if (alive) {
            control.tell(new InstanceEvent.PoweredOff(generation()));
            soon(3 * MILLI + world.latency(), () -> die("the guest powered off"));
          }
        });
  }

  void resetByItself() {
    if (executes()) {
      control.tell(new InstanceEvent.Reset(generation()));
    }
  }

  void sleepByItself() {
    if (executes()) {
      state = RunState.SUSPENDED;
      control.tell(new InstanceEvent.Changed(generation()));
    }
  }

  void stopForItsDisk() {
    if (executes()) {
      state = RunState.IO_ERROR;
      stoppedByItself = true;
      control.tell(new InstanceEvent.Stopped(generation(), world.time.micros()));
    }
  }

  // ---- what a daemon has it do ----

  /// A call of the daemon: takes a while, and may fail.
  void called(String call, Problem problem) {
    world.step(generation() + "." + call);
    world.faults.failCall(problem, "It fails.");
    world.faults.throwError();
    world.time.advance(world.latency());
    if (!alive) {
      throw problem.because("The process has ended.");
    }
    if (control.isLost()) {
      throw problem.because("The control channel is broken.");
    }
    boolean lost = world.faults.takeAnswerLost();
    if (stands() || lost) {
      world.time.advance(PATIENCE);
      throw problem.because("No answer.");
    }
  }

  @Override
  public int generation() {
    return launch.generation();
  }

  @Override
  public Release release() {
    return launch.release();
  }

  @Override
  public int pid() {
    return 1000 + generation();
  }

  @Override
  public Path console() {
    return Path.of("/nowhere");
  }

  @Override
  public void expect(Fd channel) {
    called("expect", Problem.REPLACE_PREPARE);
  }

  @Override
  public void connect(Fd channel) {
    called("connect", Problem.REPLACE_PREPARE);
  }

  @Override
  public void writeBack() {
    called("writeBack", Problem.REPLACE_PREPARE);
    writtenBack = true;
  }

  @Override
  public void handOver() {
    world.step(generation() + ".handOver");
    world.requireWrittenBack(writtenBack);
    cancelled = false;
    if (!alive || control.isLost()) {
      throw Problem.REPLACE_SWITCH.because("The control channel is broken.");
    }
    world.faults.failCall(Problem.REPLACE_SWITCH, "It fails.");
    world.faults.throwError();
    if (world.faults.takeAnswerLost()) {
      // The order itself never arrives.
      return;
    }
    int order = ++orders;
    SimulatedInstance target = world.processes.getLast();
    soon(world.latency(), () -> beginToSend(order, target));
  }

  private void beginToSend(int order, SimulatedInstance target) {
    if (cancelled || order != orders) {
      return;
    }
    before = state;
    boolean live = state.isLive();
    state = RunState.SENDING;
    if (live) {
      world.guest.stoppedMicros = world.time.micros();
      control.tell(new InstanceEvent.Stopped(generation(), world.guest.stoppedMicros));
    }
    soon(world.latency(), () -> send(order, target));
  }

  private void send(int order, SimulatedInstance target) {
    if (cancelled || order != orders) {
      return;
    }
    if (channelCut || !target.alive) {
      cancelled = true;
      state = before;
      control.tell(new InstanceEvent.HandOverFailed(generation(), "the channel broke"));
      target.soon(world.latency(), target::refuse);
      return;
    }
    state = RunState.SENT;
    target.loading = true;
    control.tell(new InstanceEvent.HandOverSent(generation(), world.time.micros()));
    target.soon(
        world.latency() + (world.faults.targetIsSlow() ? world.random.nextLong(3 * SECOND) : 0),
        world.faults.targetRefuses() ? target::refuse : () -> target.resumeGuest(before));
  }

  private void refuse() {
    loading = false;
    control.tell(new InstanceEvent.HandOverFailed(generation(), "refused"));
    world.time.later(world.latency(), () -> die("it exits"));
  }

  /// One that got the state of a guest which stood has it stand too, and reports nothing.
  private void resumeGuest(RunState as) {
    loading = false;
    state = as;
    if (!as.isLive()) {
      epoch = world.guest.epoch;
      stoppedByItself = true;
      return;
    }
    hasRun = true;
    epoch = ++world.guest.epoch;
    world.guest.resumedMicros = world.time.micros();
    control.tell(new InstanceEvent.Resumed(generation(), world.guest.resumedMicros));
  }

  @Override
  public void freeze() {
    world.step(generation() + ".freeze");
    if (world.faults.freezeFails() || undead) {
      throw Problem.REPLACE_SWITCH.because("A thread goes on.");
    }
    world.time.advance(world.random.nextLong(3 * MILLI));
    frozen = true;
    control.deliverAll();
    if (control.isLost()) {
      throw Problem.REPLACE_SWITCH.because("Some of its reports may not have come.");
    }
  }

  @Override
  public void thaw() {
    world.step(generation() + ".thaw");
    frozen = false;
    goOnByItself();
  }

  @Override
  public void condemn() {
    // The decision was the last look at the source, which nothing can come between here.
    condemned = true;
    world.step(generation() + ".condemn");
    world.time.later(world.latency(), () -> die("killed"));
  }

  @Override
  public void takeBack() {
    answered("takeBack");
    cancelled = true;
    if (state.afterRollBack() == RunState.AfterRollBack.CONTINUE) {
      goesOn();
    }
  }

  @Override
  public void resume() {
    answered("resume");
    goesOn();
  }

  private void goesOn() {
    if (state.isLive()) {
      return;
    }
    if (world.operatorInsists()) {
      epoch = ++world.guest.epoch;
    }
    state = state.hasSent() && before.isLive() ? before : RunState.RUNNING;
    stoppedByItself = false;
    hasRun = true;
    control.tell(new InstanceEvent.Resumed(generation(), world.time.micros()));
  }

  @Override
  public void wake() {
    called("wake", Problem.GUEST_STATE);
    if (state == RunState.SUSPENDED) {
      state = RunState.RUNNING;
    }
  }

  @Override
  public void reset() {
    called("reset", Problem.GUEST_STATE);
  }

  private void answered(String call) {
    world.step(generation() + "." + call);
    world.time.advance(world.random.nextLong(3 * MILLI));
    if (!alive) {
      throw Problem.REPLACE_LOST.because("The process has ended.");
    }
    if (control.isLost()) {
      throw Problem.REPLACE_STANDS.because("The control channel is broken.");
    }
    boolean lost = world.faults.takeAnswerLost();
    if (stands() || lost) {
      world.time.advance(PATIENCE);
      control.owe(true);
      if (lost || !stands()) {
        control.owe(false);
        control.tell(new InstanceEvent.Answering(generation()));
      }
      throw Problem.REPLACE_STANDS.because("No answer.");
    }
  }

  @Override
  public long populate() {
    called("populate", Problem.INTERNAL);
    return 0;
  }

  @Override
  public OptionalLong pageFaults() {
    return OptionalLong.empty();
  }

  @Override
  public Check rehearse(Release to, boolean anew, Consumer<String> begins) {
    throw new UnsupportedOperationException("the plan is not simulated");
  }

  @Override
  public List<Check> checks() {
    return List.of();
  }

  @Override
  public boolean sharesMemory() {
    return true;
  }

  @Override
  public String lastWords() {
    return "";
  }

  @Override
  public RunState runState() {
    called("runState", Problem.GUEST_STATE);
    return world.defect == Defect.DOUBT_FORGOTTEN && state.hasSent() ? RunState.PAUSED : state;
  }

  @Override
  public OptionalLong ramBytesCopied() {
    called("ramBytesCopied", Problem.INTERNAL);
    return OptionalLong.of(0);
  }

  @Override
  public long stateBytes() {
    return 4711;
  }

  @Override
  public boolean ended() {
    return !alive;
  }

  @Override
  public void powerOff() {}

  @Override
  public void end(Duration limit) {
    world.step(generation() + ".end");
    world.time.advance(world.latency());
    if (world.defect == Defect.END_LIES) {
      state = RunState.RUNNING;
      return;
    }
    kill();
  }

  @Override
  public void kill() {
    world.step(generation() + ".kill");
    if (undead) {
      if (!killed) {
        killed = true;
        world.time.later(world.random.nextLong(80 * SECOND), () -> die("killed long ago"));
      }
      world.time.advance(30 * SECOND);
      if (alive) {
        throw Problem.INTERNAL.because("It does not die.");
      }
    }
    world.time.advance(world.random.nextLong(5 * MILLI));
    die("killed");
    control.deliverAll();
  }

  @Override
  public void close() {
    world.step(generation() + ".close");
    if (world.isCurrent(control.owner()) && alive) {
      // The guest's hosting may still wait for its end.
      world.trace("generation " + generation() + " is let go of");
    }
  }
}
