package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.testkit.RivalQemu.Move;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// One way to get a guest into another QEMU, with a guest of its own. For one thread.
interface Contender extends AutoCloseable {
  /// In a few words, for people.
  String label();

  /// The process that runs its guest now.
  int pid();

  /// Moves its guest.
  ///
  /// @param turn from 0; decides to which release
  /// @param limit how long that may take
  /// @return empty when that was not enough, and the guest is where it was
  /// @throws RivalMonitor.UnavailableException when this host does not go that way
  /// @throws RuntimeException when it failed
  Optional<Move> move(int turn, Duration limit);

  @Override
  void close();

  /// The product.
  ///
  /// @param guest the name of its guest
  /// @param releases to which it moves in turn
  record Ours(Hyperplexor hyperplexor, String guest, List<QemuRelease> releases)
      implements Contender {
    static final String LABEL = "HyperFresh";

    /// Copies the list.
    public Ours {
      releases = List.copyOf(releases);
    }

    @Override
    public String label() {
      return LABEL;
    }

    @Override
    public int pid() {
      return hyperplexor.show(guest).pid();
    }

    @Override
    public Optional<Move> move(int turn, Duration limit) {
      ReplacementRecord record =
          hyperplexor.replace(guest, releases.get(turn % releases.size()), limit, Progress.NONE);
      if (record.problem().equals(Problem.REPLACE_DEADLINE.code())) {
        return Optional.empty();
      }
      if (!record.committed()) {
        throw Problem.RUN_LOST.because(
            "A replacement "
                + record.outcome().label()
                + ": "
                + record.problem()
                + " "
                + record.detail());
      }
      double blackout = record.blackoutMs().orElseThrow();
      return Optional.of(
          new Move(
              blackout,
              record.phases().handOverMs() + blackout,
              record.ramBytesCopied().orElseThrow()));
    }

    @Override
    public void close() {
      hyperplexor.delete(guest);
    }
  }

  /// A way of QEMU alone.
  ///
  /// @param releases to which its guest moves in turn
  record Rival(RivalWay way, RivalQemu qemu, List<QemuRelease> releases) implements Contender {
    /// As long as the product watches the guest before a switch.
    private static final Duration QUIET = Duration.ofMillis(500);

    /// Copies the list.
    public Rival {
      releases = List.copyOf(releases);
    }

    @Override
    public String label() {
      return way.label();
    }

    @Override
    public int pid() {
      return qemu.pid();
    }

    @Override
    public Optional<Move> move(int turn, Duration limit) {
      return qemu.replace(releases.get(turn % releases.size()), QUIET, limit);
    }

    @Override
    public void close() {
      qemu.close();
    }
  }
}
