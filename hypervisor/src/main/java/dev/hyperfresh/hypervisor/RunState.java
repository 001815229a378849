package dev.hyperfresh.hypervisor;

/// What an instance does with its guest's vCPUs, and what each operation makes of it: the one table
/// of this product. A hypervisor that reports something else reports [#UNKNOWN].
///
/// Two rules are behind the columns. A guest that stopped for a reason of its own (its disk, its
/// watchdog, its panic, somebody's order) is never continued by a replacement or by a daemon that
/// starts: only an explicit resume does that. And a guest whose state has been sent is continued by
/// itself only when it is certain that nobody else has run it since.
public enum RunState {
  /// The vCPUs run.
  RUNNING("running", Move.MOVES, AfterRollBack.AS_IT_IS, Resume.NOTHING, Stop.ASK, ""),

  /// The guest sleeps (ACPI S3) and continues by itself when something wakes it.
  SUSPENDED(
      "suspended to RAM",
      Move.MOVES_WHERE_KEPT,
      AfterRollBack.AS_IT_IS,
      Resume.WAKE,
      Stop.WAKE_AND_ASK,
      "`hyperfresh guest resume` wakes it."),

  /// Somebody stopped the vCPUs, or a hand-over did and was given up.
  PAUSED(
      "paused",
      Move.REFUSED,
      AfterRollBack.CONTINUE,
      Resume.CONTINUE,
      Stop.END,
      "Resume it with `hyperfresh guest resume`."),

  /// A disk request failed, and the guest is to wait until somebody has repaired the disk.
  IO_ERROR(
      "stopped by an I/O error of a disk",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.CONTINUE,
      Stop.END,
      "Repair the disk (is the file system of its image full?), then resume the guest with"
          + " `hyperfresh guest resume`; the request is repeated."),

  /// The guest's watchdog ran out.
  WATCHDOG(
      "stopped by its watchdog",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.CONTINUE,
      Stop.END,
      "Look at its console; resume it with `hyperfresh guest resume`, or stop it."),

  /// The guest said that it panicked.
  PANICKED(
      "stopped by a panic of its kernel",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.CONTINUE,
      Stop.END,
      "Look at its console. `hyperfresh guest resume` lets it continue its panic, for example for a"
          + " crash dump; otherwise stop it."),

  /// The hypervisor cannot execute the guest any more.
  INTERNAL_ERROR(
      "stopped by an internal error of its hypervisor",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.REFUSED,
      Stop.END,
      "It cannot be resumed. The hypervisor's log in the guest's folder says why. Stop the guest."),

  /// The guest has powered itself off and its hypervisor was told to stay.
  POWERED_OFF(
      "powered off",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.REFUSED,
      Stop.END,
      "It cannot be resumed. Stop the guest."),

  /// The vCPUs are stopped because the guest's state is being sent.
  SENDING(
      "being handed over",
      Move.REFUSED,
      AfterRollBack.CONTINUE,
      Resume.CONTINUE,
      Stop.END,
      "Wait until the hand-over ends."),

  /// The vCPUs are stopped because the guest's state has been sent: somebody may have run it since.
  SENT(
      "handed over",
      Move.REFUSED,
      AfterRollBack.CONTINUE,
      Resume.CONTINUE,
      Stop.END,
      "If no other hypervisor has run the guest since, resume it with `hyperfresh guest resume`."),

  /// An instance that waits for a guest's state.
  AWAITING(
      "waiting for a state",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.REFUSED,
      Stop.END,
      "It has no guest yet."),

  /// The guest has not begun, or was reset while its vCPUs were stopped.
  NOT_STARTED(
      "not started",
      Move.REFUSED,
      AfterRollBack.CONTINUE,
      Resume.CONTINUE,
      Stop.END,
      "Start it with `hyperfresh guest resume`."),

  /// A snapshot is being saved or loaded, a debugger has the guest, or a partner runs beside it.
  BUSY(
      "held by a snapshot or a debugger",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.REFUSED,
      Stop.END,
      "Wait until that ends, or end it where it was started."),

  /// A word that this product does not know.
  UNKNOWN(
      "in a state that HyperFresh does not know",
      Move.REFUSED,
      AfterRollBack.AS_IT_IS,
      Resume.REFUSED,
      Stop.END,
      "Look at the hypervisor's log in the guest's folder.");

  /// Whether a guest in this state can be moved.
  public enum Move {
    /// It can.
    MOVES,
    /// It can where both releases keep the state ([Release#keepsSuspended]).
    MOVES_WHERE_KEPT,
    /// It cannot: nothing would report that it had arrived.
    REFUSED
  }

  /// What becomes of a guest that a rollback finds in this state.
  public enum AfterRollBack {
    /// The hand-over stopped it, so that it is continued.
    CONTINUE,
    /// It runs, or stopped for a reason of its own and stays so.
    AS_IT_IS
  }

  /// What an explicit resume does.
  public enum Resume {
    /// Nothing is to be done.
    NOTHING,
    /// The guest is woken.
    WAKE,
    /// The vCPUs are continued.
    CONTINUE,
    /// It is refused, with the reason.
    REFUSED
  }

  /// How a guest is stopped.
  public enum Stop {
    /// It is asked to power off and given time for it.
    ASK,
    /// The same, once it is awake.
    WAKE_AND_ASK,
    /// It cannot hear, so its hypervisor is ended at once.
    END
  }

  private final String label;
  private final Move move;
  private final AfterRollBack afterRollBack;
  private final Resume resume;
  private final Stop stop;
  private final String advice;

  RunState(
      String label,
      Move move,
      AfterRollBack afterRollBack,
      Resume resume,
      Stop stop,
      String advice) {
    this.label = label;
    this.move = move;
    this.afterRollBack = afterRollBack;
    this.resume = resume;
    this.stop = stop;
    this.advice = advice;
  }

  /// The state for people, as it follows "the guest is".
  public String label() {
    return label;
  }

  /// What a replacement's plan says, and its last look before the switch.
  public Move move() {
    return move;
  }

  /// What a rollback does, in this daemon's life or the next one's.
  public AfterRollBack afterRollBack() {
    return afterRollBack;
  }

  /// What `guest resume` does.
  public Resume resume() {
    return resume;
  }

  /// How `guest stop` goes about it.
  public Stop stop() {
    return stop;
  }

  /// What to do about a guest that is paused, as sentences; empty for one that runs.
  public String advice() {
    return advice;
  }

  /// Whether the instance has the guest and the guest continues by itself: it runs or sleeps.
  public boolean isLive() {
    return this == RUNNING || this == SUSPENDED;
  }

  /// Whether the state of the vCPUs has left the instance, or may have.
  public boolean hasSent() {
    return this == SENDING || this == SENT;
  }
}
