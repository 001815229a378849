package dev.hyperfresh.relocation;

/// What is left to do of a move when the container runs in the new OS, in this order. The same list
/// is done by the daemon that has moved it and by one that finds it moved. Each may be done again.
enum FinishStep {
  DELIVER,
  ADOPT,
  DRAIN,
  CLEAR_OLD,
  CLEAR_MOVE,
  FORGET_FILES;

  void run(MoveSteps move) {
    switch (this) {
      case DELIVER -> move.deliver();
      case ADOPT -> move.adopt();
      case DRAIN -> move.drain();
      case CLEAR_OLD -> move.clearOld();
      case CLEAR_MOVE -> move.clearMove();
      case FORGET_FILES -> move.forgetFiles();
    }
  }
}
