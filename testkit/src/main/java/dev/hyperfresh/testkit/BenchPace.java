package dev.hyperfresh.testkit;

import java.time.Duration;
import java.util.Locale;
import java.util.function.LongSupplier;

/// How much time a run may take, how it is shared among its scenes, and how much is still to come.
/// For one thread.
final class BenchPace {
  private static final double NANOS = 1e9;

  private final LongSupplier clock;
  private final long end;

  /// What scenes that have not begun are expected to take, seconds.
  private double ahead;

  private double expected;
  private double taken;

  /// Begins now.
  ///
  /// @param budget how long the run may take
  /// @param clock as [System#nanoTime]
  BenchPace(Duration budget, LongSupplier clock) {
    this.clock = clock;
    this.end = clock.getAsLong() + budget.toNanos();
  }

  /// One more scene is to come.
  ///
  /// @param scene how long it is expected to take
  void plan(Duration scene) {
    ahead += seconds(scene);
  }

  /// How much of the budget is left; 0 when it is used up.
  Duration left() {
    return Duration.ofNanos(Math.max(0, end - clock.getAsLong()));
  }

  /// How long the scenes that have not begun will take, judged by those that have ended: no longer
  /// than may be.
  Duration toGo() {
    return atMostLeft(ahead * slowness());
  }

  private double slowness() {
    return expected > 0 ? taken / expected : 1;
  }

  private Duration atMostLeft(double seconds) {
    return Duration.ofNanos((long) Math.min((double) left().toNanos(), seconds * NANOS));
  }

  /// Whether there is time for the better half of a scene, and not only to boot its guests.
  boolean hasTimeFor(Duration scene) {
    return seconds(left()) > seconds(scene) / 2;
  }

  /// A scene that was planned begins.
  Stint begin(Duration scene) {
    skip(scene);
    return new Stint(seconds(scene));
  }

  /// A scene that was planned is not measured.
  void skip(Duration scene) {
    ahead = Math.max(0, ahead - seconds(scene));
  }

  private static double seconds(Duration duration) {
    return duration.toNanos() / NANOS;
  }

  /// As people say it.
  static String words(Duration duration) {
    long seconds = Math.max(1, Math.round(seconds(duration)));
    return seconds < 60
        ? seconds + " s"
        : String.format(Locale.ROOT, "%d min %02d s", seconds / 60, seconds % 60);
  }

  /// The time of one scene. Its share of what is left is that of its expected time.
  final class Stint {
    private final double scene;
    private final long began = clock.getAsLong();
    private final long shareEnds;
    private long turnBegan = began;
    private double lastTurn;

    private Stint(double scene) {
      this.scene = scene;
      double share = ahead + scene > 0 ? scene / (ahead + scene) : 1;
      this.shareEnds = began + (long) (share * left().toNanos());
    }

    /// Whether there is time for a turn that takes as long as the last one.
    ///
    /// @param enough whether others need the time more: then the share counts, and not only what is
    ///   left of the whole
    boolean allows(boolean enough) {
      turnBegan = clock.getAsLong();
      return (enough ? shareEnds : end) - turnBegan > lastTurn * NANOS;
    }

    /// Whether the time of the whole run is used up.
    boolean isOver() {
      return left().isZero();
    }

    /// A turn that was allowed has ended.
    ///
    /// @param turns of this scene that are still to come
    /// @return how long all that is still to come will take
    Duration turned(int turns) {
      lastTurn = (clock.getAsLong() - turnBegan) / NANOS;
      return atMostLeft(turns * lastTurn + ahead * slowness());
    }

    /// The scene has ended.
    void end() {
      expected += scene;
      taken += (clock.getAsLong() - began) / NANOS;
    }
  }
}
