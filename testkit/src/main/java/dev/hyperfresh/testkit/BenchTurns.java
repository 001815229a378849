package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.RivalMonitor.UnavailableException;
import dev.hyperfresh.testkit.RivalQemu.Move;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// Contenders that take turns, so that whatever else the host does meets all alike. One that cannot
/// go on is named and left out; the others go on. For one thread.
final class BenchTurns {
  /// Moves that are made first and not counted: compilers, caches and page tables are cold, and the
  /// product rehearses each direction once.
  static final int WARM_UP = 2;

  /// With fewer moves an interval says nothing.
  static final int LEAST = 3;

  /// How often a way may come to no end before it is not tried again; once if that was the first.
  private static final int GIVE_UPS = 2;

  private static final System.Logger LOG = System.getLogger(BenchTurns.class.getName());

  private final List<Lane> lanes;
  private final PrintStream out;
  private final Consumer<Contender> leave;

  /// A contender and what is measured of it.
  record Lane(Contender contender, Measured measured) {}

  /// @param out where people read
  /// @param leave ends a contender that is left out
  BenchTurns(List<Lane> lanes, PrintStream out, Consumer<Contender> leave) {
    this.lanes = new ArrayList<>(lanes);
    this.out = out;
    this.leave = leave;
  }

  /// Makes up to `turns` moves that count with each, as far as there is time.
  ///
  /// @param limit how long a move may take
  void take(int turns, Duration limit, BenchPace.Stint stint) {
    int all = WARM_UP + turns;
    for (int turn = 0; turn < all && !lanes.isEmpty(); turn++) {
      if (!stint.allows(turn >= WARM_UP + LEAST)) {
        out.println("  no time for more than " + turn + " of " + all + " turns");
        return;
      }
      go(turn, limit, stint);
      Duration toGo = stint.turned(all - turn - 1);
      out.println(
          "  turn "
              + (turn + 1)
              + " of "
              + all
              + (toGo.isZero() ? "" : ", about " + BenchPace.words(toGo) + " to go"));
    }
  }

  private void go(int turn, Duration limit, BenchPace.Stint stint) {
    for (Lane lane : List.copyOf(lanes)) {
      if (stint.isOver()) {
        return;
      }
      Measured measured = lane.measured();
      if (measured.trouble().isEmpty()) {
        attempt(lane, turn, limit);
      }
      if (!measured.trouble().isEmpty() || measured.givenUp() >= (turn == 0 ? 1 : GIVE_UPS)) {
        leaveOut(lane);
      }
    }
  }

  private void attempt(Lane lane, int turn, Duration limit) {
    try {
      Optional<Move> move = alone(lane.contender(), turn, limit);
      if (move.isEmpty() || turn >= WARM_UP) {
        lane.measured().add(move);
      }
    } catch (UnavailableException e) {
      lane.measured().skipped(String.valueOf(e.getMessage()));
    } catch (RuntimeException e) {
      lane.measured().failed(e.getMessage() == null ? e.toString() : e.getMessage());
    }
  }

  private void leaveOut(Lane lane) {
    lanes.remove(lane);
    Measured measured = lane.measured();
    out.println(
        "  "
            + measured.label()
            + ": "
            + (measured.trouble().isEmpty()
                ? "came to no end in time, not tried again"
                : measured.trouble()));
    leave.accept(lane.contender());
  }

  /// The guests of the others stand still meanwhile.
  private Optional<Move> alone(Contender mover, int turn, Duration limit) {
    Deque<PidFd> frozen = new ArrayDeque<>();
    try {
      lanes.stream()
          .filter(lane -> !lane.contender().equals(mover))
          .forEach(lane -> freeze(lane, frozen));
      return mover.move(turn, limit);
    } finally {
      frozen.forEach(BenchTurns::release);
    }
  }

  /// That a process is gone is not the fault of the one that moves.
  private static void freeze(Lane lane, Deque<PidFd> frozen) {
    try {
      PidFd process = PidFd.open(lane.contender().pid());
      frozen.push(process);
      process.signal(Signals.STOP);
    } catch (RuntimeException e) {
      lane.measured().failed("its guest is gone: " + e.getMessage());
    }
  }

  private static void release(PidFd process) {
    try {
      process.signal(Signals.CONT);
    } catch (LinuxException e) {
      // It has ended meanwhile, which is seen at its own turn.
      LOG.log(System.Logger.Level.DEBUG, "a guest is gone", e);
    } finally {
      process.close();
    }
  }
}
