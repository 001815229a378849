package dev.hyperfresh.relocation;

/// What one of two simulated operating systems has of a container that is being moved. For one
/// thread.
abstract class SimulatedOs {
  boolean lives = true;

  /// It says nothing before that moment of virtual time.
  long hangsUntil;

  /// Whether there is anything of the container: its folder, its network, its group.
  boolean hasIt;

  /// Whether its processes are here.
  boolean inside;

  /// Whether the port of an order that waits for the host's word is here.
  boolean port;

  boolean answers(long now) {
    return lives && now >= hangsUntil;
  }

  /// Whether its processes are here and may run.
  abstract boolean runsIt();

  /// The OS that the container leaves.
  static final class Old extends SimulatedOs {
    /// Where the program that freezes is.
    enum Freezing {
      NONE,
      READY,
      STANDING,
      DUMPED
    }

    private final boolean thawsUntold;
    Freezing freezing = Freezing.NONE;
    boolean stands;
    boolean silent;

    /// @param thawsUntold whether it lets the container go on by itself, which is wrong
    Old(boolean thawsUntold) {
      this.thawsUntold = thawsUntold;
      hasIt = true;
      inside = true;
    }

    @Override
    boolean runsIt() {
      return lives && inside && !stands;
    }

    void dies() {
      lives = false;
      freezing = Freezing.NONE;
    }

    /// The program that freezes hears a no.
    void hangUp() {
      // CRIU lets all go on, unless it has come so far that they stand without it.
      if (freezing == Freezing.STANDING || thawsUntold) {
        stands = false;
      }
      freezing = freezing == Freezing.DUMPED ? Freezing.DUMPED : Freezing.NONE;
    }
  }

  /// The OS that it goes to.
  static final class Fresh extends SimulatedOs {
    /// Where the program that restores is.
    enum Restoring {
      NONE,
      READY,
      RESTORED,
      ENDED
    }

    Restoring restoring = Restoring.NONE;
    boolean window;

    /// Whether the host's word `run` is on its way.
    boolean word;

    /// Whether it knows that it was told to run the container.
    boolean ran;

    /// Whether the container has ever run here, which nobody in here knows.
    boolean everRan;

    /// Whether its processes wait for the host's word.
    boolean held;

    boolean adopted;
    boolean drained;

    @Override
    boolean runsIt() {
      return lives && inside && !held;
    }

    void dies() {
      lives = false;
      restoring = Restoring.NONE;
    }

    /// Whether the program that restores waits for a word.
    boolean waits() {
      return restoring == Restoring.READY || restoring == Restoring.RESTORED;
    }

    void hearNo() {
      restoring = Restoring.ENDED;
      inside = false;
    }

    void hearRun() {
      ran = true;
      restoring = Restoring.ENDED;
      held = false;
      everRan = true;
    }
  }
}
