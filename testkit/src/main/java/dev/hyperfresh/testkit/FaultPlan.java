package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Signals;
import java.time.Duration;
import java.util.Locale;

/// One fault at one point of one replacement, as code:
///
/// ```
/// FaultPlan.kill(SOURCE).before("migrate")
/// FaultPlan.hang(TARGET).at(State.PREPARED)
/// FaultPlan.cutChannel().atByte(4096)
/// ```
///
/// A plan says what is to happen; [FaultInjector] makes it happen. Immutable; [#toString] is the
/// plan in words.
///
/// @param fault what breaks
/// @param point when
record FaultPlan(Fault fault, Point point) {

  /// Who can be hit.
  enum Victim {
    /// The hypervisor that runs the guest when the replacement begins.
    SOURCE,
    /// The one that is to take over.
    TARGET,
    /// The process of the hyperplexor itself.
    DAEMON;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// The states of a replacement, at whose beginning a fault can happen.
  enum State {
    /// Nothing has been touched.
    PLANNED,
    /// The target waits, the channel is open, and the journal says so.
    PREPARED,
    /// The journal says so; the order to hand over is the next thing that is sent.
    SWITCHING,
    /// The target runs the guest, and the source has not been ended.
    COMMITTED;

    @Override
    public String toString() {
      return name().charAt(0) + name().substring(1).toLowerCase(Locale.ROOT);
    }
  }

  /// What breaks. Each is followed by a point: `kill(SOURCE).before("migrate")`.
  sealed interface Fault {
    /// When the replacement enters a state.
    default FaultPlan at(State state) {
      return new FaultPlan(this, new Point.Entering(state));
    }

    /// Just before a command that only one side gets is sent for the first time.
    default FaultPlan before(String command) {
      return before(sideOf(command), command);
    }

    /// Just before `command` is sent to `side` for the first time.
    default FaultPlan before(Victim side, String command) {
      return new FaultPlan(this, new Point.BeforeCommand(side, command));
    }

    /// Just before the `number`th command since the replacement began is sent to `side`, from 1.
    default FaultPlan beforeMessage(Victim side, int number) {
      return new FaultPlan(this, new Point.BeforeMessage(side, number));
    }

    /// When `side` has reported an event, before anybody is told of it.
    ///
    /// @param status of a `MIGRATION` event, otherwise empty
    default FaultPlan on(Victim side, String event, String status) {
      return new FaultPlan(this, new Point.OnEvent(side, event, status));
    }

    /// When so many bytes of the guest's state have gone to the target; negative counts from the
    /// end, where the target has nothing before the source has sent everything.
    default FaultPlan atByte(long bytes) {
      return new FaultPlan(this, new Point.AtByte(bytes));
    }

    /// When the source has sent everything and the target has received nothing.
    default FaultPlan atEndOfState() {
      return new FaultPlan(this, new Point.AtEndOfState());
    }
  }

  /// A signal that the victim's process cannot avoid.
  record Signal(Victim victim, int signal) implements Fault {
    @Override
    public String toString() {
      String verb =
          switch (signal) {
            case Signals.KILL -> "kill ";
            case Signals.STOP -> "hang ";
            default -> "crash ";
          };
      return verb + victim;
    }
  }

  /// The channel between source and target breaks.
  record CutChannel() implements Fault {
    @Override
    public String toString() {
      return "cut the channel";
    }
  }

  /// One bit of the byte at the point is turned over on its way. QEMU's stream has no checksum, so
  /// this is a fault that can be survived only where the stream's own structure is hit, which is
  /// its first bytes.
  record CorruptChannel() implements Fault {
    @Override
    public String toString() {
      return "corrupt the channel";
    }
  }

  /// The command at the point is carried out, and its answer is lost.
  record LoseAnswer() implements Fault {
    @Override
    public String toString() {
      return "lose the answer";
    }
  }

  /// The control channel breaks with the message at the point, which is lost; the process lives.
  record LoseControl() implements Fault {
    @Override
    public String toString() {
      return "lose the control channel";
    }
  }

  /// The control channel delivers nothing for a while, from the message at the point on.
  record Stall(Duration duration) implements Fault {
    @Override
    public String toString() {
      return "stall for " + duration.toMillis() + " ms";
    }
  }

  /// The file system of the state directory becomes full.
  record FillDisk() implements Fault {
    @Override
    public String toString() {
      return "fill the disk";
    }
  }

  /// The daemon may open only so many more descriptors.
  record LimitDescriptors(int more) implements Fault {
    @Override
    public String toString() {
      return "allow " + more + " more descriptors";
    }
  }

  /// When it breaks.
  sealed interface Point {
    record Entering(State state) implements Point {
      @Override
      public String toString() {
        return "at " + state;
      }
    }

    record BeforeCommand(Victim side, String command) implements Point {
      @Override
      public String toString() {
        return "before the " + side + "'s " + command;
      }
    }

    record BeforeMessage(Victim side, int number) implements Point {
      @Override
      public String toString() {
        return "before message " + number + " to the " + side;
      }
    }

    record OnEvent(Victim side, String event, String status) implements Point {
      @Override
      public String toString() {
        return ("on the " + side + "'s " + event + " " + status).strip();
      }
    }

    record AtByte(long bytes) implements Point {
      @Override
      public String toString() {
        return "at byte " + bytes + " of the state";
      }
    }

    record AtEndOfState() implements Point {
      @Override
      public String toString() {
        return "at the end of the state";
      }
    }
  }

  /// `kill -9`.
  static Fault kill(Victim victim) {
    return new Signal(victim, Signals.KILL);
  }

  /// Stops the process where it stands; it goes on when it gets `SIGCONT`.
  static Fault hang(Victim victim) {
    return new Signal(victim, Signals.STOP);
  }

  /// The process dies of a segmentation fault.
  static Fault crash(Victim victim) {
    return new Signal(victim, Signals.SEGV);
  }

  static Fault cutChannel() {
    return new CutChannel();
  }

  static Fault corruptChannel() {
    return new CorruptChannel();
  }

  /// The control channel breaks; see [LoseControl].
  static Fault loseControl() {
    return new LoseControl();
  }

  static Fault loseAnswer() {
    return new LoseAnswer();
  }

  static Fault stall(Duration duration) {
    return new Stall(duration);
  }

  static Fault fillDisk() {
    return new FillDisk();
  }

  static Fault limitDescriptors(int more) {
    return new LimitDescriptors(more);
  }

  /// Whether the plan needs somebody between source and target.
  boolean needsRelay() {
    return point instanceof Point.AtByte || point instanceof Point.AtEndOfState;
  }

  private static Victim sideOf(String command) {
    return switch (command) {
      case "qmp_capabilities", "migrate-incoming" -> Victim.TARGET;
      case "migrate", "migrate-set-parameters", "query-migrate", "quit" -> Victim.SOURCE;
      default -> throw new IllegalArgumentException(command + " goes to both sides: name one");
    };
  }

  @Override
  public String toString() {
    return fault + " " + point;
  }
}
