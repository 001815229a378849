package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class DaemonConfigTest {
  private static final String SOCKET = "/daemon.sock";

  @Test
  void everythingIsUnderOneDirectory() {
    DaemonConfig config = DaemonConfig.under(Path.of("/srv/hf"));

    assertThat(config.state()).isEqualTo(Path.of("/srv/hf"));
    assertThat(config.releases()).isEqualTo(Path.of("/srv/hf/releases"));
    assertThat(config.packages()).isEqualTo(Path.of("/srv/hf/apt"));
    assertThat(config.socket()).isEqualTo(Path.of("/srv/hf/daemon.sock"));
  }

  @Test
  void aNumberOfStartsThatCannotBeIsRefused() {
    DaemonConfig config = DaemonConfig.under(Path.of("/srv/hf"));

    assertThat(config.startsAtOnce()).isBetween(2, 16);
    assertThat(config.starting(64).startsAtOnce()).isEqualTo(64);
    for (int wrong : new int[] {-1, 0, 65}) {
      assertThatThrownBy(() -> config.starting(wrong)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void itKeepsWhatElseItWasGiven() {
    WatchTimes brief = new WatchTimes(Duration.ZERO, Duration.ofMillis(1));
    DaemonConfig config = DaemonConfig.under(Path.of("/srv/hf"));

    assertThat(config.watchTimes()).isEqualTo(WatchTimes.USUAL);
    assertThat(config.watching(brief).starting(7))
        .isEqualTo(config.starting(7).watching(brief))
        .isEqualTo(
            new DaemonConfig(config.state(), config.releases(), config.packages(), 7, brief));
  }

  @Test
  void pathsAreAbsoluteAndNormalized() {
    DaemonConfig config = DaemonConfig.under(Path.of("x/../y"));

    assertThat(config.state()).isEqualTo(Path.of("y").toAbsolutePath());
    assertThat(config.releases()).isAbsolute();
  }

  @Test
  void theLongestSocketPathIsWhatTheJdkBinds() {
    String longest = "/" + "d".repeat(UnixSocket.MAX_PATH - 1 - SOCKET.length() - 1);

    assertThat(DaemonConfig.under(Path.of(longest)).socket().toString())
        .hasSize(UnixSocket.MAX_PATH - 1);
    HyperFreshException refused =
        catchThrowableOfType(
            HyperFreshException.class, () -> DaemonConfig.under(Path.of(longest + "d")));
    assertThat(refused.problem()).isEqualTo(Problem.HOST_SOCKET_PATH);
    assertThat(refused.detail()).contains(longest, "107 bytes");
  }

  @Test
  void theLengthCountsBytes() {
    String wide = "/" + "é".repeat(50);

    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> DaemonConfig.under(Path.of(wide)));
    assertThat(refused.problem()).isEqualTo(Problem.HOST_SOCKET_PATH);
  }

  @Test
  void theDefaultIsTheSystemsForRootAndTheUsersOtherwise() {
    Path state = DaemonConfig.defaultState();

    if (Host.effectiveUid() == 0) {
      assertThat(state).isEqualTo(Path.of("/var/lib/hyperfresh"));
    } else {
      assertThat(state).isAbsolute().hasFileName("hyperfresh");
    }
  }
}
