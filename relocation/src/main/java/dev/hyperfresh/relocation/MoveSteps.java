package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.RelocationRecord.Drain;
import java.util.Optional;

/// What a [Relocation] does in the two operating systems and on this host, step by step. It knows
/// nothing of what is behind them, so the simulation of moves is behind them too. For one thread.
///
/// A step throws a [dev.hyperfresh.vm.TroubleException] when it is not known to be done. Steps of
/// the two lists [UndoStep] and [FinishStep] may be done any number of times, also when nothing, or
/// only a part of it, is there to be undone; and also by a daemon that has not begun the move, and
/// holds nothing of it.
interface MoveSteps {
  /// The name of the OS that the container leaves.
  String from();

  /// The name of the OS that it goes to.
  String to();

  /// Whether the OS that it leaves is gone, for certain.
  boolean oldEnded();

  /// Whether the OS that it goes to is gone, for certain.
  boolean newEnded();

  /// Whether this daemon has let go of one of them: the next one decides.
  boolean released();

  // Before the container stands.

  /// The new OS sees the memory of the old one, or is connected with it to copy.
  void connect();

  /// The new OS has the container's network, and hears nothing by it yet.
  void plug();

  /// All that can be made before the container comes is there.
  void prepare();

  /// The program that freezes waits for a word.
  void beginFreeze();

  /// The program that restores waits for a word.
  void beginRestore();

  // The outage.

  /// What peers send goes to the new OS, and waits there.
  void switchPort();

  /// All processes stand.
  void freeze();

  /// The old OS says nothing more for the container.
  void silenceOld();

  /// What CRIU needs is written down.
  void dump();

  /// Where memory is copied: it is, with all that was written down.
  void copy();

  /// All processes are in the new OS, and wait for [#run]. Nothing of it has run there.
  void restore();

  /// They may run. Whether this fails or not, the old OS never has the container again.
  void run();

  /// @return the number of the container's first process in the new OS
  int awaitRunning();

  // The decision.

  /// The program that restores hears a no, unless it was told [#run] before.
  void giveUpRestore();

  /// @return the number of the container's first process in the new OS; 0 when it was told to run
  ///   there and has ended; nothing when it was not, and never will be
  Optional<Integer> here();

  /// How it ended in the new OS, where [#here] says 0; that nobody knows when the OS does not say.
  /// Does not throw.
  ContainerState.Ended ending();

  // Undoing.

  /// No peer hears of the container's end in the new OS.
  void silenceNew();

  /// None of its processes is in the new OS.
  void endNew();

  /// The program that freezes hears a no.
  void giveUpFreeze();

  /// It goes on in the old OS.
  void thaw();

  /// The old OS hears and speaks for the container again.
  void hearOld();

  /// What peers send goes to the old OS.
  void switchBack();

  // Finishing.

  /// What has waited in the new OS's hardware goes to the container, which is heard through no
  /// other card.
  void deliver();

  /// The new OS's runc knows the container.
  void adopt();

  /// All of its memory is in the new OS, and what was fetched is what it had been.
  ///
  /// @throws MemoryLostException when some of it never will be
  void drain();

  /// How its memory came, when [#drain] is done.
  Drain drained();

  /// The old OS has nothing of the container and of the move.
  void clearOld();

  /// The new OS has nothing of the move, apart from the container.
  void clearMove();

  /// The new OS has nothing of the container.
  void clearNew();

  /// Nothing is left of the move on this host.
  void forgetFiles();

  /// A container has not got all of its memory, and would read zeros.
  final class MemoryLostException extends RuntimeException {
    private static final long serialVersionUID = 1;

    MemoryLostException(String message) {
      super(message);
    }
  }
}
