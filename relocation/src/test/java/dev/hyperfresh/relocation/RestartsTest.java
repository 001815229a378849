package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.PriorityQueue;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Restart policies in virtual time.
class RestartsTest {
  private static final Instant BEGIN = Instant.parse("2026-01-01T00:00:00Z");

  @TempDir Path folder;

  private final Virtual time = new Virtual();
  private final List<Duration> starts = new ArrayList<>();

  /// Of a start for which there is no course.
  private Problem failure = Problem.OS_UNKNOWN;

  /// What each start leads to: nothing when it fails, else how the container ends and when.
  private final Deque<Optional<Course>> courses = new ArrayDeque<>();

  private Lives lives = new Lives(Path.of(""));
  private Restarts restarts = new Restarts(lives, time, (_, _) -> {});

  private record Course(Duration runs, int code) {}

  private record Task(Instant at, int order, Runnable task) {}

  private static final class Virtual implements Restarts.Pace {
    private final PriorityQueue<Task> tasks =
        new PriorityQueue<>(Comparator.comparing(Task::at).thenComparingInt(Task::order));
    private Instant now = BEGIN;
    private int order;

    @Override
    public Instant now() {
      return now;
    }

    @Override
    public void after(Duration delay, Runnable task) {
      tasks.add(new Task(now.plus(delay), order++, task));
    }

    void run(Duration span) {
      Instant end = now.plus(span);
      while (!tasks.isEmpty() && !tasks.element().at().isAfter(end)) {
        Task next = tasks.remove();
        now = next.at();
        next.task().run();
      }
      now = end;
    }
  }

  @BeforeEach
  void open() {
    lives = new Lives(folder.resolve("lives"));
    restarts = new Restarts(lives, time, this::start);
  }

  private void start(String name, Restarts.Done done) {
    starts.add(Duration.between(BEGIN, time.now()));
    Optional<Course> course = courses.isEmpty() ? Optional.empty() : courses.remove();
    if (course.isEmpty()) {
      done.accept(Optional.of(failure.because("there is no OS.")));
      return;
    }
    lives.change(name, life -> life.runs("os1", time.now()));
    done.accept(Optional.empty());
    time.after(course.get().runs(), () -> ends(name, course.get().code()));
  }

  private void ends(String name, int code) {
    lives.change(name, life -> life.ended(exited(code)));
    restarts.consider(name);
  }

  private ContainerState exited(int code) {
    return new ContainerState.Ended(
        OptionalInt.of(code), OptionalInt.empty(), false, time.now(), "");
  }

  /// A container that has run, and ends now.
  private void ended(String policy, ContainerState how) {
    lives.put(runs(policy).ended(how));
    restarts.consider("job");
  }

  private Life runs(String policy) {
    ContainerSpec spec = new ContainerSpec("job", Path.of("/bundle"), Optional.empty());
    return Life.begun(spec, "os1", RestartPolicy.parse(policy).orElseThrow(), time.now())
        .runs("os1", time.now());
  }

  private void course(int code, Duration... runs) {
    for (Duration span : runs) {
      courses.add(Optional.of(new Course(span, code)));
    }
  }

  private List<Long> startedMs() {
    return starts.stream().map(Duration::toMillis).toList();
  }

  @Test
  void theDelayDoublesUpToAMinute() {
    Duration atOnce = Duration.ZERO;
    for (int i = 0; i < 14; i++) {
      course(1, atOnce);
    }
    ended("always", exited(1));
    time.run(Duration.ofMinutes(6));
    assertThat(startedMs())
        .containsExactly(
            100L, 300L, 700L, 1500L, 3100L, 6300L, 12700L, 25500L, 51100L, 102300L, 162300L,
            222300L, 282300L, 342300L);
  }

  @Test
  void oneThatHasRunWellBeginsWithTheFirstDelay() {
    course(0, Duration.ofMillis(50), Duration.ofSeconds(10), Duration.ofMinutes(5));
    ended("always", exited(0));
    time.run(Duration.ofMinutes(1));
    assertThat(startedMs()).containsExactly(100L, 100L + 50 + 200, 350L + 10_000 + 100);
    assertThat(restarts.next("job")).isEmpty();
  }

  @Test
  void aLimitedOneGivesUp() {
    course(1, Duration.ZERO, Duration.ZERO, Duration.ZERO);
    ended("on-failure:2", exited(1));
    time.run(Duration.ofMinutes(5));
    assertThat(startedMs()).containsExactly(100L, 300L);
    assertThat(lives.find("job").flatMap(Life::end)).isPresent();
    assertThat(restarts.next("job")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "no,0,0",
    "no,1,0",
    "on-failure,0,0",
    "on-failure,1,1",
    "always,0,1",
    "always,1,1",
  })
  void whetherItIsStartedDependsOnHowItEnded(String policy, int code, int expected) {
    course(0, Duration.ofDays(1));
    ended(policy, exited(code));
    time.run(Duration.ofMinutes(1));
    assertThat(starts).hasSize(expected);
  }

  @Test
  void theEndOfItsOsIsAFailure() {
    course(0, Duration.ofDays(1));
    ended("on-failure", new ContainerState.Lost("os1", time.now()));
    time.run(Duration.ofMinutes(1));
    assertThat(starts).hasSize(1);
  }

  @Test
  void anEndThatNobodySawIsAFailure() {
    course(0, Duration.ofDays(1));
    ended("on-failure", ContainerState.Ended.unknown(time.now(), ""));
    time.run(Duration.ofMinutes(1));
    assertThat(starts).hasSize(1);
  }

  @Test
  void oneThatCannotBeStartedWaitsAndSaysWhy() {
    ended("always", new ContainerState.Lost("os1", time.now()));
    time.run(Duration.ofSeconds(2));
    assertThat(restarts.next("job").orElseThrow().failure()).isEqualTo("there is no OS.");
    assertThat(restarts.next("job").orElseThrow().at()).isAfter(time.now());
    course(0, Duration.ofDays(1));
    time.run(Duration.ofMinutes(2));
    assertThat(lives.find("job").flatMap(Life::end)).isEmpty();
    assertThat(restarts.next("job")).isEmpty();
  }

  @Test
  void aStartThatCouldNotBeTriedDoesNotCount() {
    ended("on-failure:1", exited(1));
    time.run(Duration.ofSeconds(2));
    assertThat(startedMs()).containsExactly(100L, 300L, 700L, 1500L);
    course(1, Duration.ofSeconds(1));
    time.run(Duration.ofMinutes(5));
    assertThat(starts).hasSize(5);
    assertThat(lives.find("job").orElseThrow().restarts()).isEqualTo(1);
    assertThat(restarts.next("job")).isEmpty();
  }

  @Test
  void aStartThatWasTriedAndFailedCounts() {
    failure = Problem.CONTAINER_START;
    ended("on-failure:3", exited(1));
    time.run(Duration.ofHours(1));
    assertThat(startedMs()).containsExactly(100L, 300L, 700L);
    assertThat(restarts.next("job")).isEmpty();
  }

  @Test
  void oneThatWasToldToStopStaysSo() {
    course(0, Duration.ofDays(1));
    ended("always", exited(1));
    time.run(Duration.ofMillis(50));
    lives.change("job", Life::toldToStop);
    time.run(Duration.ofMinutes(5));
    assertThat(starts).isEmpty();
  }

  /// Its OS may take a while to come up; until then each start fails.
  @ParameterizedTest
  @CsvSource({"no,0", "on-failure,1", "always,1"})
  void oneThatStoppedWithTheHostIsStartedAfterItsBoot(String policy, int expected) {
    lives.put(runs(policy).toldToStopIn(Host.bootId()).ended(exited(0)));
    restarts.consider("job");
    time.run(Duration.ofMinutes(5));
    assertThat(starts).as("in the same boot").isEmpty();

    lives.put(runs(policy).toldToStopIn("an-earlier-one").ended(exited(0)));
    restarts.consider("job");
    time.run(Duration.ofSeconds(2));
    course(0, Duration.ofDays(1));
    time.run(Duration.ofMinutes(5));

    assertThat(lives.find("job").flatMap(Life::end).isEmpty()).isEqualTo(expected == 1);
  }

  /// A job that has done its work is not to do it again after the boot.
  @ParameterizedTest
  @CsvSource({"no,0,0", "on-failure,0,0", "on-failure,1,1", "always,0,1"})
  void oneThatHadEndedWhenTheHostStoppedIsStartedAsItsPolicySays(
      String policy, int code, int expected) {
    lives.put(runs(policy).ended(exited(code)).toldToStopIn("an-earlier-one"));
    course(0, Duration.ofDays(1));
    restarts.consider("job");
    time.run(Duration.ofMinutes(5));
    assertThat(starts).hasSize(expected);
  }

  @Test
  void aHostThatStopsDoesNotTakeBackWhatSomebodyHasSaid() {
    course(0, Duration.ofDays(1));
    ended("always", exited(0));
    restarts.forget("job");
    lives.change("job", life -> life.toldToStop().toldToStopIn("an-earlier-one"));
    restarts.consider("job");
    time.run(Duration.ofMinutes(5));
    assertThat(starts).isEmpty();
  }

  @Test
  void whatWasPlannedIsForgotten() {
    course(0, Duration.ofDays(1));
    ended("always", exited(1));
    time.run(Duration.ofMillis(50));
    restarts.forget("job");
    time.run(Duration.ofMinutes(5));
    assertThat(starts).isEmpty();
  }

  /// Two looks at one end make one start.
  @Test
  void anEndIsConsideredOnce() {
    course(0, Duration.ofDays(1), Duration.ofDays(1));
    ended("always", exited(1));
    restarts.consider("job");
    time.run(Duration.ofMinutes(5));
    assertThat(starts).hasSize(1);
  }

  /// The next daemon goes on counting where this one was.
  @Test
  void itIsWrittenDown() {
    course(1, Duration.ZERO, Duration.ZERO);
    ended("on-failure:3", exited(1));
    time.run(Duration.ofMillis(350));
    assertThat(startedMs()).containsExactly(100L, 300L);
    time.tasks.clear();
    lives = new Lives(folder.resolve("lives"));
    lives.load(line -> assertThat(line).isEmpty());
    restarts = new Restarts(lives, time, this::start);
    assertThat(lives.find("job").orElseThrow().restarts()).isEqualTo(2);
    assertThat(lives.find("job").flatMap(Life::end).orElseThrow().how()).isEqualTo("exit code 1");
    course(1, Duration.ZERO);
    restarts.consider("job");
    time.run(Duration.ofMinutes(5));
    assertThat(startedMs()).containsExactly(100L, 300L, 750L);
  }

  @ParameterizedTest
  @ValueSource(strings = {"no", "on-failure", "on-failure:7", "always"})
  void aPolicyIsWrittenAsItIsRead(String text) {
    assertThat(RestartPolicy.parse(text).orElseThrow().text()).isEqualTo(text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "never", "on-failure:", "on-failure:0", "on-failure:-1", "always:3"})
  void anythingElseIsNoPolicy(String text) {
    assertThat(RestartPolicy.parse(text)).isEmpty();
  }
}
