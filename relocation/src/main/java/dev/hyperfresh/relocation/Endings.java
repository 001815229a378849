package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.vm.TroubleException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/// How containers end that this daemon has seen run: they are stopped, or end by themselves, and
/// give up all that they have but their files. Thread-safe.
///
/// Where an OS does not let go of one that has ended, it is asked again until it does or is gone.
/// The container is among those that run until then, and shows how it has ended.
final class Endings {
  private static final System.Logger LOG = System.getLogger(Endings.class.getName());

  /// How long the end of a container that was brought about may take to be told.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

  /// How soon an OS is asked again that has not let go of a container.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private final ContainerRegistry all;
  private final ContainerLife life;
  private final HealthWatch health;
  private final Restarts restarts;
  private final Consumer<Container> gone;

  /// Those that have ended and that their OS has not let go of.
  private final Set<Container> held = ConcurrentHashMap.newKeySet();

  /// @param gone told of each that has given up what it had; must not throw
  Endings(
      ContainerRegistry all,
      ContainerLife life,
      HealthWatch health,
      Restarts restarts,
      Consumer<Container> gone) {
    this.all = all;
    this.life = life;
    this.health = health;
    this.restarts = restarts;
    this.gone = gone;
  }

  /// Ends a container; its files stay. See [Systems#stop].
  ///
  /// @param told what is known of it then
  void stop(String name, Duration patience, UnaryOperator<Life> told) {
    Optional<Container> container = all.find(name);
    if (container.isPresent()) {
      stop(container.get(), patience, told);
    } else {
      stopEnded(name, told);
    }
  }

  private void stop(Container container, Duration patience, UnaryOperator<Life> told) {
    String name = container.name();
    if (held.contains(container)) {
      // It has ended; its OS is asked for the rest, and its lock is taken for that again and again.
      restarts.forget(name);
      tell(container, told);
      return;
    }
    if (!container.lock(HealthWatch.patience(container))) {
      throw Problem.CONTAINER_STATE.because(name + " is being moved or used by another command.");
    }
    try {
      if (!all.has(container)) {
        stopEnded(name, told);
        return;
      }
      tell(container, told);
      end(container, patience);
      giveUp(container);
    } finally {
      container.lock().unlock();
    }
  }

  /// What is written of a container does not have its end yet.
  private void tell(Container container, UnaryOperator<Life> told) {
    ContainerState how = container.state();
    all.lives()
        .change(
            container.name(),
            known -> {
              boolean isDone =
                  how.hasEnded()
                      && known.end().isEmpty()
                      && told.apply(known.ended(how)).equals(known.ended(how));
              return isDone ? known : told.apply(known);
            });
  }

  private void stopEnded(String name, UnaryOperator<Life> told) {
    all.requireIdle(name);
    var _ = all.lives().find(name).orElseThrow(() -> all.unknown(name));
    restarts.forget(name);
    all.lives().change(name, told);
  }

  private void end(Container container, Duration patience) {
    OsVm os = container.os();
    if (os.ended() || container.state().hasEnded()) {
      return;
    }
    try {
      new Inside(os, container.spec()).stop(patience);
    } catch (TroubleException e) {
      all.lives().note(container.name(), Life::notToldToStop);
      throw Problem.CONTAINER_STATE.because(container.name() + ": " + e.getMessage() + ".", e);
    }
    if (!container.hasEnded(END_LIMIT)) {
      container.ended(os, ContainerState.Ended.unknown(Instant.now(), ""));
    }
  }

  /// One that has ended is cleared up now, and not a moment later. Nobody else has to do with it
  /// from then on until [ContainerRegistry#done].
  ///
  /// @return what it was before
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  Life begin(String name) {
    settle(name);
    return all.begin(name);
  }

  /// As [#begin], and anybody may have to do with it. One that its OS has not let go of is not
  /// waited for.
  void settle(String name) {
    all.find(name)
        .filter(container -> container.state().hasEnded() && !held.contains(container))
        .ifPresent(this::clearUp);
  }

  /// A container that did not start, and of which its OS has something. It is listed as ended, and
  /// its OS is asked until it lets go.
  void left(Container container, ContainerState how) {
    container.ended(container.os(), how);
    all.add(container);
    holdsOn(container, new TroubleException("it was not cleared up when it did not start"));
  }

  /// Does what is to be done about a container that has ended. Waits for whoever works on it.
  void clearUp(Container container) {
    container.lock().lock();
    try {
      if (all.has(container) && container.state().hasEnded()) {
        giveUp(container);
      }
    } finally {
      container.lock().unlock();
    }
  }

  /// The calling thread has the lock of a container that has ended.
  private void giveUp(Container container) {
    if (container.os().vm().released()) {
      // The next daemon finds it ended.
      return;
    }
    String name = container.name();
    life.leave(container);
    health.leave(container);
    try {
      ContainerEnd.settle(container.state(), new SeenEnd(container));
    } catch (TroubleException | LinuxException e) {
      holdsOn(container, e);
      return;
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, name + " is still recorded as running", e);
    }
    held.remove(container);
    all.remove(container);
    gone.accept(container);
    restarts.consider(name);
  }

  private void holdsOn(Container container, RuntimeException why) {
    OsVm os = container.os();
    if (os.vm().released()) {
      LOG.log(System.Logger.Level.DEBUG, container.name() + " is left to the next daemon", why);
      return;
    }
    if (held.add(container)) {
      LOG.log(
          System.Logger.Level.WARNING,
          container.name() + " left something in OS " + os.name(),
          why);
      cutOff(container);
      askAgain(container);
    }
  }

  /// One thread a container asks, however many have found that it is held.
  private void askAgain(Container container) {
    life.after(
        AGAIN,
        () ->
            life.apart(
                container.name(),
                () -> {
                  try {
                    clearUp(container);
                  } finally {
                    if (held.contains(container) && !container.os().vm().released()) {
                      askAgain(container);
                    }
                  }
                }));
  }

  /// An OS that has not let go of a container is not to have its files.
  private static void cutOff(Container container) {
    try {
      new Inside(container.os(), container.spec()).cutOff();
    } catch (TroubleException | LinuxException e) {
      LOG.log(System.Logger.Level.WARNING, container.name() + " keeps its file server", e);
    }
  }

  /// The end of a container that this daemon has seen run.
  private final class SeenEnd implements EndSteps {
    private final Container container;

    SeenEnd(Container container) {
      this.container = container;
    }

    @Override
    public void write(ContainerState how) {
      if (how instanceof ContainerState.Ended ended) {
        container.place(container.placement(Optional.empty()).asEnded(ended));
      }
    }

    @Override
    public void clear() {
      OsVm os = container.os();
      if (!os.ended()) {
        new Inside(os, container.spec()).clear();
      }
      container.port().ifPresent(Tap::close);
    }

    @Override
    public void note(ContainerState how) {
      OsVm os = container.os();
      // If its OS is gone, the one that takes over from that OS may be known already.
      all.lives()
          .note(container.name(), known -> (os.ended() ? known : known.in(os.name())).ended(how));
    }

    @Override
    public void forget() {
      container.forget();
    }
  }
}
