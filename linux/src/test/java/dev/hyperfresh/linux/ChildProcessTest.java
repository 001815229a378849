package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.ChildProcess.Request;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(20)
class ChildProcessTest {
  @TempDir Path folder;

  @Test
  void hasExactlyTheChosenDescriptors() throws Exception {
    try (MemFd three = MemFd.create("three", 4096);
        MemFd seven = MemFd.create("seven", 4096);
        MemFd extra = MemFd.create("extra", 4096)) {
      // A copy without close-on-exec, as careless code would leave it.
      int careless = extra.fd().number();
      FileCalls.fcntl(careless, 2, 0);
      String seen =
          run(Map.of(3, three.fd(), 7, seven.fd()), "sh", "-c", "exec ls -l /proc/self/fd/");

      Map<Integer, String> descriptors = descriptors(seen);
      // The lowest free number is the folder that ls itself reads.
      assertThat(descriptors).containsOnlyKeys(0, 1, 2, 3, 4, 7);
      assertThat(descriptors.get(0)).isEqualTo("/dev/null");
      assertThat(descriptors.get(1)).isEqualTo(folder.resolve("out").toString());
      assertThat(descriptors.get(2)).isEqualTo(folder.resolve("out").toString());
      assertThat(descriptors.get(3)).startsWith("/memfd:three");
      assertThat(descriptors.get(4)).startsWith("/proc/");
      assertThat(descriptors.get(7)).startsWith("/memfd:seven");
    }
  }

  @Test
  void swapsNumbersThatAreTakenInTheParent() throws Exception {
    try (MemFd one = MemFd.create("one", 4096);
        MemFd two = MemFd.create("two", 4096)) {
      int numberOfOne = one.fd().number();
      int numberOfTwo = two.fd().number();
      String seen =
          run(Map.of(numberOfOne, two.fd(), numberOfTwo, one.fd()), "ls", "-l", "/proc/self/fd/");

      assertThat(descriptors(seen).get(numberOfOne)).startsWith("/memfd:two");
      assertThat(descriptors(seen).get(numberOfTwo)).startsWith("/memfd:one");
      assertThat(one.fd().isOpen()).isTrue();
    }
  }

  @Test
  void hasExactlyTheGivenEnvironmentAndArguments() throws Exception {
    Request request =
        new Request(
            List.of("sh", "-c", "env; echo \"$0\" \"$1\"", "zero", "a b*"),
            Map.of("HF_ONE", "1", "HF_EMPTY", ""),
            Map.of(),
            folder.resolve("out"),
            false);
    try (ChildProcess child = ChildProcess.spawn(request)) {
      assertThat(child.waitFor()).isEqualTo(Exit.withCode(0));
    }
    assertThat(Files.readAllLines(folder.resolve("out")))
        .contains("HF_ONE=1", "HF_EMPTY=", "zero a b*")
        .noneMatch(line -> line.startsWith("HOME="));
  }

  @Test
  void appendsToAnOutputThatOnlyTheOwnerReads() throws Exception {
    run(Map.of(), "sh", "-c", "echo out; echo err >&2");
    run(Map.of(), "echo", "again");

    Path out = folder.resolve("out");
    assertThat(out).hasContent("out\nerr\nagain");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(out)))
        .isEqualTo("rw-------");
  }

  @Test
  void startsWithEverySignalAtItsDefault() throws Exception {
    String status = run(Map.of(), "cat", "/proc/self/status");

    assertThat(status).containsPattern("SigBlk:\\s+0000000000000000");
    // glibc keeps the two signals that it uses itself, 32 and 33, ignored.
    assertThat(status).containsPattern("SigIgn:\\s+0000000(00|18)0000000");
    assertThat(status).containsPattern("SigCgt:\\s+0000000000000000");
  }

  @Test
  void leadsASessionOnlyWhenAsked() throws Exception {
    assertThat(sessionIsOwn(true)).isTrue();
    assertThat(sessionIsOwn(false)).isFalse();
  }

  @Test
  void reportsTheCodeAndTheSignal() {
    try (ChildProcess child = spawn("sh", "-c", "exit 3")) {
      assertThat(child.waitFor()).isEqualTo(Exit.withCode(3));
      assertThat(child.waitFor().describe()).isEqualTo("exit code 3");
      assertThat(Files.exists(Path.of("/proc/" + child.pid()))).isFalse();
      child.kill();
    }
    try (ChildProcess child = spawn("sleep", "60")) {
      assertThat(child.waitFor(Duration.ofMillis(20))).isEmpty();
      child.kill();
      Exit exit = child.waitFor();
      assertThat(exit.signal()).isEqualTo(OptionalInt.of(Signals.KILL));
      assertThat(exit.describe()).isEqualTo("signal 9");
      assertThat(child.waitFor(Duration.ZERO)).contains(exit);
    }
  }

  @Test
  void closeNeitherKillsNorReaps() {
    ChildProcess child = spawn("sleep", "60");
    int pid = child.pid();
    child.close();

    assertThat(Files.exists(Path.of("/proc/" + pid))).isTrue();
    try (PidFd held = PidFd.open(pid)) {
      held.signal(Signals.KILL);
      assertThat(held.awaitExit(Duration.ofSeconds(5))).isTrue();
    }
    assertThat(ChildProcess.reap(Constants.P_PID, pid, "sleep"))
        .isEqualTo(Exit.bySignal(Signals.KILL));
  }

  @Test
  void aFailedStartSaysWhyAndLeavesNothing() {
    spawn("true").waitFor();
    long before = Here.openDescriptors();

    assertThatThrownBy(() -> spawn("/no/such/program"))
        .isInstanceOf(LinuxException.class)
        .hasMessage("posix_spawnp /no/such/program: ENOENT (2)");
    assertThat(Here.openDescriptors()).isEqualTo(before);
  }

  @Test
  void refusesARequestThatCannotBeCarriedOut() throws Exception {
    Path out = folder.resolve("out");
    try (Fd zero = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY)) {
      for (int number : new int[] {-1, 0, 2, 1024}) {
        assertThatThrownBy(
                () -> new Request(List.of("true"), Map.of(), Map.of(number, zero), out, false))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining(number + " of the child must be 3 to 1023");
      }
    }
    assertThatThrownBy(() -> new Request(List.of(), Map.of(), Map.of(), out, false))
        .hasMessageContaining("needs a command");
    assertThatThrownBy(() -> new Request(List.of("a\0b"), Map.of(), Map.of(), out, false))
        .hasMessageContaining("NUL");
    assertThatThrownBy(() -> new Request(List.of("a"), Map.of("x=y", ""), Map.of(), out, false))
        .hasMessageContaining("not the name of a variable");
  }

  @Test
  void anExitHasACodeOrASignal() {
    assertThatThrownBy(() -> new Exit(OptionalInt.empty(), OptionalInt.empty()))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Exit(OptionalInt.of(1), OptionalInt.of(9)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private boolean sessionIsOwn(boolean newSession) throws Exception {
    Path out = folder.resolve("session-" + newSession);
    Request request =
        new Request(List.of("cat", "/proc/self/stat"), Map.of(), Map.of(), out, newSession);
    try (ChildProcess child = ChildProcess.spawn(request)) {
      child.waitFor();
      return Files.readString(out).split(" ")[5].equals(String.valueOf(child.pid()));
    }
  }

  private ChildProcess spawn(String... command) {
    return ChildProcess.spawn(
        new Request(List.of(command), Map.of(), Map.of(), folder.resolve("out"), true));
  }

  private String run(Map<Integer, Fd> descriptors, String... command) throws Exception {
    Path out = folder.resolve("out");
    Map<String, String> environment = Map.of("PATH", System.getenv("PATH"), "LC_ALL", "C");
    Request request = new Request(List.of(command), environment, descriptors, out, false);
    try (ChildProcess child = ChildProcess.spawn(request)) {
      assertThat(child.waitFor()).as(Files.readString(out)).isEqualTo(Exit.withCode(0));
    }
    return Files.readString(out);
  }

  private static Map<Integer, String> descriptors(String listing) {
    Map<Integer, String> found = new HashMap<>();
    for (String line : listing.lines().filter(text -> text.contains(" -> ")).toList()) {
      String[] words = line.substring(0, line.indexOf(" -> ")).split("\\s+");
      found.put(Integer.valueOf(words[words.length - 1]), line.substring(line.indexOf(" -> ") + 4));
    }
    return found;
  }
}
