package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.hyperfresh.linux.CpuPriority;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Scheduling;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// On real processes that are no hypervisors: what they have of the host's cores before, during and
/// after a switch.
@Timeout(30)
class SwitchPriorityTest {
  /// Starts one more thread at every line that it reads.
  private static final String PROGRAM =
      """
      import sys, threading
      done, wait = threading.Event(), threading.Event().wait
      def rename(name):
        if name: open('/proc/thread-self/comm', 'w').write(name)
      print('ready', flush=True)
      for line in sys.stdin:
        name = line.strip()
        threading.Thread(target=lambda: (rename(name), done.set(), wait()), daemon=True).start()
        done.wait(); done.clear()
        print('started', flush=True)
      """;

  /// Forks as soon as it has a real-time priority; the child ends with it.
  private static final String FORKING =
      """
      import ctypes, os, signal, time
      print('ready', flush=True)
      while os.sched_getscheduler(0) & 0xff != os.SCHED_FIFO: time.sleep(0.001)
      child = os.fork()
      if child == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        time.sleep(60)
      print(child, flush=True)
      time.sleep(60)
      """;

  // sched.h
  private static final int SCHED_OTHER = 0;
  private static final int SCHED_FIFO = 1;

  private Side source;
  private Side target;

  private record Side(Process process, BufferedReader said) {
    static Side start() throws IOException {
      Process process = new ProcessBuilder("setsid", "python3", "-c", PROGRAM).start();
      Side side = new Side(process, process.inputReader(StandardCharsets.US_ASCII));
      assertThat(side.said.readLine()).isEqualTo("ready");
      return side;
    }

    int pid() {
      return (int) process.pid();
    }

    void startThread() throws IOException {
      startThread("");
    }

    void startThread(String name) throws IOException {
      process.getOutputStream().write((name + "\n").getBytes(StandardCharsets.US_ASCII));
      process.getOutputStream().flush();
      assertThat(said.readLine()).isEqualTo("started");
    }

    List<CpuPriority> threads() {
      return Arrays.stream(ProcessThreads.of(pid()))
          .mapToObj(thread -> CpuPriority.ofThread(pid(), thread).orElseThrow())
          .toList();
    }
  }

  @BeforeEach
  void start() throws IOException {
    boolean may = CpuPriority.mayRaise();
    if (!may) {
      System.out.println("skipped: needs CAP_SYS_NICE");
    }
    assumeTrue(may);
    source = Side.start();
    target = Side.start();
    source.startThread();
    target.startThread();
  }

  @AfterEach
  void end() {
    source.process.destroyForcibly();
    target.process.destroyForcibly();
  }

  @Test
  void everyThreadIsAnOrdinaryOneAfterASwitchAlsoThoseThatWereStartedInIt() throws Exception {
    CpuPriority before = CpuPriority.of(source.pid()).orElseThrow();
    SwitchPriority priority = SwitchPriority.of(source.pid(), target.pid(), true);
    priority.raise();
    source.startThread();
    target.startThread();
    // The main threads have it, what the source's starts has it too, and the target's has not.
    assertThat(source.threads()).filteredOn(t -> t.policy() == SCHED_FIFO).hasSize(2);
    assertThat(target.threads()).filteredOn(t -> t.policy() == SCHED_FIFO).hasSize(2);

    priority.lower();

    assertThat(source.threads()).hasSize(3).containsOnly(before);
    assertThat(target.threads()).hasSize(3).containsOnly(before);
  }

  /// What it forks is another process, whose priority nobody takes back.
  @Test
  void aProcessThatAForeignSourceForksIsAnOrdinaryOne() throws Exception {
    Process forking =
        new ProcessBuilder("setsid", "python3", "-c", FORKING)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      BufferedReader said = forking.inputReader(StandardCharsets.US_ASCII);
      assertThat(said.readLine()).isEqualTo("ready");
      SwitchPriority priority = SwitchPriority.of((int) forking.pid(), target.pid(), false);
      priority.raise();
      int child = Integer.parseInt(said.readLine());
      assertThat(CpuPriority.of((int) forking.pid()).orElseThrow().policy()).isEqualTo(SCHED_FIFO);
      priority.lower();

      assertThat(CpuPriority.of(child).orElseThrow().policy()).isEqualTo(SCHED_OTHER);
      assertThat(CpuPriority.of((int) forking.pid()).orElseThrow().policy()).isEqualTo(SCHED_OTHER);
    } finally {
      forking.destroyForcibly();
    }
  }

  @Test
  void theNextDaemonGivesBackTheSame() throws Exception {
    CpuPriority before = CpuPriority.of(source.pid()).orElseThrow();
    SwitchPriority.of(source.pid(), target.pid(), true).raise();
    source.startThread();

    SwitchPriority.giveBack(source.pid());
    SwitchPriority.giveBack(target.pid());

    assertThat(source.threads()).hasSize(3).containsOnly(before);
    assertThat(target.threads()).hasSize(2).containsOnly(before);
  }

  @Test
  void aThreadOfTheTargetGetsWhatTheSourcesOfItsNameHas() throws Exception {
    source.startThread("CPU 0/TCG");
    target.startThread("CPU 0/TCG");
    CpuPriority found = CpuPriority.of(source.pid()).orElseThrow();
    int processor = ProcessThreads.of(source.pid())[2];
    assertThat(Scheduling.nice(processor, 7)).isTrue();

    SwitchPriority priority = SwitchPriority.of(source.pid(), target.pid(), true);
    priority.raise();
    priority.lower();

    assertThat(target.threads())
        .extracting(CpuPriority::nice)
        .containsExactly(found.nice(), found.nice(), 7);
    assertThat(target.threads()).first().isEqualTo(found);
    assertThat(source.threads())
        .extracting(CpuPriority::nice)
        .containsExactly(found.nice(), found.nice(), 7);
  }

  @Test
  void theTargetGetsWhatTheSourceHasAndKeepsIt() throws Exception {
    CpuPriority found = CpuPriority.of(source.pid()).orElseThrow();
    BitSet one = new BitSet();
    one.set(found.cores().previousSetBit(Integer.MAX_VALUE));
    CpuPriority given = new CpuPriority(found.policy(), 0, 4, one, found.session());
    given.giveTo(source.pid());
    CpuPriority.background(target.pid());

    SwitchPriority priority = SwitchPriority.of(source.pid(), target.pid(), true);
    assertThat(target.threads()).hasSize(2).containsOnly(given);
    priority.raise();
    target.startThread();
    priority.lower();

    assertThat(target.threads()).hasSize(3).containsOnly(given);
  }
}
