package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// What came of a run of the policy. Immutable.
///
/// @param opens when the window opens, if it is waited for
/// @param stopped why not all was done, or empty
/// @param others how many outdated QEMUs are none of the daemon's guests
/// @param strangers names among the policy's exceptions that no guest has
record PolicyResult(
    Outcome outcome,
    Optional<Instant> opens,
    String stopped,
    List<Guest> guests,
    int others,
    List<String> strangers) {
  /// How a run ended.
  enum Outcome {
    /// No guest runs an older QEMU, or only exceptions do.
    NOTHING("nothing"),
    /// Some do, and that was all to be said.
    REPORTED("reported"),
    /// Each of them can move.
    POSSIBLE("possible"),
    /// Some cannot.
    IMPOSSIBLE("impossible"),
    /// They wait for the window.
    WAITS("waits"),
    /// All of them were moved.
    MOVED("moved"),
    /// The window closed before all were.
    UNFINISHED("unfinished"),
    /// The policy was changed before all were, and moves no other one now.
    CHANGED("changed"),
    /// One failed, or cannot move.
    FAILED("failed");

    private final String word;

    Outcome(String word) {
      this.word = word;
    }

    String word() {
      return word;
    }

    /// The code that a command ends with.
    int exitCode() {
      return switch (this) {
        case NOTHING, POSSIBLE, MOVED -> 0;
        case REPORTED, WAITS, UNFINISHED, CHANGED -> OutdatedCommand.SOME_OUTDATED;
        case IMPOSSIBLE, FAILED -> Problem.REPLACE_OBSTACLES.exitCode();
      };
    }
  }

  /// One of the guests that run an older QEMU.
  ///
  /// @param from the release that it ran on
  /// @param to what takes its place, as commands name it
  /// @param build the same, as people call it
  /// @param outcome as a rollout has it, or one of the words below
  /// @param detail why, where there is something to say
  /// @param answer of its replacement, if there was one
  record Guest(
      String name,
      String from,
      String to,
      String build,
      String outcome,
      String detail,
      JsonNode answer) {
    /// Of one whose process does not show what it runs.
    static final String UNKNOWN = "unknown";

    /// Of one that is to be moved.
    static final String OUTDATED = "outdated";

    /// Of one that is left as it is.
    static final String EXCEPT = "except";

    /// Of one that is there no more.
    static final String GONE = "gone";

    /// Of one before which a rollout stopped.
    static final String NOT_STARTED = "not-started";

    Guest as(String other, String why) {
      return new Guest(name, from, to, build, other, why, answer);
    }

    Guest came(String where, String how, String why, JsonNode record) {
      return new Guest(name, from, where, build, how, why.strip(), record);
    }

    boolean is(String word) {
      return outcome.equals(word);
    }
  }

  /// Copies the lists.
  PolicyResult {
    guests = List.copyOf(guests);
    strangers = List.copyOf(strangers);
  }

  /// How many guests do not show what they run.
  long unknown() {
    return count(Guest.UNKNOWN);
  }

  /// How many guests have come to that.
  long count(String word) {
    return guests.stream().filter(guest -> guest.is(word)).count();
  }

  /// The code that a command ends with: unknown is not no.
  int exitCode() {
    return outcome.exitCode() == 0 && unknown() > 0
        ? OutdatedCommand.SOME_UNKNOWN
        : outcome.exitCode();
  }
}
