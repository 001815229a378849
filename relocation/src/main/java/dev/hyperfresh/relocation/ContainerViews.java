package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.List;
import java.util.Optional;

/// What everybody may see of containers, those that run and those that have ended. Thread-safe.
///
/// @param all which there are
/// @param hosts where they are
/// @param restarts what is to come for those that have ended
/// @param health how those that run are
record ContainerViews(ContainerRegistry all, Hosts hosts, Restarts restarts, HealthWatch health) {
  /// All of them, by name.
  List<ContainerView> list() {
    return all.lives().list().stream().flatMap(known -> of(known).stream()).toList();
  }

  /// Any of them.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  ContainerView get(String name) {
    return find(name).orElseThrow(() -> all.unknown(name));
  }

  Optional<ContainerView> find(String name) {
    return all.lives().find(name).flatMap(this::of);
  }

  /// The names of those that have ended and ran last in an OS.
  List<String> endedIn(String os) {
    return list().stream()
        .filter(view -> view.state().hasEnded() && view.os().equals(os))
        .map(ContainerView::name)
        .toList();
  }

  private Optional<ContainerView> of(Life found) {
    Optional<Container> container = all.find(found.name());
    if (container.isPresent()) {
      return container.map(one -> of(found, one.state(), one.os().name(), one.pid()));
    }
    Life known = all.known(found.name()).orElse(found);
    return known.end().map(state -> of(known, state, known.os(), 0));
  }

  private ContainerView of(Life known, ContainerState state, String os, int pid) {
    Optional<Restarts.Next> next = restarts.next(known.name());
    return new ContainerView(
        known.spec(),
        state,
        os,
        hosts.find(os).map(where -> where.settings().release().kernelVersion()),
        pid,
        all.folderOf(known.name()).log(),
        known.restart(),
        known.restarts(),
        next.map(Restarts.Next::at),
        next.map(Restarts.Next::failure).orElse(""),
        all.find(known.name()).flatMap(health::of));
  }
}
