package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/// One talk with an agent in a guest, which speaks the protocol of qemu-guest-agent
/// (`docs/interop/qemu-ga-ref`). Whoever answers is the guest and not trusted: what it says is
/// bounded in bytes and in time, and can only spoil its own clock. For one thread.
final class GuestAgent implements AutoCloseable {
  /// For all of a talk: an agent that lives answers within some tens of milliseconds, also in a
  /// translated guest.
  private static final Duration LIMIT = Duration.ofSeconds(5);

  /// What it may say in all. The answers wanted here are shorter than 100 bytes; what an earlier
  /// talk left comes before them.
  private static final int MOST_BYTES = 64 * 1024;

  /// The byte that no text has: the agent drops what it has read so far, and answers with the same.
  private static final int DELIMITER = 0xff;

  /// How often the guest's clock is read; the quickest answer tells it best.
  private static final int READINGS = 3;

  /// How often the clock is set at most, when it is still behind.
  private static final int SETTINGS = 3;

  /// Nobody's time service is better over a network.
  private static final long GOOD_NANOS = 1_000_000;

  private static final int MOST_WORDS = 200;

  private final UnixSocket socket;
  private final Duration limit;
  private final long deadline;
  private final byte[] chunk = new byte[4096];
  private int next;
  private int filled;
  private int taken;

  private GuestAgent(UnixSocket socket, Duration limit) {
    this.socket = socket;
    this.limit = limit;
    this.deadline = Clock.monotonicNanos() + limit.toNanos();
  }

  /// The guest's clock as it was read once.
  ///
  /// @param behindNanos how far it was behind the host's, below 0 when it was ahead
  /// @param certainNanos by how much that may be wrong: half the time that the answer took
  /// @param wayNanos how long an answer takes when it takes long
  private record Reading(long behindNanos, long certainNanos, long wayNanos) {
    /// By more than the time that is told would lose on its way: the clock must not go back by it.
    boolean isBehind() {
      return behindNanos > Math.max(wayNanos, GOOD_NANOS);
    }

    /// The better of two readings.
    Reading with(Reading other) {
      Reading best = other.certainNanos < certainNanos ? other : this;
      return new Reading(best.behindNanos, best.certainNanos, Math.max(wayNanos, other.wayNanos));
    }
  }

  /// The agent does not do its part; the message is half a sentence with the agent as its subject.
  private static final class Trouble extends RuntimeException {
    private static final long serialVersionUID = 1;

    Trouble(String message) {
      super(message);
    }
  }

  /// As [dev.hyperfresh.hypervisor.Instance#stepClock], through the channel at `path`.
  static ClockStep stepClock(Path path) {
    return stepClock(path, LIMIT);
  }

  static ClockStep stepClock(Path path, Duration limit) {
    try (GuestAgent agent = new GuestAgent(UnixSocket.connect(path, limit), limit)) {
      agent.synchronize();
      return agent.step();
    } catch (LinuxException e) {
      throw unable("cannot be reached: " + e.errnoName(), e);
    } catch (JacksonException e) {
      throw unable("does not speak JSON", e);
    } catch (Trouble e) {
      throw unable(String.valueOf(e.getMessage()), e);
    }
  }

  private static HyperFreshException unable(String why, Throwable cause) {
    return Problem.GUEST_STATE.because("The agent in the guest " + why + ".", cause);
  }

  /// Finds the beginning of the answers that belong to this talk.
  private void synchronize() {
    long id = Clock.monotonicNanos() & Integer.MAX_VALUE;
    send("guest-sync-delimited", Map.of("id", id));
    JsonNode answer;
    do {
      while (read() != DELIMITER) {
        // What an earlier talk left.
      }
      answer = QmpMessage.JSON.readTree(line());
    } while (answer.path("return").asLong(-1) != id);
  }

  /// Sets the clock until it is right: what the time takes on its way is known only afterwards.
  private ClockStep step() {
    Reading before = reading();
    if (before.behindNanos() < -before.certainNanos()) {
      throw Problem.GUEST_STATE.because(
          "The guest's wall clock is ahead of the host's by "
              + -before.behindNanos() / 1_000_000
              + " ms; it is never set back.");
    }
    Reading now = before;
    String said = "";
    for (int i = 0; i < SETTINGS && now.isBehind(); i++) {
      said = set(now);
      now = reading();
    }
    if (!said.isEmpty() && now.behindNanos() > before.behindNanos() / 2) {
      throw new Trouble("does not set the clock: " + said);
    }
    return new ClockStep(
        Math.max(0, before.behindNanos() - now.behindNanos()) / 1e6, remark(now, said));
  }

  /// It sets the clock first and then the hardware's, and reports on both together.
  ///
  /// @return what it complains of, or empty
  private String set(Reading now) {
    send("guest-set-time", Map.of("time", Clock.realtimeNanos() + now.certainNanos()));
    try {
      JsonNode answer = answer();
      return answer.has("return") ? "" : words(answer);
    } catch (Trouble e) {
      throw new Trouble("was told the time and " + e.getMessage());
    }
  }

  private static String remark(Reading now, String said) {
    String complaint = said.isEmpty() ? "" : "The agent set the clock and said: " + said + ".";
    String rest =
        now.isBehind()
            ? "The wall clock is still " + now.behindNanos() / 1_000_000 + " ms behind the host's."
            : "";
    return (complaint + " " + rest).strip();
  }

  private Reading reading() {
    Reading best = once();
    for (int i = 1; i < READINGS; i++) {
      Reading again = once();
      best = best.with(again);
    }
    return best;
  }

  private Reading once() {
    long asked = Clock.monotonicNanos();
    long then = Clock.realtimeNanos();
    send("guest-get-time", Map.of());
    JsonNode answer = answer();
    long half = (Clock.monotonicNanos() - asked) / 2;
    if (!answer.path("return").isIntegralNumber()) {
      throw new Trouble("does not tell the time: " + words(answer));
    }
    return new Reading(then + half - answer.path("return").asLong(), half, 2 * half);
  }

  private static String words(JsonNode answer) {
    String said = answer.path("error").path("desc").asString(answer.toString());
    String printable = said.replaceAll("[^\\x20-\\x7e]", "?");
    return printable.substring(0, Math.min(MOST_WORDS, printable.length()));
  }

  private void send(String command, Map<String, ?> arguments) {
    Map<String, Object> message = new LinkedHashMap<>();
    message.put("execute", command);
    if (!arguments.isEmpty()) {
      message.put("arguments", arguments);
    }
    byte[] text = QmpMessage.JSON.writeValueAsString(message).getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    if (command.equals("guest-sync-delimited")) {
      bytes.write(DELIMITER);
    }
    bytes.writeBytes(text);
    bytes.write('\n');
    socket.send(bytes.toByteArray());
  }

  private JsonNode answer() {
    return QmpMessage.JSON.readTree(line());
  }

  private byte[] line() {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b = read(); b != '\n'; b = read()) {
      line.write(b);
    }
    return line.toByteArray();
  }

  private int read() {
    if (next == filled) {
      fill();
    }
    return chunk[next++] & 0xff;
  }

  private Trouble silent() {
    return new Trouble("does not answer within " + limit.toMillis() / 1e3 + " s");
  }

  private void fill() {
    long left = deadline - Clock.monotonicNanos();
    if (left <= 0) {
      throw silent();
    }
    if (taken > MOST_BYTES) {
      throw new Trouble("says more than " + (MOST_BYTES >> 10) + " KiB");
    }
    socket.receiveTimeout(Duration.ofNanos(left));
    List<Fd> none = new ArrayList<>();
    try {
      filled = socket.receive(chunk, none);
    } catch (LinuxException e) {
      if (e.errnoName().equals("EAGAIN")) {
        throw silent();
      }
      throw e;
    } finally {
      none.forEach(Fd::close);
    }
    if (filled < 0) {
      filled = 0;
      next = 0;
      throw new Trouble("was cut off");
    }
    next = 0;
    taken += filled;
  }

  @Override
  public void close() {
    socket.close();
  }
}
