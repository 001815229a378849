package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/// The moves of a daemon. Each is made by a thread of its own, which nobody interrupts: whoever
/// asked for it may go, and it comes to its end. Thread-safe.
final class Moves {
  private volatile boolean left;

  /// Does `work`, which moves a container, and waits for its end.
  ///
  /// @throws HyperFreshException as `work` does; [Problem#CONTAINER_STATE] when the waiting is
  ///   interrupted, and the move goes on
  RelocationRecord await(String name, Supplier<RelocationRecord> work) {
    CompletableFuture<RelocationRecord> end = new CompletableFuture<>();
    Thread.ofPlatform()
        .name("hf-move-" + name)
        .daemon()
        .start(() -> {
          try {
            end.complete(work.get());
          } catch (RuntimeException | Error e) {
            end.completeExceptionally(e);
          }
        });
    try {
      return end.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Problem.CONTAINER_STATE.because(
          name + " is still being moved; nobody waits for the end of that any more.", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof HyperFreshException refused) {
        throw refused;
      }
      throw new CompletionException(e.getCause());
    }
  }

  /// What goes on is left to the next daemon as soon as the operating systems are let go of.
  void leave() {
    left = true;
  }

  /// Moves a container, whose lock the calling thread holds.
  ///
  /// @throws HyperFreshException [Problem#RELOCATE_LOST], [Problem#DAEMON_STATE],
  ///   [Problem#CONTAINER_STATE] when this daemon ends meanwhile
  RelocationRecord move(Container container, OsVm to, Transport transport, Progress progress) {
    OsVm from = container.os();
    Placement.Move move =
        new Placement.Move(from.name(), to.name(), transport, to.newWindow(), Optional.empty());
    Placement begun = container.placement(Optional.of(move));
    OsMove steps =
        new OsMove(
            container.spec(),
            move,
            Optional.of(from),
            Optional.of(to),
            container.port(),
            container.files(),
            () -> left);
    Relocation relocation =
        new Relocation(
            steps,
            new ContainerJournal(container, to, begun, progress),
            new MoveState.Preparing(),
            Clock::monotonicNanos,
            LockSupport::parkNanos);
    try {
      MoveState.Over over = relocation.run();
      return record(container, from, to, transport, steps, relocation, over);
    } catch (Relocation.LeftException e) {
      throw Problem.CONTAINER_STATE.because(
          container.name() + " was being moved when this daemon ended; the next one decides.", e);
    }
  }

  private static RelocationRecord record(
      Container container,
      OsVm from,
      OsVm to,
      Transport transport,
      OsMove steps,
      Relocation relocation,
      MoveState.Over over) {
    Outcome outcome =
        switch (over) {
          case MoveState.Retired(OptionalDouble frozen) -> new Outcome("committed", "", frozen);
          case MoveState.RolledBack(String why) ->
              new Outcome("rolled-back", why, OptionalDouble.empty());
          case MoveState.Ended(String why) ->
              throw Problem.RELOCATE_LOST.because(
                  container.name() + " came to " + to.name() + " and has ended there: " + why);
          case MoveState.Lost(String why) ->
              throw Problem.RELOCATE_LOST.because(container.name() + ": " + why);
        };
    return new RelocationRecord(
        container.name(),
        from.name(),
        to.name(),
        from.settings().release().kernelVersion(),
        to.settings().release().kernelVersion(),
        transport.label(),
        outcome.label(),
        outcome.detail(),
        steps.memoryBytes(),
        steps.frozenBytes(),
        relocation.phasesMs(),
        outcome.frozenMs(),
        steps.drained());
  }

  private record Outcome(String label, String detail, OptionalDouble frozenMs) {}
}
