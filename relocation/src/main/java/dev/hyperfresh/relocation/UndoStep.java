package dev.hyperfresh.relocation;

/// What takes a container back into the OS that it was to leave, in this order. The same list is
/// done by the daemon whose move has failed and by one that finds an unfinished move.
///
/// Each may be done again. Nothing of the container may run in the new OS when it goes on in the
/// old one, so no step is left out because an earlier one was not known to be done.
enum UndoStep {
  SILENCE_NEW,
  END_NEW,
  GIVE_UP_FREEZE,
  THAW,
  HEAR_OLD,
  SWITCH_BACK,
  CLEAR_NEW,
  CLEAR_MOVE,
  FORGET_FILES;

  void run(MoveSteps move) {
    switch (this) {
      case SILENCE_NEW -> move.silenceNew();
      case END_NEW -> move.endNew();
      case GIVE_UP_FREEZE -> move.giveUpFreeze();
      case THAW -> move.thaw();
      case HEAR_OLD -> move.hearOld();
      case SWITCH_BACK -> move.switchBack();
      case CLEAR_NEW -> move.clearNew();
      case CLEAR_MOVE -> move.clearMove();
      case FORGET_FILES -> move.forgetFiles();
    }
  }
}
