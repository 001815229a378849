package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class ParentDeathTest {
  private static final Duration SOON = Duration.ofSeconds(10);

  @TempDir Path folder;

  @BeforeEach
  void needsSetpriv() {
    Here.require(Files.isExecutable(Path.of("/usr/bin/setpriv")), "there is no setpriv");
    Here.requireProgram("mkfifo");
  }

  @Test
  void aProcessWhoseParentDiedBeforeItAskedEndsBeforeItsProgramBegins() throws Exception {
    Path ran = folder.resolve("ran");
    try (ChildProcess parent = parent();
        PidFd child = startHeld("echo yes >" + ran + "; exec sleep 60")) {
      parent.kill();
      parent.waitFor();
      letGo();

      assertThat(child.awaitExit(SOON)).isTrue();
      assertThat(ran).doesNotExist();
    }
  }

  @Test
  void aProcessEndsWithItsParent() throws Exception {
    Path runs = pipe("runs");
    try (ChildProcess parent = parent();
        PidFd child = startHeld("echo yes >" + runs + "; exec sleep 60")) {
      letGo();
      assertThat(Files.readString(runs)).isEqualTo("yes\n");
      assertThat(child.exited()).isFalse();
      parent.kill();
      parent.waitFor();

      assertThat(child.awaitExit(SOON)).isTrue();
    }
  }

  /// Does what it is told through a pipe.
  private ChildProcess parent() {
    return ChildProcess.spawn(
        new ChildProcess.Request(
            List.of("/bin/sh", "-c", ". " + pipe("script")),
            Map.of("PATH", "/usr/bin:/bin"),
            Map.of(),
            folder.resolve("output"),
            true));
  }

  /// Has the parent start a program that is held where nothing has been asked of the kernel yet.
  private PidFd startHeld(String program) throws IOException {
    Path gate = pipe("gate");
    Path child = pipe("child");
    Path pid = pipe("pid");
    Files.writeString(folder.resolve("script"), "echo $$ >" + pid + "; . " + pipe("order") + "\n");
    long parent = Long.parseLong(Files.readString(pid).strip());
    String command =
        ParentDeath.ends(List.of("/bin/sh", "-c", program), parent).stream()
            .map(word -> "'" + word.replace("'", "'\\''") + "'")
            .collect(Collectors.joining(" "));
    Files.writeString(
        folder.resolve("order"),
        "(read go <" + gate + "; exec " + command + ") & echo $! >" + child + "; wait\n");
    return PidFd.open(Integer.parseInt(Files.readString(child).strip()));
  }

  private void letGo() throws IOException {
    Files.writeString(folder.resolve("gate"), "go\n");
  }

  private Path pipe(String name) {
    Path pipe = folder.resolve(name);
    Here.run("mkfifo", pipe.toString());
    return pipe;
  }
}
