package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/// A guest as its replacement sees it. [Guest] is the real one; the simulation has one that lives
/// in virtual time, so that the same [Replacement] is run against both. For one thread.
interface Movable {
  /// What the guest is.
  GuestSpec spec();

  /// The kinds of hypervisor that can run it.
  Kinds kinds();

  /// What executes its code.
  AcceleratorChoice accelerator();

  /// Its network ports.
  Endpoints endpoints();

  /// The instance that runs the guest.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when none does
  Instance running();

  /// Whether an instance is the process that was adopted, which something else started.
  boolean isForeign(Instance instance);

  /// The generation of the next instance.
  int nextGeneration();

  /// Everything an instance of the next generation is started with.
  Launch launch(Release release, List<Fd> queues);

  /// What the instances reported and nobody has looked at yet, oldest first.
  Queue<InstanceEvent> mailbox();

  /// Takes note, when the replacement is over, of what the replacement took out of the mailbox and
  /// had no use for.
  void heard(List<InstanceEvent> events);

  /// Takes the oldest event, or waits for one.
  ///
  /// @return null when none came within `nanos`
  @Nullable InstanceEvent await(long nanos);

  /// Begins to watch the guest's heartbeat, if it has one.
  Optional<Pulse.Watch> observe();

  /// The guest's vCPUs stood still, and its clocks with them. Both times by the host's wall clock,
  /// microseconds since 1970.
  ///
  /// @param stoppedMicros empty when nobody told when they stopped
  /// @param resumedMicros empty when they still stand
  void stood(OptionalLong stoppedMicros, OptionalLong resumedMicros);

  /// Writes down, for the next daemon, who runs the guest and who waits to.
  void writeDown(Optional<Instance> waiting);

  /// Makes the state visible.
  void publish(GuestView.State state, String detail);

  /// `next` is the authority from now on.
  void adopt(Instance next);

  /// As [Reattacher#hasRun], of this guest.
  Optional<Boolean> hasRun(int generation);

  /// A replacement is over and an instance runs the guest, unless that ended meanwhile.
  ///
  /// @param undead another one that could not be ended: the source of a replacement that was
  ///   committed, or the target of one that was not; it belongs to the guest now
  void goOn(Optional<Instance> undead);

  /// A replacement is over; the guest's instance lives and does not go on for now. It is left
  /// alone, since it alone holds the guest's state, and continued when it can be.
  ///
  /// @param target one that may run the guest and could not be ended, for whose end it waits; it
  ///   belongs to the guest now
  void stand(String why, Optional<Instance> target);

  /// A replacement is over; the guest's instance lives, and somebody may have run the guest since
  /// it stopped it. Only an explicit resume continues it, under whatever daemon.
  void stayInDoubt(String why);

  /// Has the guest's instance do what the guest asked of its old one, too late for that.
  void carryOut(InstanceEvent asked);

  /// No instance runs the guest any more. A process that is there all the same is left: it may hold
  /// the guest's state, and the guest then stands in doubt.
  void giveUp(String detail);
}
