package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.SimulatedTime.SECOND;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Queue;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// One daemon's life with the guest: what is forgotten when it is killed.
final class SimulatedDaemon implements Movable, Hosted, Verdict.Remains {
  private static final Duration BUDGET = Duration.ofSeconds(1);
  private static final MemFd MEMORY = MemFd.create("simulated", 16 << 20);

  final Hosting hosting = new Hosting(this);
  private final SimulatedWorld world;
  private final Queue<InstanceEvent> mailbox = new ArrayDeque<>();
  private GuestView.State state = GuestView.State.STOPPED;
  private boolean recovering;
  private boolean busy;
  private boolean operatorInsists;

  SimulatedDaemon(SimulatedWorld world) {
    this.world = world;
  }

  boolean isReplacing() {
    return state == GuestView.State.REPLACING;
  }

  boolean isRecovering() {
    return recovering;
  }

  /// Whether an operator has the guest go on, whoever may have run it.
  boolean operatorInsists() {
    return operatorInsists;
  }

  void end() {
    world.guest.offUnheard |= world.guest.isOff;
    world.processes.forEach(process -> process.control.forget(this));
  }

  // As [Recovery] does.
  void takeBack() {
    GuestFile written = world.disk.file();
    if (written == null) {
      // One that was killed and does not die yet has nothing of the guest.
      if (world.processes.stream().anyMatch(process -> process.alive && !process.killed)) {
        throw world.broken("a process lives that nobody knows of");
      }
      return;
    }
    state = GuestView.State.RECOVERING;
    recovering = true;
    endStrays(written);
    for (int attempt = 0; attempt < 40 && recovering; attempt++) {
      try {
        settle(written, Verdict.of(written, this));
        recovering = false;
      } catch (HyperFreshException | LinkageError e) {
        world.trace("not taken back: " + e.getMessage());
        world.time.advance(SECOND);
      }
    }
  }

  private void endStrays(GuestFile written) {
    for (SimulatedInstance process : world.living()) {
      boolean known =
          process.generation() == written.running().generation()
              || written.waiting().filter(w -> w.generation() == process.generation()).isPresent();
      if (!known) {
        world.trace("generation " + process.generation() + " is a stray");
        if (process.isLive() && process.epoch == world.guest.epoch) {
          throw world.broken(
              "generation " + process.generation() + " has the guest and is a stray");
        }
        Contained.run("ending a stray", process::kill);
      }
    }
  }

  private void settle(GuestFile written, Verdict verdict) {
    switch (verdict) {
      case Verdict.Ended _ -> {
        world.disk.forget();
        state = GuestView.State.STOPPED;
      }
      case Verdict.Kept kept -> {
        SimulatedInstance survivor = process(kept.authority());
        survivor.control.attach(
            this,
            event -> {
              mailbox.add(event);
              settleIfIdle();
            });
        world.step("taking back");
        state = GuestView.State.RUNNING;
        try {
          hosting.takeBack(
              survivor,
              kept.targetIsGone(),
              kept.targetRan(),
              written.doubt().filter(_ -> !kept.finishes()));
        } catch (HyperFreshException | LinkageError e) {
          state = GuestView.State.RECOVERING;
          hosting.letGo();
          throw e;
        }
      }
    }
  }

  /// The guest has one thread: what is reported while it works is looked at when it has ended.
  private void settleIfIdle() {
    if (!busy && !recovering && hosting.instance() != null) {
      working(() -> "");
    }
  }

  String working(Supplier<String> work) {
    busy = true;
    try {
      String outcome = work.get();
      while (!mailbox.isEmpty()) {
        hosting.settle();
      }
      return outcome;
    } finally {
      busy = false;
    }
  }

  String replace() {
    if (hosting.instance() == null || recovering) {
      return "no guest";
    }
    // As the plan does.
    if (hosting.hindrance().isPresent()) {
      return "refused";
    }
    RunState stands = ((SimulatedInstance) hosting.instance()).state;
    if (!stands.isLive()) {
      return "refused";
    }
    try {
      return new Replacement(
              "sim", this, world.next, new BlackoutLimit(BUDGET), world, () -> {}, Progress.NONE)
          .run()
          .outcome()
          .label();
    } catch (HyperFreshException e) {
      return e.problem().code();
    }
  }

  String resume() {
    Instance current = hosting.instance();
    if (current == null || recovering) {
      return "no guest";
    }
    operatorInsists = hosting.doubt().isPresent();
    try {
      hosting.resume(current);
      return "resumed";
    } catch (HyperFreshException e) {
      return e.problem().code();
    } catch (LinkageError e) {
      return "HF-INTERNAL";
    } finally {
      operatorInsists = false;
    }
  }

  // ---- Remains ----

  private SimulatedInstance process(GuestFile.Tenant tenant) {
    return world.process(tenant.generation());
  }

  @Override
  public boolean lives(GuestFile.Tenant tenant) {
    return process(tenant).alive;
  }

  @Override
  public void goOn(GuestFile.Tenant tenant) {
    process(tenant).thaw();
  }

  @Override
  public Instance attach(GuestFile.Tenant tenant, InstanceEvents events) {
    SimulatedInstance process = process(tenant);
    process.control.attach(this, events);
    process.called("attach", Problem.GUEST_STATE);
    return process;
  }

  @Override
  public void end(GuestFile.Tenant tenant) {
    process(tenant).kill();
  }

  @Override
  public void await(Verdict.Heard heard, Duration limit) {
    world.time.passUntil(heard::over, world.time.now() + limit.toNanos());
  }

  // ---- Hosted ----

  @Override
  public void write(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
    world.step("write down");
    world.disk.write(running, waiting, doubt);
  }

  @Override
  public void undeadGone(boolean source) {
    if (source) {
      world.ports.keep();
    } else {
      world.ports.drop();
    }
  }

  @Override
  public void gone(GuestEnd end, String why) {
    world.step("write down that it is gone");
    if (world.processes.stream().anyMatch(SimulatedInstance::isLive)) {
      throw world.broken("the guest is forgotten, and a process has it");
    }
    world.disk.forget();
  }

  @Override
  public String name() {
    return "sim";
  }

  @Override
  public Optional<Boolean> hasRun(int which) {
    world.step("hasRun");
    return world.logged(which);
  }

  @Override
  public Queue<InstanceEvent> mailbox() {
    return mailbox;
  }

  @Override
  public void publish(GuestView.State next, String detail) {
    world.trace("the guest is " + next + (detail.isEmpty() ? "" : ": " + detail));
    state = next;
  }

  // ---- Movable ----

  @Override
  public GuestSpec spec() {
    return SimulatedDisk.SPEC;
  }

  @Override
  public Kinds kinds() {
    return new Kinds(new SimulatedHypervisor(world, this));
  }

  @Override
  public AcceleratorChoice accelerator() {
    return SimulatedDisk.TCG;
  }

  @Override
  public boolean isForeign(Instance instance) {
    return false;
  }

  @Override
  public Endpoints endpoints() {
    return world.ports;
  }

  @Override
  public Instance running() {
    Instance current = hosting.instance();
    if (current == null) {
      throw Problem.GUEST_STATE.because("The guest is stopped.");
    }
    return current;
  }

  @Override
  public int nextGeneration() {
    return world.generation + 1;
  }

  Launch launch(Release release) {
    return launch(release, List.of());
  }

  @Override
  public Launch launch(Release release, List<Fd> queues) {
    world.generation++;
    return new Launch(
        SimulatedDisk.SPEC,
        release,
        Accelerator.TCG,
        MEMORY,
        queues,
        Path.of("/nowhere"),
        Path.of("/nowhere"),
        world.generation,
        event -> {
          mailbox.add(event);
          settleIfIdle();
        });
  }

  @Override
  public void heard(List<InstanceEvent> events) {
    hosting.heard(events);
  }

  @Override
  public @Nullable InstanceEvent await(long nanos) {
    world.step("await");
    world.time.passUntil(() -> !mailbox.isEmpty(), world.time.now() + nanos);
    return mailbox.poll();
  }

  @Override
  public Optional<Pulse.Watch> observe() {
    return Optional.empty();
  }

  @Override
  public void writeDown(Optional<Instance> waiting) {
    hosting.write(waiting);
  }

  @Override
  public void stood(OptionalLong stopped, OptionalLong resumed) {
    if (stopped.isPresent()
        && resumed.isPresent()
        && resumed.getAsLong() == world.guest.resumedMicros
        && stopped.getAsLong() != world.guest.stoppedMicros) {
      throw world.broken("the clocks are said to have stopped at " + stopped);
    }
  }

  @Override
  public void adopt(Instance adopted) {
    hosting.adopt(adopted);
  }

  @Override
  public void goOn(Optional<Instance> undead) {
    hosting.goOn(undead);
  }

  @Override
  public void stand(String why, Optional<Instance> target) {
    hosting.stand(why, target);
  }

  @Override
  public void stayInDoubt(String why) {
    hosting.stayInDoubt(why);
  }

  @Override
  public void carryOut(InstanceEvent asked) {
    hosting.carryOut(asked);
  }

  @Override
  public void giveUp(String detail) {
    hosting.giveUp(detail);
  }
}
