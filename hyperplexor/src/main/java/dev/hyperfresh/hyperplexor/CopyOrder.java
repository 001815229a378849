package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import java.time.Duration;
import java.util.function.BooleanSupplier;

/// A replacement whose source shares the guest's memory with nobody, so that it is copied.
///
/// @param limits within which it is copied
/// @param givenUp asked now and then while it is copied: whether nobody wants it any more
record CopyOrder(MemoryCopy limits, BooleanSupplier givenUp) {
  /// How much longer than it was estimated a guest may stand before the switch is given up: for the
  /// state of its devices, and because an estimate is one.
  private static final int DOWNTIMES = 4;

  private static final Duration MORE = Duration.ofSeconds(2);

  /// How long the guest may stand.
  BlackoutLimit blackout() {
    Duration most = limits.maxDowntime().multipliedBy(DOWNTIMES).plus(MORE);
    return new BlackoutLimit(most.compareTo(BlackoutLimit.MAX) > 0 ? BlackoutLimit.MAX : most);
  }

  /// Gives both sides their ends of the channel.
  void connect(Instance source, Instance target, Fd readEnd, Fd writeEnd) {
    target.expectWithMemory(readEnd);
    source.connectWithMemory(writeEnd, limits.maxDowntime());
  }

  /// Looks after one copy that has been ordered. For the guest's thread.
  static final class Watch {
    private static final long FIRST_LOOK_NANOS = 1_000_000_000;
    private static final long LAST_LOOK_NANOS = 5_000_000_000L;

    private final CopyOrder order;
    private final Parties parties;
    private final long start;
    private long nextLook;

    Watch(CopyOrder order, Parties parties) {
      this.order = order;
      this.parties = parties;
      this.start = parties.world().nanos();
      this.nextLook = start + Math.min(FIRST_LOOK_NANOS, limitNanos());
    }

    private long limitNanos() {
      return order.limits().limit().toNanos();
    }

    /// When to look next, by [Surroundings#nanos].
    long nextLook() {
      return nextLook;
    }

    /// Looks how far it is, and tells.
    ///
    /// @throws HyperFreshException [Problem#ADOPT_COPY], and as [Progress#requireWanted], when it
    ///   is to be given up
    void look() {
      long passed = parties.world().nanos() - start;
      String how = how();
      if (order.givenUp().getAsBoolean() || Thread.currentThread().isInterrupted()) {
        throw Problem.ADOPT_COPY.because("The daemon ends. The copy had come so far: " + how + ".");
      }
      parties.progress().requireWanted();
      if (passed >= limitNanos()) {
        throw Problem.ADOPT_COPY.because(
            "It did not come to an end within "
                + order.limits().limit().toSeconds()
                + " s: "
                + how
                + ".");
      }
      parties.progress().step("copy", how);
      long pause = Math.clamp(passed / 4, FIRST_LOOK_NANOS, LAST_LOOK_NANOS);
      nextLook = Math.min(parties.world().nanos() + pause, start + limitNanos());
    }

    /// A source that does not say is left to its end, or to that of the time.
    private String how() {
      try {
        return parties.source().copied().words();
      } catch (HyperFreshException e) {
        return e.detail();
      }
    }
  }
}
