package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class CpuPriorityTest {
  private static final Duration LONG = Duration.ofMinutes(10);

  /// A session of its own; one more thread at every line that it reads.
  private static final List<String> PROGRAM =
      List.of(
          "setsid",
          "python3",
          "-c",
          """
          import sys, threading
          print('ready', flush=True)
          for line in sys.stdin:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            print('started', flush=True)
          """);

  /// Always has some threads that it has just started.
  private static final String RESTLESS =
      """
      import threading, time
      end = time.monotonic() + 60
      def start():
        if time.monotonic() < end:
          threading.Thread(target=start, daemon=True).start()
          time.sleep(0.02)
      for i in range(4): threading.Thread(target=start, daemon=True).start()
      print('ready', flush=True)
      time.sleep(60)
      """;

  /// The program, and a way to have it start a thread.
  private record Running(Process process, BufferedReader said) implements AutoCloseable {
    static Running start() throws IOException {
      Here.requireProgram("setsid");
      Here.requireProgram("python3");
      Here.require(CpuPriority.mayRaise(), "needs CAP_SYS_NICE");
      Process process = new ProcessBuilder(PROGRAM).start();
      Running running = new Running(process, process.inputReader(StandardCharsets.US_ASCII));
      assertThat(running.said.readLine()).isEqualTo("ready");
      return running;
    }

    int pid() {
      return (int) process.pid();
    }

    void startThread() throws IOException {
      process.getOutputStream().write("\n".getBytes(StandardCharsets.US_ASCII));
      process.getOutputStream().flush();
      assertThat(said.readLine()).isEqualTo("started");
    }

    List<CpuPriority> threads() {
      return Arrays.stream(ProcessThreads.of(pid()))
          .mapToObj(thread -> CpuPriority.ofThread(pid(), thread).orElseThrow())
          .toList();
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }

  @Test
  void aProcessInTheBackgroundGetsBackWhatItHadWithAllItsThreads() throws Exception {
    try (Running running = Running.start()) {
      running.startThread();
      CpuPriority before = CpuPriority.of(running.pid()).orElseThrow();
      try (Background _ = Background.of(running.pid(), LONG)) {
        running.startThread();
        assertThat(running.threads()).hasSize(3).allSatisfy(CpuPriorityTest::isLast);
      }
      assertThat(running.threads()).hasSize(3).containsOnly(before);
    }
  }

  /// Whoever looks for threads until there is no new one would stay, in a switch too.
  @Test
  void aProcessThatNeverCeasesToStartThreadsKeepsNobody() throws Exception {
    Here.requireProgram("python3");
    Here.require(CpuPriority.mayRaise(), "needs CAP_SYS_NICE");
    Process process = new ProcessBuilder("setsid", "python3", "-c", RESTLESS).start();
    try {
      assertThat(process.inputReader().readLine()).isEqualTo("ready");
      long begin = System.nanoTime();
      try (Background _ = Background.of((int) process.pid(), LONG)) {
        assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(2));
      }
      assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(4));
      AtomicInteger looks = new AtomicInteger();
      ProcessThreads.forEach(
          (int) process.pid(),
          thread -> {
            looks.incrementAndGet();
            LockSupport.parkNanos(5_000_000);
          });
      assertThat(looks).hasPositiveValue();
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  private static void isLast(CpuPriority priority) {
    assertThat(priority.policy()).isEqualTo(Constants.SCHED_IDLE);
    assertThat(priority.nice()).isEqualTo(19);
    if (priority.session().isPresent()) {
      assertThat(priority.session()).hasValue(19);
    }
  }

  @Test
  void theBackgroundEndsByItselfSinceABusyHostWouldKeepItForEver() throws Exception {
    try (Running running = Running.start()) {
      CpuPriority before = CpuPriority.of(running.pid()).orElseThrow();
      try (Background _ = Background.of(running.pid(), Duration.ofMillis(1))) {
        while (!CpuPriority.of(running.pid()).orElseThrow().equals(before)) {
          LockSupport.parkNanos(1_000_000);
        }
      }
    }
  }

  @Test
  void givesNiceValuePolicyCoresAndSession() throws Exception {
    try (Running running = Running.start()) {
      running.startThread();
      CpuPriority before = CpuPriority.of(running.pid()).orElseThrow();
      BitSet one = new BitSet();
      one.set(before.cores().nextSetBit(0));
      OptionalInt session = before.session().isPresent() ? OptionalInt.of(3) : OptionalInt.empty();
      CpuPriority wanted = new CpuPriority(Constants.SCHED_BATCH, 0, 5, one, session);

      wanted.giveTo(running.pid());

      assertThat(running.threads()).hasSize(2).containsOnly(wanted);
      before.giveTo(running.pid());
      assertThat(running.threads()).containsOnly(before);
    }
  }

  @Test
  void aThreadThatWasStartedUnderRealTimePriorityGivesItBackToo() throws Exception {
    try (Running running = Running.start()) {
      Here.require(
          Scheduling.realTimeInherited(running.pid(), 1), "SCHED_FIFO is not permitted here");
      running.startThread();
      assertThat(running.threads())
          .hasSize(2)
          .allMatch(thread -> thread.policy() == Constants.SCHED_FIFO);
      Scheduling.giveBack(running.pid(), 2);
      assertThat(running.threads()).allMatch(thread -> thread.realTime() == 1);
      Scheduling.giveBack(running.pid(), 1);
      assertThat(running.threads()).allMatch(thread -> thread.policy() == Constants.SCHED_OTHER);
    }
  }

  @Test
  void theCompilersOfThisProgramAreNicedAndNothingElse() throws Exception {
    Scheduling.niceCompilers(1);
    int self = (int) ProcessHandle.current().pid();
    int compilers = 0;
    for (int thread : ProcessThreads.of(self)) {
      boolean compiler = ProcessThreads.name(self, thread).matches("C[12] Compiler.*");
      int nice = CpuPriority.ofThread(self, thread).map(CpuPriority::nice).orElse(-99);
      if (compiler) {
        compilers++;
        assertThat(nice).isEqualTo(1);
      }
    }
    assertThat(compilers).isPositive();
    assertThat(CpuPriority.ofThread(self, Scheduling.currentThreadId()).orElseThrow().nice())
        .isEqualTo(Integer.parseInt(Here.run("nice").strip()));
  }

  @Test
  void readsMasksOfAnyLength() {
    assertThat(CpuPriority.cores("3").toString()).isEqualTo("{0, 1}");
    assertThat(CpuPriority.cores("80000001,00000000,00000002").toString()).isEqualTo("{1, 64, 95}");
  }

  @Test
  void aProcessThatIsGoneIsAResult() {
    assertThat(CpuPriority.of(Integer.MAX_VALUE)).isEmpty();
    assertThat(ProcessThreads.of(Integer.MAX_VALUE)).isEmpty();
    CpuPriority.background(Integer.MAX_VALUE);
    assertThat(Scheduling.nice(Integer.MAX_VALUE, 1)).isFalse();
  }
}
