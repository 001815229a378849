package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.vm.VmDue;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/// Virtual machines that the boot of the host has ended are started in virtual time.
class VmStartsTest {
  private final Virtual pace = new Virtual();
  private final List<String> started = new ArrayList<>();
  private final List<RuntimeException> failures = new ArrayList<>();
  private final Due due = new Due();

  /// Those that are to be started.
  private static final class Due implements VmDue {
    private final Set<String> names = new TreeSet<>();
    private boolean busy;
    private Consumer<String> starter = _ -> {};

    void add(String... more) {
      for (String name : more) {
        names.add(name);
        starter.accept(name);
      }
    }

    @Override
    public void begin(Consumer<String> told) {
      starter = told;
      names.forEach(told);
    }

    @Override
    public boolean isDue(String name) {
      return names.contains(name);
    }

    @Override
    public boolean isBusy(String name) {
      return busy;
    }

    @Override
    public void giveUp(String name) {
      names.remove(name);
    }
  }

  private record Task(Duration at, int order, Runnable what) {}

  /// Passes when it is told to.
  private static final class Virtual implements Pace {
    private final List<Task> tasks = new ArrayList<>();
    private Duration now = Duration.ZERO;
    private int order;

    @Override
    public Instant now() {
      return Instant.EPOCH.plus(now);
    }

    @Override
    public void after(Duration delay, Runnable task) {
      tasks.add(new Task(now.plus(delay), order++, task));
    }

    void pass(Duration time) {
      Duration until = now.plus(time);
      while (next(until).isPresent()) {
        Task task = next(until).orElseThrow();
        tasks.remove(task);
        now = task.at();
        task.what().run();
      }
      now = until;
    }

    private Optional<Task> next(Duration until) {
      return tasks.stream()
          .filter(task -> task.at().compareTo(until) <= 0)
          .min(Comparator.comparing(Task::at).thenComparingInt(Task::order));
    }
  }

  private void begin() {
    new VmStarts("OS", due, this::start, pace).begin();
  }

  private void start(String name) {
    started.add(name + " " + pace.now().getEpochSecond());
    if (!failures.isEmpty()) {
      throw failures.removeFirst();
    }
    due.giveUp(name);
  }

  @Test
  void theyAreStartedInTheOrderOfTheirNamesAndOnce() {
    due.add("b", "c", "a");
    begin();
    due.add("d");

    pace.pass(Duration.ofDays(1));

    assertThat(started).containsExactly("a 0", "b 0", "c 0", "d 0");
  }

  /// The operator starts it, which takes longer than all attempts.
  @Test
  void oneThatSomebodyWorksOnIsWaitedFor() {
    due.add("a");
    due.busy = true;
    begin();
    pace.pass(Duration.ofMinutes(4));
    assertThat(started).isEmpty();
    assertThat(due.isDue("a")).isTrue();
    due.busy = false;

    pace.pass(Duration.ofDays(1));

    assertThat(started).containsExactly("a 241");
  }

  @Test
  void oneThatDoesNotStartIsTriedAgainSomeTimes() {
    due.add("a");
    for (int i = 0; i < VmStarts.MOST; i++) {
      failures.add(Problem.SPEC_MEMORY.because("It says no."));
    }
    begin();
    pace.pass(Duration.ofSeconds(29));
    assertThat(due.isDue("a")).isTrue();

    pace.pass(Duration.ofDays(1));

    assertThat(started).containsExactly("a 0", "a 2", "a 6", "a 14", "a 30");
    assertThat(due.isDue("a")).isFalse();
  }

  /// Its hardware ends at once, what is written of it is nonsense: whatever it is.
  @Test
  void oneThatDoesNotStartForAnyReasonIsTriedAgainSomeTimes() {
    due.add("a");
    failures.add(new QemuProcess.TroubleException("QEMU has ended"));
    failures.add(new UncheckedIOException(new IOException("no space left")));
    failures.add(new NumberFormatException("of a release"));
    begin();
    pace.pass(Duration.ofDays(1));
    assertThat(started).containsExactly("a 0", "a 2", "a 6", "a 14");

    due.add("b");
    for (int i = 0; i < VmStarts.MOST; i++) {
      failures.add(new IllegalStateException("a defect"));
    }
    pace.pass(Duration.ofDays(1));

    assertThat(due.isDue("b")).isFalse();
    assertThat(started).hasSize(4 + VmStarts.MOST);
  }

  @Test
  void aDaemonThatTakesNoWorkIsAskedAgainAndAgain() {
    due.add("a");
    for (int i = 0; i < 20; i++) {
      failures.add(Problem.DAEMON_UPGRADING.because("It says no."));
    }
    begin();

    pace.pass(Duration.ofDays(1));

    assertThat(started).hasSize(21).endsWith("a 20");
  }

  @Test
  void oneThatIsNotToBeStartedAnyMoreIsNot() {
    due.add("a");
    failures.add(Problem.OS_START.because("It says no."));
    begin();
    pace.pass(Duration.ZERO);
    due.giveUp("a");

    pace.pass(Duration.ofDays(1));

    assertThat(started).containsExactly("a 0");
  }
}
