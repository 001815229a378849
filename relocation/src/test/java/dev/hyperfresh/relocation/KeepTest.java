package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `keep.c` on this host: a shell plays runc, and leaves a process behind.
class KeepTest {
  private static final int LIMIT_SECONDS = 60;

  @TempDir static Path programs;
  @TempDir Path work;
  @TempDir Path group;

  private final List<Process> started = new ArrayList<>();

  @BeforeAll
  static void compile() throws Exception {
    Words.compile("keep", programs);
  }

  @AfterEach
  void end() throws Exception {
    for (Process process : started) {
      process.destroyForcibly().waitFor();
    }
  }

  private Process keep(String... arguments) throws IOException {
    List<String> line = new ArrayList<>(List.of(programs.resolve("keep").toString()));
    line.addAll(List.of(arguments));
    Process process = new ProcessBuilder(line).start();
    started.add(process);
    return process;
  }

  /// A command that leaves `first` behind, as the container's first process, and ends. That waits
  /// for the command's end, because a shell, unlike runc, may notice the end of its children.
  private Process running(String first) throws IOException {
    String begin = "until [ -e " + work + "/code ]; do sleep 0.01; done; ";
    return keep(
        "run",
        work.toString(),
        group.toString(),
        "sh",
        "-c",
        "sh -c '" + begin + first + "' </dev/null >/dev/null 2>&1 & echo $! >" + work + "/pid");
  }

  private String waited() throws Exception {
    Process wait = keep("wait", work.toString());
    assertThat(wait.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    return new String(wait.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
  }

  private ContainerState.Ended ended() throws Exception {
    String said = waited();
    assertThat(said).startsWith("code ").contains(" oom 0 ago_ms ");
    return ContainerState.Ended.parse(said, Instant.now());
  }

  @Test
  void anExitCodeIsTold() throws Exception {
    Process keep = running("exit 3");
    await("pid");
    assertThat(ended().code()).hasValue(3);
    assertThat(keep.waitFor()).isZero();
  }

  /// The command has not ended yet then, and its child is still its own.
  @Test
  void anEndBeforeTheCommandHasEndedIsTold() throws Exception {
    var _ =
        keep(
            "run",
            work.toString(),
            group.toString(),
            "sh",
            "-c",
            // A shell might notice the end of its child; what it has become does not.
            "sh -c 'until grep -q sleep /proc/$PPID/comm; do :; done; exit 4' & echo $! >"
                + work
                + "/pid; exec sleep 0.3");
    await("pid");
    assertThat(ended().code()).hasValue(4);
  }

  @Test
  void howLongAgoItWasIsTold() throws Exception {
    long begin = System.nanoTime();
    assertThat(running("exit 0").waitFor()).isZero();
    long first = agoMs();
    long second = agoMs();
    assertThat(first).isLessThanOrEqualTo(second);
    // The clocks are read one after the other, in whole milliseconds.
    assertThat(second).isLessThanOrEqualTo((System.nanoTime() - begin) / 1_000_000 + 2);
  }

  private long agoMs() throws Exception {
    return Long.parseLong(waited().replaceFirst("code 0 oom 0 ago_ms ", ""));
  }

  @Test
  void aSignalIsTold() throws Exception {
    assertThat(running("kill -9 $$").waitFor()).isZero();
    assertThat(waited()).matches("signal 9 oom 0 ago_ms [0-9]+");
  }

  @Test
  void memoryThatRanOutIsTold() throws Exception {
    Path events = Files.writeString(group.resolve("memory.events"), "oom 1\noom_kill 2\n");
    assertThat(running("echo oom_kill 3 >" + events + "; kill -9 $$").waitFor()).isZero();
    assertThat(waited()).matches("signal 9 oom 1 ago_ms [0-9]+");
    assertThat(running("kill -9 $$").waitFor()).isZero();
    assertThat(waited()).matches("signal 9 oom 0 ago_ms [0-9]+");
  }

  @Test
  void theCodeOfTheCommandIsThere() throws Exception {
    assertThat(keep("run", work.toString(), group.toString(), "sh", "-c", "exit 7").waitFor())
        .isEqualTo(1);
    assertThat(waited()).isEqualTo("unknown");
    assertThat(work.resolve("code")).hasContent("7\n");
    assertThat(keep("run", work.toString(), group.toString(), "/no/such/program").waitFor())
        .isEqualTo(1);
    assertThat(waited()).isEqualTo("unknown");
    assertThat(work.resolve("code")).hasContent("127\n");
  }

  /// That nobody saw the end is not an end with code 0.
  @Test
  void whoeverIsKilledKnowsNothing() throws Exception {
    Process keep = running("exec sleep 30");
    await("code");
    int first = Integer.parseInt(Files.readString(work.resolve("pid")).strip());
    keep.destroyForcibly().waitFor();
    assertThat(waited()).isEqualTo("unknown");
    assertThat(ProcessHandle.of(first).map(ProcessHandle::destroyForcibly)).contains(true);
  }

  @Test
  void theLastToWaitIsTheOnlyOne() throws Exception {
    var _ = running("until [ -e " + work + "/go ]; do sleep 0.02; done; exit 5");
    await("code");
    Process first = keep("wait", work.toString());
    await("waiter");
    Process second = keep("wait", work.toString());
    assertThat(first.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    assertThat(first.exitValue()).isEqualTo(128 + 9);
    assertThat(second.isAlive()).isTrue();
    Files.createFile(work.resolve("go"));
    assertThat(second.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    assertThat(new String(second.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
        .startsWith("code 5 ");
  }

  /// Whoever reads what the container writes sees its end.
  @Test
  void theOutputIsNotHeldOpen() throws Exception {
    Process keep = running("exec sleep 30");
    assertThat(keep.getInputStream().readAllBytes()).isEmpty();
    assertThat(keep.isAlive()).isTrue();
    int first = Integer.parseInt(Files.readString(work.resolve("pid")).strip());
    ProcessHandle.of(first).ifPresent(ProcessHandle::destroyForcibly);
    assertThat(waited()).startsWith("signal 9 ");
  }

  private void await(String file) throws Exception {
    Path path = work.resolve(file);
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS);
    while (!Files.exists(path) || Files.size(path) == 0) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      LockSupport.parkNanos(1_000_000);
    }
  }
}
