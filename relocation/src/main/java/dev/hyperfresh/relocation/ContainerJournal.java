package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.relocation.Container.State;
import java.util.Locale;
import java.util.OptionalDouble;

/// The journal of a move that this daemon has begun: what is written down, and what everybody sees.
final class ContainerJournal implements MoveJournal {
  private final Container container;
  private final OsVm to;
  private final Placement begun;
  private final Progress progress;
  private String waited = "";

  /// @param begun what is written down when the move begins
  ContainerJournal(Container container, OsVm to, Placement begun, Progress progress) {
    this.container = container;
    this.to = to;
    this.begun = begun;
    this.progress = progress;
  }

  @Override
  public void write(MoveState state) {
    show(state);
    container.place(begun.of(state));
  }

  private void show(MoveState state) {
    String name = container.name();
    switch (state) {
      case MoveState.Preparing _ ->
          progress.step("Preparing", to.name() + " is getting ready for " + name);
      case MoveState.Switching _ -> container.is(State.MOVING);
      case MoveState.Undoing(String why) ->
          progress.step("Undoing", why + "; " + name + " is to resume in " + begun.os());
      case MoveState.Committed(int pid, OptionalDouble frozen) -> {
        container.runs(to, pid);
        container.is(State.DRAINING);
        progress.step("Committed", name + " runs in " + to.name() + paused(frozen));
      }
      case MoveState.Retired _ -> container.is(State.RUNNING);
      case MoveState.RolledBack _ -> {
        container.is(State.RUNNING);
        // Its program may have ended by itself meanwhile.
        String goes = container.state().hasEnded() ? " has ended in " : " keeps running in ";
        progress.step("RolledBack", name + goes + begun.os());
      }
      case MoveState.Clearing(MoveState.Over end) -> {
        container.is(State.MOVING);
        // What is told of the end of its copy in the old OS, which is killed now, is not how it
        // ended.
        if (end instanceof MoveState.Ended(_, ContainerState.Ended how)
            && !container.os().equals(to)) {
          container.runs(to, 0);
          container.stops(how);
        }
      }
      case MoveState.Ended(_, ContainerState.Ended how) -> container.stops(how);
      case MoveState.Lost lost -> container.lost(lost.how());
      case MoveState.Doubt _ -> container.is(State.MOVING);
    }
  }

  private static String paused(OptionalDouble frozen) {
    return frozen.isPresent()
        ? String.format(Locale.ROOT, "; it was paused for %.0f ms", frozen.getAsDouble())
        : "";
  }

  @Override
  public void done(FinishStep step) {
    if (step == FinishStep.ADOPT) {
      progress.step("Draining", "fetching the rest of its memory");
    }
  }

  @Override
  public void waits(String why) {
    if (why.equals(waited)) {
      return;
    }
    waited = why;
    progress.step("Waiting", why);
    System.getLogger(ContainerJournal.class.getName())
        .log(System.Logger.Level.WARNING, container.name() + " is being moved: " + why);
  }
}
