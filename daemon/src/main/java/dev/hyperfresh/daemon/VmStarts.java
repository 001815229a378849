package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.VmDue;
import java.time.Duration;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Starts the virtual machines of one kind that are to be started because the host has booted, in
/// the order of their names. One that does not start is tried again, some times. Stateless.
///
/// @param title what one is called at the beginning of a sentence
/// @param due which are to be started
/// @param starter starts one
/// @param pace when, and how many at once
record VmStarts(String title, VmDue due, Consumer<String> starter, Pace pace) {
  /// So often one is tried that does not start.
  static final int MOST = 5;

  /// How soon a daemon is asked again that takes no work for a moment.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private static final Logger LOG = LoggerFactory.getLogger(VmStarts.class);

  /// Begins with those that are known, and does not wait.
  void begin() {
    due.begin(name -> later(name, 1, Duration.ZERO));
  }

  private void later(String name, int attempt, Duration delay) {
    pace.after(delay, () -> start(name, attempt));
  }

  private void start(String name, int attempt) {
    // Somebody else has started, stopped or deleted it meanwhile.
    if (!due.isDue(name)) {
      return;
    }
    // Whoever works on it may take longer than all attempts.
    if (due.isBusy(name)) {
      later(name, attempt, AGAIN);
      return;
    }
    try {
      starter.accept(name);
      LOG.info("{} {} was started, since the host has booted", title, name);
    } catch (HyperFreshException e) {
      if (e.problem() == Problem.DAEMON_UPGRADING) {
        later(name, attempt, AGAIN);
      } else {
        failed(name, attempt, e.detail());
      }
    } catch (RuntimeException e) {
      LOG.debug("{} {} did not start", title, name, e);
      failed(name, attempt, e.toString());
    }
  }

  private void failed(String name, int attempt, String why) {
    // Somebody has stopped or deleted it just before.
    if (!due.isDue(name)) {
      return;
    }
    if (attempt < MOST) {
      LOG.warn("{} {} did not start: {}", title, name, why);
      later(name, attempt + 1, AGAIN.multipliedBy(1L << attempt));
    } else {
      LOG.error("{} {} is not started, after {} attempts: {}", title, name, MOST, why);
      due.giveUp(name);
    }
  }
}
