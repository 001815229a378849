package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.RunState;
import java.time.Duration;
import java.util.Optional;

/// Which of the processes that an earlier daemon left of a guest has it. Where there is one, no
/// other process of the guest is left.
sealed interface Verdict {
  /// One process has the guest.
  ///
  /// @param authority that one
  /// @param finishes whether it is the target of the replacement that was under way
  /// @param targetIsGone whether it is the source of one, whose target is no more
  /// @param targetRan whether that target has run the guest; empty when nobody knows
  record Kept(
      GuestFile.Tenant authority,
      boolean finishes,
      boolean targetIsGone,
      Optional<Boolean> targetRan)
      implements Verdict {
    /// No replacement was under way, as far as the processes tell.
    static Kept alone(GuestFile.Tenant authority) {
      return new Kept(authority, false, false, Optional.empty());
    }
  }

  /// No process is left that could run the guest.
  record Ended() implements Verdict {}

  /// As [Replacement] waits for a target that alone can still run the guest.
  Duration ONLY_HOPE = Duration.ofSeconds(60);

  /// The processes and what they left behind.
  interface Remains {
    /// Whether the process of `tenant` is there.
    boolean lives(GuestFile.Tenant tenant);

    /// As [dev.hyperfresh.hypervisor.Hypervisor#goOn].
    void goOn(GuestFile.Tenant tenant);

    /// As [dev.hyperfresh.hypervisor.Hypervisor#attach].
    Instance attach(GuestFile.Tenant tenant, InstanceEvents events);

    /// As [dev.hyperfresh.hypervisor.Hypervisor#end].
    void end(GuestFile.Tenant tenant);

    /// As [dev.hyperfresh.hypervisor.Reattacher#hasRun].
    Optional<Boolean> hasRun(int generation);

    /// Waits until `heard` has heard what it waits for, at most `limit`.
    void await(Heard heard, Duration limit);
  }

  /// What a target reports while it is decided about.
  final class Heard implements InstanceEvents {
    private final int generation;
    private boolean resumed;
    private boolean over;

    Heard(int generation) {
      this.generation = generation;
    }

    @Override
    public synchronized void on(InstanceEvent event) {
      if (event.generation() != generation) {
        return;
      }
      resumed |= event instanceof InstanceEvent.Resumed;
      over |= resumed || event instanceof InstanceEvent.Ended;
      notifyAll();
    }

    /// Whether it has resumed the guest.
    synchronized boolean resumed() {
      return resumed;
    }

    /// Whether it has resumed the guest or ended.
    synchronized boolean over() {
      return over;
    }
  }

  /// Decides, and ends the process that does not have the guest.
  ///
  /// What was written down says who there is; only the hypervisors themselves say who runs the
  /// guest. A target that waits may resume the guest at any moment, also between a question and its
  /// answer. So it is listened to first, then asked, then frozen, and what it reported until then
  /// counts: the same care as [Replacement] has when it gives up.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException when a hypervisor that may be the
  ///   authority does not answer; nothing was ended then, and it may be tried again
  static Verdict of(GuestFile file, Remains remains) {
    GuestFile.Tenant source = file.running();
    Optional<GuestFile.Tenant> target = file.waiting();
    if (target.isPresent() && remains.lives(target.get())) {
      return between(source, target.get(), remains);
    }
    if (!remains.lives(source)) {
      return new Ended();
    }
    return target.isPresent()
        ? new Kept(source, false, true, remains.hasRun(target.get().generation()))
        : Kept.alone(source);
  }

  private static Verdict between(
      GuestFile.Tenant source, GuestFile.Tenant target, Remains remains) {
    Heard heard = new Heard(target.generation());
    // A daemon that was killed while it gave a switch up may have left the target stopped. What it
    // had decided is not known, so that all is decided anew.
    remains.goOn(target);
    try (Instance instance = remains.attach(target, heard)) {
      // Whoever does not wait for a state any more has it, whatever it does with it.
      if (instance.runState() != RunState.AWAITING
          || hasResumed(source, instance, heard, remains)) {
        if (remains.lives(source)) {
          // What the source is in may end with it.
          Contained.run("settling generation " + target.generation(), instance::settle);
          remains.end(source);
        }
        return new Kept(target, true, false, Optional.empty());
      }
      instance.kill();
    }
    return remains.lives(source) ? new Kept(source, false, true, Optional.of(false)) : new Ended();
  }

  /// Asked of a target that waited for the guest's state a moment ago. It is stopped when this is
  /// false.
  private static boolean hasResumed(
      GuestFile.Tenant source, Instance target, Heard heard, Remains remains) {
    if (!remains.lives(source)) {
      // What the source sent is on its way; there is nobody else to go on.
      remains.await(heard, ONLY_HOPE);
      return heard.resumed() || target.runState() != RunState.AWAITING;
    }
    target.freeze();
    if (heard.resumed() || remains.hasRun(target.generation()).orElse(false)) {
      target.thaw();
      return true;
    }
    return false;
  }
}
