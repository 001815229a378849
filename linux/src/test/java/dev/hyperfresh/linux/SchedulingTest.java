package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(20)
class SchedulingTest {
  @Test
  void givesAndTakesRealTimePriority() throws Exception {
    Here.requireRoot();
    onOwnThread(() -> {
      int tid = Scheduling.currentThreadId();
      Here.require(Scheduling.realTime(tid, 7), "SCHED_FIFO is not permitted here");
      assertThat(policyAndPriority(tid)).isEqualTo("1 7");
      assertThat(Scheduling.normal(tid)).isTrue();
      assertThat(policyAndPriority(tid)).isEqualTo("0 0");
      return tid;
    });
  }

  @Test
  void everyThreadHasItsOwnNumber() throws Exception {
    int other = onOwnThread(Scheduling::currentThreadId);

    assertThat(other).isNotEqualTo(Scheduling.currentThreadId());
    assertThat(Files.exists(Path.of("/proc/self/task/" + Scheduling.currentThreadId()))).isTrue();
  }

  @Test
  void aThreadThatIsGoneIsAResult() {
    assertThat(Scheduling.realTime(Integer.MAX_VALUE, 1)).isFalse();
    assertThat(Scheduling.normal(Integer.MAX_VALUE)).isFalse();
  }

  @Test
  void refusesWhatCannotBeMeant() {
    assertThatThrownBy(() -> Scheduling.realTime(1, 0)).hasMessageContaining("1 to 99");
    assertThatThrownBy(() -> Scheduling.realTime(1, 100)).hasMessageContaining("1 to 99");
    assertThatThrownBy(() -> Scheduling.normal(0)).hasMessageContaining("above 0");
    assertThatThrownBy(() -> Scheduling.timerSlack(-1)).hasMessageContaining("negative");
  }

  @Test
  void timerSlackIsThatOfTheThread() throws Exception {
    String slack =
        onOwnThread(() -> {
          Scheduling.timerSlack(1234);
          Path file = Path.of("/proc/" + Scheduling.currentThreadId() + "/timerslack_ns");
          return Files.readString(file).strip();
        });

    assertThat(slack).isEqualTo("1234");
  }

  private static String policyAndPriority(int tid) throws Exception {
    String stat = Files.readString(Path.of("/proc/self/task/" + tid + "/stat"));
    // Counted from the state, which follows the name in brackets: fields 41 and 40 of proc(5).
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
    return fields[41 - 3] + " " + fields[40 - 3];
  }

  private static <T> T onOwnThread(Callable<T> body) throws Exception {
    FutureTask<T> task = new FutureTask<>(body);
    Thread.ofPlatform().start(task);
    return task.get(10, TimeUnit.SECONDS);
  }
}
