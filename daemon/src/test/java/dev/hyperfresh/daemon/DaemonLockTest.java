package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// One daemon a state directory, whichever process it is in and however the last one ended.
@Timeout(60)
class DaemonLockTest {
  private static final String SERVING = "serving";

  @TempDir Path folder = Path.of("");

  /// A daemon in a process of its own. Argument: the state directory.
  static final class Other {
    private Other() {}

    public static void main(String[] arguments) throws InterruptedException {
      Daemon daemon = Daemon.start(DaemonConfig.under(Path.of(arguments[0])));
      System.out.println(SERVING);
      new CountDownLatch(1).await();
      daemon.close();
    }
  }

  @Test
  void aSecondDaemonOfTheSameProcessIsRefused() throws Exception {
    DaemonConfig config = DaemonConfig.under(folder.resolve("state"));
    try (Daemon first = Daemon.start(config)) {
      assertRefused(config);
      assertThat(new RawHttp(first.config().socket()).get("/v1/guests").status()).isEqualTo(200);
    }
    Daemon.start(config).close();
  }

  @Test
  void aSecondDaemonOfAnotherProcessIsRefusedUntilTheFirstIsGone() throws Exception {
    DaemonConfig config = DaemonConfig.under(folder.resolve("state"));
    Process first = other(config.state());
    try {
      assertRefused(config);
      assertThat(new RawHttp(config.socket()).get("/v1/guests").status()).isEqualTo(200);
    } finally {
      first.destroyForcibly().waitFor();
    }
    assertThat(config.socket()).as("the socket a killed daemon leaves").exists();
    try (Daemon next = Daemon.start(config)) {
      assertThat(new RawHttp(next.config().socket()).get("/v1/guests").status()).isEqualTo(200);
    }
  }

  @Test
  void daemonsOfTwoDirectoriesDoNotMeet() {
    try (Daemon one = Daemon.start(DaemonConfig.under(folder.resolve("one")));
        Daemon two = Daemon.start(DaemonConfig.under(folder.resolve("two")))) {
      assertThat(one.config().socket()).isNotEqualTo(two.config().socket());
    }
  }

  @Test
  void aStateDirectoryThatIsAFileIsNamed() throws Exception {
    Path file = Files.writeString(folder.resolve("state"), "");

    HyperFreshException refused =
        catchThrowableOfType(
            HyperFreshException.class, () -> Daemon.start(DaemonConfig.under(file)).close());
    assertThat(refused.problem()).isEqualTo(Problem.DAEMON_STATE);
    assertThat(refused.detail()).contains(file.toString());
  }

  private static void assertRefused(DaemonConfig config) {
    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> Daemon.start(config).close());
    assertThat(refused).isNotNull();
    assertThat(refused.problem()).isEqualTo(Problem.DAEMON_RUNNING);
    assertThat(refused.problem().code()).isEqualTo("HF-DAEMON-002");
    assertThat(refused.detail()).contains(config.state().toString());
  }

  private static Process other(Path state) throws IOException {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Other.class.getName(),
                state.toString())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try (BufferedReader said = process.inputReader()) {
      assertThat(said.readLine()).isEqualTo(SERVING);
    }
    return process;
  }
}
