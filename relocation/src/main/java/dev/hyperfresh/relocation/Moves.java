package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// The moves of a daemon. Each is made by a thread of its own, which nobody interrupts: whoever
/// asked for it may go, and it comes to its end. Thread-safe.
final class Moves {
  /// What an OS says of a container that cannot be written down in this moment (script
  /// `container`).
  static final String NOT_ACCEPTED = "a program has not accepted a connection yet";

  /// How often a move is tried that connections keep from coming about, which programs accept
  /// within milliseconds.
  private static final int MOST_ATTEMPTS = 5;

  private final Consumer<RelocationRecord> records;
  private volatile boolean left;

  /// @param records told of every move that has come to its end; must not throw
  Moves(Consumer<RelocationRecord> records) {
    this.records = records;
  }

  /// Does `work`, which moves a container, and waits for its end.
  ///
  /// @throws HyperFreshException as `work` does; [Problem#RELOCATE_UNFINISHED] when the waiting is
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
      throw Problem.RELOCATE_UNFINISHED.because(
          name + " is still being moved; its client no longer waits for the end.", e);
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

  /// As [#move], again when somebody connects in the very moment.
  RelocationRecord moveInTime(
      Container container, OsVm to, Transport transport, Progress progress) {
    for (int attempt = 1; ; attempt++) {
      RelocationRecord record = move(container, to, transport, progress);
      if (attempt == MOST_ATTEMPTS || !record.detail().contains(NOT_ACCEPTED)) {
        return record;
      }
      progress.step(
          "Planned",
          NOT_ACCEPTED + "; attempt " + (attempt + 1) + " of " + MOST_ATTEMPTS + " begins");
    }
  }

  /// Moves a container, whose lock the calling thread holds.
  ///
  /// @throws HyperFreshException [Problem#RELOCATE_LOST], [Problem#DAEMON_STATE],
  ///   [Problem#RELOCATE_UNFINISHED] when this daemon ends meanwhile
  RelocationRecord move(Container container, OsVm to, Transport transport, Progress progress) {
    OsVm from = container.os();
    Placement.Move move = Placement.Move.begun(from.name(), to.name(), transport, to.newWindow());
    Placement begun = container.placement(Optional.of(move));
    Instant startedAt = Instant.now();
    OsMove steps =
        new OsMove(
            container.spec(),
            move,
            Optional.of(from),
            Optional.of(to),
            container.port(),
            container.folder(),
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
      RelocationRecord record = steps.record(startedAt, over, relocation.phasesMs());
      records.accept(record);
      return kept(record);
    } catch (Relocation.LeftException e) {
      throw Problem.RELOCATE_UNFINISHED.because(
          container.name()
              + " was being moved when this daemon ended; the next one finishes or undoes it.",
          e);
    }
  }

  private static RelocationRecord kept(RelocationRecord record) {
    return switch (record.outcome()) {
      case "ended" ->
          throw Problem.RELOCATE_LOST.because(
              record.container()
                  + " moved to "
                  + record.to()
                  + " and has ended there: "
                  + record.detail());
      case "lost" ->
          throw Problem.RELOCATE_LOST.because(record.container() + ": " + record.detail());
      default -> record;
    };
  }
}
