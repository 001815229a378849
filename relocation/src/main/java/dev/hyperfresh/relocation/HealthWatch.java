package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.vm.TroubleException;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/// Looks now and then whether containers work, by the [HealthCheck] of each. Thread-safe.
///
/// Whoever checks holds the container's lock: no check runs while it is being moved, and a move
/// waits for one that does.
final class HealthWatch {
  private static final Duration SOON = Duration.ofSeconds(1);

  /// What a check takes beyond its own limit, in an OS that is busy.
  private static final Duration SLACK = Duration.ofSeconds(10);

  /// How long a container that has just come may be looked at.
  private static final Duration SETTLE_LIMIT = Duration.ofMinutes(5);

  private final ContainerLife life;
  private final Consumer<Container> changed;
  private final Map<Container, Watched> watched = new ConcurrentHashMap<>();

  /// @param life has done what waits
  /// @param changed told of a container that has another [Health.State]
  HealthWatch(ContainerLife life, Consumer<Container> changed) {
    this.life = life;
    this.changed = changed;
  }

  private record Watched(HealthCheck check, Instant startedAt, Health health) {
    Watched with(Health next) {
      return new Watched(check, startedAt, next);
    }
  }

  /// Looks after a container from now on, if it has a check.
  void follow(Container container, Instant startedAt) {
    container
        .spec()
        .health()
        .ifPresent(check -> {
          watched.put(container, new Watched(check, startedAt, Health.UNKNOWN));
          lookAfter(SOON, container);
        });
  }

  void leave(Container container) {
    watched.remove(container);
  }

  /// What is known; empty when the container has no check.
  Optional<Health> of(Container container) {
    return Optional.ofNullable(watched.get(container)).map(Watched::health);
  }

  private void lookAfter(Duration delay, Container container) {
    life.after(delay, () -> life.apart(container.name(), () -> look(container)));
  }

  private void look(Container container) {
    Watched now = watched.get(container);
    if (now == null || container.os().vm().released()) {
      return;
    }
    if (!container.lock().tryLock()) {
      lookAfter(SOON, container);
      return;
    }
    try {
      if (container.state() instanceof ContainerState.Running) {
        var _ = check(container);
      }
    } finally {
      container.lock().unlock();
      lookAfter(now.check().interval(), container);
    }
  }

  /// How long whoever wants a container's lock may have to wait for a check.
  static Duration patience(Container container) {
    return container
        .spec()
        .health()
        .map(check -> check.timeout().plus(SLACK))
        .orElse(Duration.ZERO);
  }

  /// Checks a container, whose lock the calling thread holds.
  ///
  /// @return why it does not work; empty when it does, or has no check
  Optional<String> check(Container container) {
    Watched now = watched.get(container);
    if (now == null) {
      return Optional.empty();
    }
    Optional<String> failure = ask(container, now.check());
    Instant at = Instant.now();
    Watched next =
        watched.computeIfPresent(
            container,
            (_, was) ->
                was.with(
                    failure
                        .map(why -> was.health().failed(was.check(), why, was.startedAt(), at))
                        .orElseGet(() -> was.health().worked(at))));
    if (next != null && next.health().state() != now.health().state()) {
      changed.accept(container);
    }
    return failure;
  }

  private static Optional<String> ask(Container container, HealthCheck check) {
    try {
      return new Inside(container.os(), container.spec()).health(check);
    } catch (TroubleException | LinuxException e) {
      return Optional.of(String.valueOf(e.getMessage()));
    }
  }

  /// Checks a container that has come to another OS until it works or has failed as often as makes
  /// it unhealthy. The calling thread holds its lock.
  ///
  /// @return why it does not work; empty when it does, or has no check
  Optional<String> settle(Container container) {
    int most = container.spec().health().map(HealthCheck::retries).orElse(0);
    long deadline = System.nanoTime() + SETTLE_LIMIT.toNanos();
    Optional<String> failure = check(container);
    for (int failures = 1;
        failure.isPresent()
            && failures < most
            && System.nanoTime() < deadline
            && !container.os().vm().released()
            && !container.state().hasEnded();
        failures++) {
      LockSupport.parkNanos(SOON.toNanos());
      failure = check(container);
    }
    return failure;
  }
}
