package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.TroubleException;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// Notices that containers end, and has done what is to be done then. Thread-safe.
///
/// In each container's OS a program waits for the end of its first process. What it says, and
/// everything that follows from it, is decided on one thread, `hf-life`; what asks an OS is done on
/// a thread of its own, `hf-life-NAME`, because an OS may hang.
final class ContainerLife implements Restarts.Pace, AutoCloseable {
  private static final System.Logger LOG = System.getLogger(ContainerLife.class.getName());

  /// How soon is asked again what an OS has not answered.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  /// How often is looked whether an OS lives that cannot tell of a container's end.
  private static final Duration LOOK = Duration.ofSeconds(5);

  /// What an OS of a release that knows nothing of ends says.
  private static final String UNKNOWN_ORDER = "there is no 'wait'";

  private final Consumer<Container> clearUp;
  private final Consumer<Container> came;
  private final ScheduledExecutorService thread =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().name("hf-life").daemon().factory());

  /// The OS in which each container's end is awaited.
  private final Map<Container, OsVm> watched = new ConcurrentHashMap<>();

  /// @param clearUp does what is to be done with a container that has ended; called on a thread of
  ///   its own
  /// @param came told of a container that runs in an OS in which it did not run before
  ContainerLife(Consumer<Container> clearUp, Consumer<Container> came) {
    this.clearUp = clearUp;
    this.came = came;
  }

  @Override
  public Instant now() {
    return Instant.now();
  }

  @Override
  public void after(Duration delay, Runnable task) {
    try {
      var _ = thread.schedule(() -> contained(task), delay.toNanos(), TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException e) {
      LOG.log(System.Logger.Level.DEBUG, "the daemon ends", e);
    }
  }

  private static void contained(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException e) {
      LOG.log(System.Logger.Level.ERROR, "the end of a container could not be handled", e);
    }
  }

  /// Does work that may have to wait for an OS.
  void apart(String name, Runnable work) {
    var _ = Thread.ofPlatform().name("hf-life-" + name).daemon().start(() -> contained(work));
  }

  /// Follows a container from now on, wherever it goes.
  void follow(Container container) {
    container.onChange(() -> after(Duration.ZERO, () -> changed(container)));
    after(Duration.ZERO, () -> changed(container));
  }

  private void changed(Container container) {
    look(container);
    if (!container.state().hasEnded()) {
      came.accept(container);
    }
  }

  /// The container is cleared up.
  void leave(Container container) {
    container.onChange(() -> {});
    watched.remove(container);
  }

  private void look(Container container) {
    OsVm os = container.os();
    if (container.state().hasEnded()) {
      watched.remove(container);
      apart(container.name(), () -> clearUp.accept(container));
    } else if (!os.equals(watched.put(container, os))) {
      apart(container.name(), () -> await(container, os));
    }
  }

  private void await(Container container, OsVm os) {
    try {
      var _ =
          new Inside(os, container.spec())
              .awaitingEnd()
              .thenAccept(end -> after(Duration.ZERO, () -> heard(container, os, end)));
    } catch (TroubleException | LinuxException | ClosedException e) {
      LOG.log(System.Logger.Level.DEBUG, container.name() + " is not awaited yet", e);
      lookAgain(container, os, AGAIN);
    }
  }

  private void lookAgain(Container container, OsVm os, Duration delay) {
    after(
        delay,
        () -> {
          if (watched.remove(container, os)) {
            look(container);
          }
        });
  }

  private void heard(Container container, OsVm os, Agent.Exited end) {
    if (os.vm().released() || !os.equals(watched.get(container))) {
      return;
    }
    if (os.ended()) {
      container.ended(os, new ContainerState.Lost(os.name(), now()));
    } else if (end.status() == 0) {
      container.ended(os, ContainerState.Ended.parse(end.tail().strip(), now()));
    } else {
      boolean never = end.tail().contains(UNKNOWN_ORDER);
      lookAgain(container, os, never ? LOOK : AGAIN);
    }
  }

  /// Nothing is noticed any more.
  @Override
  public void close() {
    thread.shutdownNow();
  }
}
