package dev.hyperfresh.hypervisor;

import java.time.Duration;
import java.util.Locale;

/// The bounds within which a guest's memory is copied from a hypervisor that shares it with nobody.
/// The guest runs meanwhile; what it writes is copied again, until so little is left that the guest
/// can be stopped for the rest. Whoever has one has one that is in range.
///
/// @param limit how long the copy may take until the guest is stopped, [#MIN_LIMIT] to [#MAX_LIMIT]
/// @param maxDowntime for how long the rest may be estimated to take, [#MIN_DOWNTIME] to
///   [#MAX_DOWNTIME]
public record MemoryCopy(Duration limit, Duration maxDowntime) {
  /// Below it not even a small guest is copied.
  public static final Duration MIN_LIMIT = Duration.ofSeconds(1);

  /// For which whoever changes guests would wait at most.
  public static final Duration MAX_LIMIT = Duration.ofHours(24);

  /// Below it no copy could ever end.
  public static final Duration MIN_DOWNTIME = Duration.ofMillis(1);

  /// What no guest may be asked to stand still for longer than.
  public static final Duration MAX_DOWNTIME = Duration.ofSeconds(10);

  /// @throws HyperFreshException [Problem#API_REQUEST] when one is out of range
  public MemoryCopy {
    require("time limit of the copy", limit, MIN_LIMIT, MAX_LIMIT);
    require("downtime of the copy", maxDowntime, MIN_DOWNTIME, MAX_DOWNTIME);
  }

  private static void require(String what, Duration given, Duration least, Duration most) {
    if (given.compareTo(least) < 0 || given.compareTo(most) > 0) {
      throw Problem.API_REQUEST.because(
          "The "
              + what
              + " is not between "
              + least.toMillis()
              + " and "
              + most.toMillis()
              + " ms.");
    }
  }

  /// How far a copy is.
  ///
  /// @param totalBytes of all that is copied at least once
  /// @param sentBytes so far, of whatever was sent for it, more than once where it had changed
  /// @param remainingBytes that are still to be sent, as far as it is known
  /// @param changedBytesPerSecond what the guest writes to; 0 until it is known
  /// @param pass over the memory, from 1
  /// @param downtimeMillis for how long the guest would stand still if it were stopped now; 0 until
  ///   it is known
  /// @param slowedPercent by how much the guest is slowed down, so that the copy comes to an end
  public record Status(
      long totalBytes,
      long sentBytes,
      long remainingBytes,
      long changedBytesPerSecond,
      long pass,
      long downtimeMillis,
      int slowedPercent) {

    /// All of it, for a person; half a sentence.
    public String words() {
      String stands = downtimeMillis > 0 ? ", would stand for " + downtimeMillis + " ms" : "";
      String slowed = slowedPercent > 0 ? ", is slowed down by " + slowedPercent + " %" : "";
      return String.format(
          Locale.ROOT,
          "pass %d over %d MiB: %d MiB sent, %d MiB left, the guest changes %d MiB/s%s%s",
          pass,
          mebibytes(totalBytes),
          mebibytes(sentBytes),
          mebibytes(remainingBytes),
          mebibytes(changedBytesPerSecond),
          stands,
          slowed);
    }

    private static long mebibytes(long bytes) {
      return (bytes + (1 << 20) - 1) >> 20;
    }
  }
}
