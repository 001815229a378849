package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// A talk with an agent that is not as it should be; `GuestTimeTest` has the real one.
@Timeout(20)
class GuestAgentTest {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final Duration SHORT = Duration.ofMillis(200);
  private static final long BEHIND = 3_000_000_000L;

  @TempDir Path folder;
  private Scripted agent;

  /// An agent in the role of which a test plays.
  private static final class Scripted implements AutoCloseable {
    final List<String> asked = new ArrayList<>();
    private final UnixSocket listener;
    volatile long behindNanos = BEHIND;
    volatile String beforeSync = "";
    volatile String onSet = "{\"return\": {}}";
    volatile boolean sets = true;
    volatile boolean silent;

    Scripted(Path path) {
      listener = UnixSocket.listen(path, 0600);
      var _ = Thread.ofPlatform().name("scripted-agent").daemon().start(this::serve);
    }

    private void serve() {
      try (UnixSocket peer = listener.accept()) {
        byte[] chunk = new byte[4096];
        StringBuilder text = new StringBuilder();
        for (int got = peer.receive(chunk, new ArrayList<>()); got > 0; ) {
          text.append(new String(chunk, 0, got, StandardCharsets.ISO_8859_1));
          for (int end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
            String line = text.substring(0, end);
            text.delete(0, end + 1);
            peer.send(answer(line).getBytes(StandardCharsets.ISO_8859_1));
          }
          got = peer.receive(chunk, new ArrayList<>());
        }
      } catch (LinuxException e) {
        // The client has seen enough.
      }
    }

    private String answer(String line) {
      boolean delimited = line.startsWith("\u00ff");
      JsonNode message = QmpMessage.JSON.readTree(delimited ? line.substring(1) : line);
      String command = message.path("execute").asString("");
      synchronized (asked) {
        asked.add(command);
      }
      if (silent) {
        return "";
      }
      return switch (command) {
        case "guest-sync-delimited" ->
            beforeSync
                + "\u00ff{\"return\": "
                + message.path("arguments").path("id").asLong()
                + "}\n";
        case "guest-get-time" -> "{\"return\": " + (Clock.realtimeNanos() - behindNanos) + "}\n";
        case "guest-set-time" -> {
          if (sets) {
            behindNanos = Clock.realtimeNanos() - message.path("arguments").path("time").asLong();
          }
          yield onSet + "\n";
        }
        default -> throw new IllegalStateException(line);
      };
    }

    List<String> asked() {
      synchronized (asked) {
        return List.copyOf(asked);
      }
    }

    @Override
    public void close() {
      listener.shutdown();
      listener.close();
    }
  }

  @BeforeEach
  void start() {
    agent = new Scripted(folder.resolve("agent"));
  }

  @AfterEach
  void stop() {
    agent.close();
  }

  private ClockStep step(Duration limit) {
    return GuestAgent.stepClock(folder.resolve("agent"), limit);
  }

  @Test
  void aClockThatIsBehindIsPutForward() {
    ClockStep step = step(LIMIT);
    assertThat(step.millis()).isCloseTo(3000, within(500.0));
    assertThat(step.remark()).isEmpty();
    assertThat(agent.asked()).startsWith("guest-sync-delimited", "guest-get-time");
    assertThat(agent.asked()).contains("guest-set-time");
    assertThat(agent.behindNanos).isLessThan(500_000_000);
  }

  @Test
  void whatAnEarlierTalkLeftIsPassedOver() {
    agent.beforeSync =
        "{\"return\": 1}\n{\"error\": {\"desc\": \"stray\"}}\n\u00ff{\"return\": -7}\n\n";
    assertThat(step(LIMIT).millis()).isCloseTo(3000, within(500.0));
  }

  @Test
  void aClockThatIsAheadIsNeverSetBack() {
    agent.behindNanos = -BEHIND;
    assertThatThrownBy(() -> step(LIMIT))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e ->
                assertThat(e.detail())
                    .startsWith("The guest's wall clock is ahead of the host's by ")
                    .endsWith(" ms; it is never set back."));
    assertThat(agent.asked()).doesNotContain("guest-set-time");
  }

  @Test
  void aClockThatIsRightIsLeftAlone() {
    agent.behindNanos = 0;
    assertThat(step(LIMIT)).isEqualTo(new ClockStep(0, ""));
    assertThat(agent.asked()).doesNotContain("guest-set-time");
  }

  @Test
  void aComplaintAboutTheHardwareClockIsARemark() {
    agent.onSet = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"hwclock\\u0007 failed\"}}";
    ClockStep step = step(LIMIT);
    assertThat(step.millis()).isCloseTo(3000, within(500.0));
    assertThat(step.remark()).startsWith("The agent set the clock and said: hwclock? failed.");
  }

  @Test
  void aRefusalIsTold() {
    agent.sets = false;
    agent.onSet = "{\"error\": {\"desc\": \"the command is disabled\"}}";
    refused("The agent in the guest does not set the clock: the command is disabled.", LIMIT);
  }

  @Test
  void anAgentThatIsSilentIsNotWaitedForLong() {
    agent.silent = true;
    refused("The agent in the guest does not answer within 0.2 s.", SHORT);
  }

  @Test
  void anAgentThatTalksWithoutEndIsCutOff() {
    agent.beforeSync = "x".repeat(200_000);
    refused("The agent in the guest says more than 64 KiB.", LIMIT);
  }

  @Test
  void anAgentThatTalksNonsenseIsToldOf() {
    agent.onSet = "}{";
    refused("The agent in the guest does not speak JSON.", LIMIT);
  }

  private void refused(String detail, Duration limit) {
    assertThatThrownBy(() -> step(limit))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.detail()).isEqualTo(detail));
  }
}
