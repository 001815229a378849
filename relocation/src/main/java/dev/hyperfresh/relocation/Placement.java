package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.StateFile;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/// What a daemon writes down of a container, so that the next one knows what it is and where to
/// look for it. Immutable.
///
/// These files are not in the containers' folders: every OS may write there, and none may say what
/// a daemon believes.
///
/// @param os where it is known to run
/// @param pid of its first process there; 0 before it was started
/// @param move what is being done with it, if anything is
/// @param ended how it has ended there, when what is left of it is being removed
record Placement(
    ContainerSpec spec,
    String os,
    int pid,
    Optional<Move> move,
    Optional<ContainerState.Ended> ended) {
  /// Why a move does not simply go on.
  static final String DIED = "the daemon that started it has died";

  /// Of one that has not ended, as far as is known.
  Placement(ContainerSpec spec, String os, int pid, Optional<Move> move) {
    this(spec, os, pid, move, Optional.empty());
  }

  /// A move that is not done with. It is known to have come off when [Placement#os] is `to`.
  ///
  /// @param window where it has, or is to have, the memory of `from`
  /// @param phase how far it is; empty in files that an older daemon wrote
  /// @param ended how the container has ended, in [Phase#ENDED]
  record Move(
      String from,
      String to,
      Transport transport,
      String window,
      Optional<Phase> phase,
      Optional<ContainerState.Ended> ended) {
    /// One that is about to begin.
    static Move begun(String from, String to, Transport transport, String window) {
      return new Move(from, to, transport, window, Optional.empty(), Optional.empty());
    }

    Move in(Phase next) {
      return new Move(from, to, transport, window, Optional.of(next), ended);
    }

    Move clearing(MoveState.Over end) {
      return end instanceof MoveState.Ended(_, ContainerState.Ended how)
          ? new Move(from, to, transport, window, Optional.of(Phase.ENDED), Optional.of(how))
          : in(Phase.LOST);
    }
  }

  /// What of a [MoveState] is written down.
  enum Phase {
    PREPARING,
    SWITCHING,
    UNDOING,
    DOUBT,
    COMMITTED,
    ENDED,
    LOST
  }

  /// Where the unfinished move stands, as far as a daemon can know that has not made it.
  MoveState state() {
    Move begun = move.orElseThrow();
    return switch (begun
        .phase()
        .orElse(os.equals(begun.to()) ? Phase.COMMITTED : Phase.SWITCHING)) {
      case PREPARING -> new MoveState.Preparing();
      case SWITCHING -> new MoveState.Switching(MoveState.Told.UNKNOWN);
      case UNDOING -> new MoveState.Undoing(DIED);
      case ENDED ->
          new MoveState.Clearing(
              begun
                  .ended()
                  .map(how -> new MoveState.Ended(DIED, how))
                  .orElseGet(() -> MoveState.Ended.unseen(DIED)));
      case LOST -> new MoveState.Clearing(new MoveState.Lost(DIED));
      case DOUBT -> new MoveState.Doubt();
      case COMMITTED -> new MoveState.Committed(pid, OptionalDouble.empty());
    };
  }

  /// What is to be written down of a move that is in `state`.
  Placement of(MoveState state) {
    Move begun = move.orElseThrow();
    return switch (state) {
      case MoveState.Preparing _ -> with(os, pid, Optional.of(begun.in(Phase.PREPARING)));
      case MoveState.Switching _ -> with(os, pid, Optional.of(begun.in(Phase.SWITCHING)));
      case MoveState.Undoing _ -> with(os, pid, Optional.of(begun.in(Phase.UNDOING)));
      case MoveState.Doubt _ -> with(os, pid, Optional.of(begun.in(Phase.DOUBT)));
      case MoveState.Committed(int there, _) ->
          with(begun.to(), there, Optional.of(begun.in(Phase.COMMITTED)));
      case MoveState.Clearing(MoveState.Over end) ->
          with(os, pid, Optional.of(begun.clearing(end)));
      case MoveState.RolledBack _ -> with(begun.from(), pid, Optional.empty());
      case MoveState.Retired _ -> with(begun.to(), pid, Optional.empty());
      case MoveState.Ended(_, ContainerState.Ended how) ->
          with(begun.to(), pid, Optional.empty()).asEnded(how);
      case MoveState.Lost lost -> with(begun.to(), pid, Optional.empty()).asEnded(lost.how());
    };
  }

  private Placement with(String where, int process, Optional<Move> unfinished) {
    return new Placement(spec, where, process, unfinished);
  }

  /// Of one that is nobody's any more but this host's.
  Placement asEnded(ContainerState.Ended how) {
    return new Placement(spec, os, pid, move, Optional.of(how));
  }

  String name() {
    return spec.name();
  }

  /// @param folder of all placements
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void write(Path folder) {
    StateFile.write(StateFile.of(folder, name()), this);
  }

  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static void remove(Path folder, String name) {
    StateFile.remove(StateFile.of(folder, name));
  }

  /// The names of all containers of which something is written in `folder`.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static List<String> names(Path folder) {
    return StateFile.names(folder);
  }

  /// @throws HyperFreshException [Problem#DAEMON_STATE] when there is none, or it is no placement
  ///   of that container
  static Placement read(Path folder, String name) {
    Path file = StateFile.of(folder, name);
    Placement read =
        StateFile.read(file, Placement.class)
            .orElseThrow(() -> Problem.DAEMON_STATE.because(file + " is gone."));
    if (!read.name().equals(name) || !read.spec().faults().isEmpty()) {
      throw Problem.DAEMON_STATE.because(file + " does not belong to container " + name + ".");
    }
    return read;
  }
}
