package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.vm.TroubleException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/// Orders to move a container: what is looked into before, which places it takes in both operating
/// systems, and that it is moved back when it does not work where it has come to. [Moves] makes the
/// moves. Thread-safe.
///
/// @param inside the names of the containers that are in an OS
record MoveOrders(
    Moves moves, HealthWatch health, Occupancy occupancy, Function<String, List<String>> inside) {
  /// Moves a container, and returns when all of its memory is there. See [Systems#relocate].
  RelocationRecord relocate(
      Container container, OsVm target, Transport transport, boolean checked, Progress progress) {
    return moves.await(
        container.name(),
        () -> Held.during(container, () -> move(container, target, transport, checked, progress)));
  }

  private RelocationRecord move(
      Container container, OsVm target, Transport transport, boolean checked, Progress progress) {
    String name = container.name();
    progress.step(
        "Planned", name + " moves from " + container.os().name() + " to " + target.name());
    List<String> obstacles = found(container, target, checked);
    if (!obstacles.isEmpty()) {
      throw Problem.RELOCATE_PREFLIGHT.because(String.join(" ", obstacles));
    }
    OsVm from = container.os();
    try (Occupancy.Place _ = occupancy.keep(from.name(), name + " is leaving")) {
      RelocationRecord record = arrive(container, target, transport, progress);
      if (checked && record.outcome().equals("committed")) {
        requireHealth(container, from, transport, progress);
      }
      return record;
    }
  }

  private RelocationRecord arrive(
      Container container, OsVm target, Transport transport, Progress progress) {
    String to = target.name();
    // Its programs see the difference between the two clocks.
    target.setClock("slew");
    try (Occupancy.Place _ =
        occupancy.take(to, container.name() + " is arriving", () -> inside.apply(to))) {
      return moves.moveInTime(container, target, transport, progress);
    }
  }

  /// Moves a container back that does not work where it has come to.
  private void requireHealth(
      Container container, OsVm from, Transport transport, Progress progress) {
    String name = container.name();
    String to = container.os().name();
    Optional<String> failure = health.settle(container);
    if (failure.isEmpty()) {
      return;
    }
    if (container.os().vm().released()) {
      throw Problem.RELOCATE_UNFINISHED.because(
          name + " moved to " + to + ", and this daemon ended before its health check passed.");
    }
    progress.step("Unhealthy", "its health check fails in " + to + ": " + failure.get());
    String now =
        container.state().hasEnded() ? "It has ended" : back(container, from, transport, progress);
    throw Problem.RELOCATE_UNHEALTHY.because(
        name
            + " moved to "
            + to
            + ", where its health check fails: "
            + failure.get()
            + ". "
            + now
            + ".");
  }

  private String back(Container container, OsVm from, Transport transport, Progress progress) {
    String to = container.os().name();
    String stays = "It could not be moved back and runs in " + to + ": ";
    try (Occupancy.Place _ = occupancy.keep(to, container.name() + " is leaving")) {
      RelocationRecord record = arrive(container, from, transport, progress);
      return record.outcome().equals("committed")
          ? "It was moved back and runs in " + from.name()
          : stays + record.detail();
    } catch (HyperFreshException e) {
      return switch (e.problem()) {
        // It runs nowhere, or nobody knows yet.
        case RELOCATE_LOST, RELOCATE_UNFINISHED -> throw e;
        default -> stays + e.detail();
      };
    } catch (TroubleException | LinuxException e) {
      return stays + e.getMessage();
    }
  }

  /// What keeps a container from being moved, a sentence each; empty when nothing does.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when it has ended, or is being moved
  List<String> obstacles(Container container, OsVm target) {
    return Held.during(container, () -> found(container, target, true));
  }

  private List<String> found(Container container, OsVm target, boolean checked) {
    List<String> found = new ArrayList<>();
    if (container.os().equals(target)) {
      found.add(container.name() + " is already in " + target.name() + ".");
    }
    if (target.ended()) {
      found.add("OS " + target.name() + " has ended.");
    }
    if (target.isFull()) {
      found.add(target.full() + ".");
    }
    if (found.isEmpty()) {
      found.addAll(new Inside(container.os(), container.spec()).obstacles());
      if (checked) {
        health.check(container).ifPresent(why -> found.add("Its health check fails: " + why + "."));
      }
    }
    return found;
  }
}
