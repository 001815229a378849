package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.TroubleException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// The end of a container in an OS that is simulated, through the lives of several daemons, with
/// faults at chosen steps. [ContainerEnd] runs unchanged in it, and [Placement] keeps what is
/// written down.
///
/// After every step it is looked whether the container's life has ended while its OS still has
/// something of it; at the end, whether anything is left, and whether it is known how it ended.
final class SimulatedEnd implements EndSteps {
  /// What happens beside what is asked for.
  enum Fault {
    /// A step is not done, and fails.
    REFUSED,
    /// A step is done, and seems to fail.
    UNHEARD,
    /// The daemon is killed before a step, or after it.
    KILLED,
    KILLED_AFTER,
    /// The OS is gone.
    OS_DIES,
    /// What is to be written down this once cannot be.
    DISK_FULL
  }

  /// @param step at which it happens, counted from 0 through all lives of daemons
  record Planned(int step, Fault fault) {}

  /// How the container ended.
  static final ContainerState.Ended HOW =
      new ContainerState.Ended(
          OptionalInt.of(0), OptionalInt.empty(), false, Instant.parse("2026-01-01T00:00:00Z"), "");

  private static final int MOST_STEPS = 50;

  private final List<Planned> faults;
  private final List<String> trace = new ArrayList<>();
  private int step;

  // The OS.
  private boolean osLives = true;
  private boolean osHasIt = true;
  private boolean osKnowsHow = true;

  // This host.
  private Optional<Placement> placed =
      Optional.of(
          new Placement(
              new ContainerSpec("job", Path.of("/bundle"), Optional.empty()),
              "os1",
              7,
              Optional.empty()));
  private Optional<ContainerState> life = Optional.empty();

  SimulatedEnd(List<Planned> faults) {
    this.faults = faults;
  }

  /// What happened, for whoever looks into a run.
  List<String> trace() {
    return trace;
  }

  /// The daemon is killed: no step catches it.
  private static final class KilledError extends Error {
    private static final long serialVersionUID = 1;
  }

  /// Lives of daemons until nothing is left to be done.
  ///
  /// @return how it ended, as the last one knows
  ContainerState run() {
    // The first has seen it end.
    for (boolean seen = true; placed.isPresent(); seen = false) {
      trace.add(seen ? "daemon" : "next daemon");
      try {
        settle(seen);
      } catch (KilledError e) {
        trace.add("killed");
      }
    }
    require(!osLives || !osHasIt, "something of it is left in the OS");
    return life.orElseThrow(() -> new AssertionError("nobody knows that it has ended"));
  }

  private void settle(boolean seen) {
    while (placed.isPresent()) {
      try {
        ContainerEnd.settle(seen ? HOW : found(), this);
      } catch (TroubleException e) {
        trace.add("again");
      } catch (HyperFreshException e) {
        if (seen) {
          // It does no more about that.
          return;
        }
        trace.add("again");
      }
    }
  }

  /// What the next daemon finds out.
  private ContainerState found() {
    Optional<ContainerState.Ended> written = placed.flatMap(Placement::ended);
    if (written.isPresent()) {
      return written.get();
    }
    if (!osLives) {
      return new ContainerState.Lost("os1", Instant.EPOCH);
    }
    return osKnowsHow ? HOW : ContainerState.Ended.unknown(Instant.EPOCH, "");
  }

  private static void require(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private void happens(String name, Runnable work) {
    int now = step++;
    require(now < MOST_STEPS, "it does not end");
    Optional<Fault> fault =
        faults.stream().filter(one -> one.step() == now).map(Planned::fault).findFirst();
    trace.add(now + " " + name + fault.map(one -> " " + one).orElse(""));
    switch (fault.orElse(null)) {
      case null -> {}
      case REFUSED -> throw refusal(name);
      case KILLED -> throw new KilledError();
      case OS_DIES -> osLives = false;
      case DISK_FULL -> {
        throw name.equals("clear")
            ? new TroubleException("no space")
            : Problem.DAEMON_STATE.because("no space");
      }
      case UNHEARD, KILLED_AFTER -> {}
    }
    work.run();
    require(
        life.isEmpty() || !osLives || !osHasIt,
        "its life has ended, and its OS still has something of it");
    if (fault.filter(one -> one == Fault.UNHEARD).isPresent()) {
      throw refusal(name);
    }
    if (fault.filter(one -> one == Fault.KILLED_AFTER).isPresent()) {
      throw new KilledError();
    }
  }

  private static RuntimeException refusal(String name) {
    return name.equals("clear")
        ? new TroubleException(name + " is not done")
        : Problem.DAEMON_STATE.because(name + " is not done");
  }

  @Override
  public void write(ContainerState how) {
    happens(
        "write",
        () -> {
          if (how instanceof ContainerState.Ended ended) {
            placed = placed.map(at -> at.asEnded(ended));
          }
        });
  }

  @Override
  public void clear() {
    happens(
        "clear",
        () -> {
          osHasIt = false;
          osKnowsHow = false;
        });
  }

  @Override
  public void note(ContainerState how) {
    happens("note", () -> life = Optional.of(life.orElse(how)));
  }

  @Override
  public void forget() {
    happens("forget", () -> placed = Optional.empty());
  }
}
