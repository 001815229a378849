package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hyperplexor.Rollout.Audience;
import dev.hyperfresh.hyperplexor.Rollout.Entry;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// All containers of an OS as a [Rollout] moves them: each by a move of its own to another OS.
/// Thread-safe.
public final class ContainerRollout implements Rollout.Movers<RelocationRecord> {
  private final Systems systems;
  private final String from;
  private final String to;

  /// @param from the name of the OS that they leave
  /// @param to the name of the OS that they go to
  public ContainerRollout(Systems systems, String from, String to) {
    this.systems = systems;
    this.from = from;
    this.to = to;
  }

  @Override
  public String noun() {
    return "Container";
  }

  @Override
  public String to() {
    return to;
  }

  @Override
  public boolean named() {
    return false;
  }

  /// @throws HyperFreshException [Problem#OS_UNKNOWN]
  @Override
  public List<Entry<RelocationRecord>> look(Audience audience) {
    OsVm old = systems.get(from);
    OsVm target = systems.get(to);
    List<Entry<RelocationRecord>> entries = new ArrayList<>();
    systems.containers().stream()
        .filter(container -> container.os().equals(old))
        .filter(container -> !container.state().hasEnded())
        .map(container -> look(container, target))
        .forEach(entries::add);
    systems.endedIn(from).stream().map(this::hasEnded).forEach(entries::add);
    return entries;
  }

  private Entry<RelocationRecord> hasEnded(String name) {
    Entry<RelocationRecord> entry = Entry.of(name, from, Outcome.LEFT_ALONE);
    return entry.because(
        Outcome.LEFT_ALONE,
        Problem.CONTAINER_STATE.because("It has ended: " + systems.view(name).state().how() + "."));
  }

  private Entry<RelocationRecord> look(Container container, OsVm target) {
    Entry<RelocationRecord> entry = Entry.of(container.name(), from, Outcome.MOVABLE);
    try {
      List<String> obstacles = systems.obstacles(container, target);
      return obstacles.isEmpty()
          ? entry
          : entry.because(
              Outcome.LEFT_ALONE, Problem.RELOCATE_PREFLIGHT.because(String.join(" ", obstacles)));
    } catch (HyperFreshException kept) {
      return entry.because(Outcome.LEFT_ALONE, kept);
    }
  }

  @Override
  public Entry<RelocationRecord> move(Entry<RelocationRecord> entry, Progress progress) {
    RelocationRecord record = systems.relocate(entry.name(), to, Transport.MAPPED, progress);
    boolean committed = record.outcome().equals("committed");
    return new Entry<>(
        entry.name(),
        from,
        committed ? Outcome.COMMITTED : Outcome.ROLLED_BACK,
        Optional.of(record),
        committed ? "" : Problem.RELOCATE_ROLLED_BACK.code(),
        record.detail());
  }

  @Override
  public boolean isUntouched(HyperFreshException e) {
    return switch (e.problem()) {
      case RELOCATE_PREFLIGHT, CONTAINER_STATE, CONTAINER_UNKNOWN, OS_FULL, OS_UNKNOWN -> true;
      default -> false;
    };
  }

  @Override
  public Optional<HyperFreshException> ended(String name) {
    return state(name)
        .filter(ContainerState::hasEnded)
        .map(
            how -> Problem.RELOCATE_LOST.because("It was moved and has ended: " + how.how() + "."));
  }

  /// Nothing of one that was removed.
  private Optional<ContainerState> state(String name) {
    try {
      return Optional.of(systems.view(name).state());
    } catch (HyperFreshException removed) {
      return Optional.empty();
    }
  }

  @Override
  public String fault(Entry<RelocationRecord> entry) {
    try {
      ContainerView now = systems.view(entry.name());
      if (now.state().hasEnded()) {
        return "It has ended: " + now.state().how() + ".";
      }
      return now.os().equals(to) ? "" : "It runs in " + now.os() + ".";
    } catch (HyperFreshException e) {
      return e.detail();
    }
  }

  @Override
  public String summary(RelocationRecord record) {
    return record.frozenMs().isPresent()
        ? String.format(Locale.ROOT, "it was paused for %.0f ms", record.frozenMs().getAsDouble())
        : record.detail();
  }
}
