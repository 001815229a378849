package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import dev.hyperfresh.qemu.QmpMessage.Event;
import dev.hyperfresh.qemu.QmpMessage.Failure;
import dev.hyperfresh.qemu.QmpMessage.Greeting;
import dev.hyperfresh.qemu.QmpMessage.MalformedException;
import dev.hyperfresh.qemu.QmpMessage.Success;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QmpMessageTest {
  private static final int MUTATIONS = 250_000;

  /// That many are made apart, each with a seed of its own, for all processors.
  private static final int STREAMS = 25;

  private static final int TREE_LIMIT = 16 << 20;

  /// What QEMU 7.2 and 10.0 said in a replacement, shortened.
  private static final List<String> CORPUS =
      List.of(
          "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7},"
              + " \"package\": \"Debian 1:7.2+dfsg-7+deb12u18\"}, \"capabilities\": [\"oob\"]}}",
          "{\"return\": {}, \"id\": \"1\"}",
          "{\"return\": {\"running\": true, \"singlestep\": false, \"status\": \"running\"},"
              + " \"id\": \"17\"}",
          "{\"return\": [{\"name\": \"pc-q35-7.2\", \"cpu-max\": 288, \"hotpluggable-cpus\":"
              + " true, \"numa-mem-supported\": true, \"deprecated\": false}], \"id\": \"3\"}",
          "{\"return\": {\"status\": \"completed\", \"setup-time\": 3, \"downtime\": 8,"
              + " \"total-time\": 14, \"ram\": {\"total\": 1130496, \"postcopy-requests\": 0,"
              + " \"normal-bytes\": 176128, \"mbps\": 96.71, \"remaining\": 0}}, \"id\": \"9\"}",
          "{\"id\": \"5\", \"error\": {\"class\": \"GenericError\", \"desc\": \"File descriptor"
              + " named 'hf-channel' not found\"}}",
          "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command x has not been"
              + " found\"}}",
          "{\"timestamp\": {\"seconds\": 1763827459, \"microseconds\": 512345}, \"event\":"
              + " \"STOP\"}",
          "{\"timestamp\": {\"seconds\": 1763827459, \"microseconds\": 518001}, \"event\":"
              + " \"RESUME\"}",
          "{\"timestamp\": {\"seconds\": 1763827459, \"microseconds\": 510000}, \"event\":"
              + " \"MIGRATION\", \"data\": {\"status\": \"pre-switchover\"}}",
          "{\"timestamp\": {\"seconds\": 1763827460, \"microseconds\": 1}, \"event\":"
              + " \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}",
          "{\"return\": \"\\u00fc \\ud83d\\ude00 \\\\ \\\" \\n\", \"id\": \"8\"}");

  private static final List<String> TOKENS =
      List.of(
          "{",
          "}",
          "[",
          "]",
          ",",
          ":",
          "null",
          "true",
          "-1",
          "1e308",
          "1e-999999999",
          "9223372036854775807",
          "9223372036854775808",
          "0.1",
          "\"\"",
          "\"event\":",
          "\"return\":",
          "\"error\":",
          "\"QMP\":",
          "\"id\":{}",
          "\"timestamp\":",
          "\"seconds\":",
          "\\u0000",
          "\\",
          "\"",
          "\r",
          "\u00ff",
          "NaN",
          "/*",
          "//");

  @Test
  void aShortLineMakesNoLargeTree() {
    for (String value : List.of("{}", "[]", "0", "{\"a\":1}", "1e1")) {
      String list = "{\"return\":[" + (value + ",").repeat((1 << 20) / 8) + "0]}";
      byte[] line = list.substring(0, Math.min(list.length(), 1 << 20)).getBytes(UTF_8);
      long before = allocated();
      assertThatThrownBy(() -> QmpMessage.decode(line, 0, line.length))
          .as(value)
          .isInstanceOf(MalformedException.class)
          .hasMessageContaining("oken count");
      assertThat(allocated() - before).as(value).isLessThan(TREE_LIMIT);
    }
  }

  private static long allocated() {
    return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
  }

  @Test
  void aRefusalIsKeptInPart() {
    byte[] line = ("{\"error\":{\"desc\":\"" + "n".repeat(500_000) + "\"}}").getBytes(UTF_8);

    assertThat(((Failure) QmpMessage.decode(line, 0, line.length)).description())
        .isEqualTo("n".repeat(QmpMessage.MAX_DESCRIPTION) + "…");
  }

  @Test
  void aGreetingTellsTheVersion() {
    assertThat(decode(CORPUS.getFirst())).isEqualTo(new Greeting("7.2.22"));
    assertThat(decode("{\"QMP\":{}}")).isEqualTo(new Greeting("0.0.0"));
  }

  @Test
  void aSuccessCarriesItsValueAndItsId() {
    Success success = (Success) decode(CORPUS.get(2));

    assertThat(success.id()).isEqualTo("17");
    assertThat(success.value().path("running").asBoolean()).isTrue();
    assertThat(((Success) decode("{\"return\":[1,2]}")).id()).isEmpty();
    assertThat(((Success) decode("{\"return\":{},\"id\":{\"a\":1}}")).id()).isEmpty();
  }

  @Test
  void aFailureCarriesItsDescription() {
    assertThat(decode(CORPUS.get(5)))
        .isEqualTo(
            new Failure("5", "GenericError", "File descriptor named 'hf-channel' not found"));
    assertThat(decode("{\"error\":{}}"))
        .isEqualTo(new Failure("", "GenericError", "no description"));
    assertThat(decode("{\"error\":7}"))
        .isEqualTo(new Failure("", "GenericError", "no description"));
  }

  @Test
  void anEventCarriesItsTimeAndItsData() {
    Event event = (Event) decode(CORPUS.get(9));

    assertThat(event.name()).isEqualTo("MIGRATION");
    assertThat(event.atMicros()).isEqualTo(1_763_827_459_510_000L);
    assertThat(event.data().path("status").asString()).isEqualTo("pre-switchover");
    assertThat(((Event) decode("{\"event\":\"X\"}")).atMicros()).isZero();
    assertThat(((Event) decode("{\"event\":\"X\"}")).data().isMissingNode()).isTrue();
  }

  @Test
  void onlyTheGivenPartOfTheBytesIsRead() {
    byte[] bytes = "xx{\"return\":{},\"id\":\"1\"}yy".getBytes(UTF_8);

    assertThat(QmpMessage.decode(bytes, 2, bytes.length - 4)).isInstanceOf(Success.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "x",
        "null",
        "7",
        "\"text\"",
        "[]",
        "{}",
        "{\"id\":\"1\"}",
        "{\"QMP\":1}",
        "{\"return\":{}",
        "{\"return\":{}}}",
        "{\"return\":{}} {\"return\":{}}",
        "{'return':{}}",
        "{\"return\":NaN}",
        "{\"return\":01}",
        "{\"return\":\"\\ud83d",
        "{\"return\":\"a\nb\"}"
      })
  void whatIsNoMessageIsRefused(String line) {
    assertThatThrownBy(() -> decode(line)).isInstanceOf(MalformedException.class);
  }

  @Test
  void theRefusalQuotesAtMost80Bytes() {
    assertThatThrownBy(() -> decode("{\"a\":\"" + "x".repeat(5000) + "\"}"))
        .isInstanceOf(MalformedException.class)
        .satisfies(refused -> assertThat(refused.getMessage()).hasSizeLessThan(200));
  }

  @Test
  void bytesThatAreNoTextAreRefused() {
    byte[] bytes = "{\"return\":\"\u00ff\u00fe\"}".getBytes(ISO_8859_1);

    assertThatThrownBy(() -> QmpMessage.decode(bytes, 0, bytes.length))
        .isInstanceOf(MalformedException.class);
  }

  @Test
  void nestingIsBounded() {
    assertThat(decode("{\"return\":" + "[".repeat(63) + "]".repeat(63) + "}"))
        .isInstanceOf(Success.class);
    assertThatThrownBy(() -> decode("{\"return\":" + "[".repeat(64) + "]".repeat(64) + "}"))
        .isInstanceOf(MalformedException.class);
    assertThatThrownBy(() -> decode("{\"return\":" + "[".repeat(1_000_000)))
        .isInstanceOf(MalformedException.class);
  }

  @Test
  void textsAndNumbersAreBounded() {
    assertThat(decode("{\"return\":\"" + "x".repeat(1 << 20) + "\"}")).isInstanceOf(Success.class);
    assertThatThrownBy(() -> decode("{\"return\":\"" + "x".repeat(3 << 20) + "\"}"))
        .isInstanceOf(MalformedException.class);
    assertThat(decode("{\"return\":" + "9".repeat(64) + "}")).isInstanceOf(Success.class);
    assertThatThrownBy(() -> decode("{\"return\":" + "9".repeat(65) + "}"))
        .isInstanceOf(MalformedException.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"seconds\":4611686018428,\"microseconds\":0}",
        "{\"seconds\":9223372036854775807,\"microseconds\":0}",
        "{\"seconds\":-2,\"microseconds\":0}",
        "{\"seconds\":1,\"microseconds\":-5000000}",
        "{\"seconds\":1,\"microseconds\":9223372036854775807}",
        "{\"seconds\":4611686018427,\"microseconds\":9223372036854775807}",
        "{\"seconds\":1e300,\"microseconds\":1e300}",
        "{\"seconds\":\"x\",\"microseconds\":[]}",
        "{\"seconds\":99999999999999999999999999,\"microseconds\":0}"
      })
  void timesThatCannotBeAreRefusedOrZeroAndNeverNegative(String timestamp) {
    try {
      Event event = (Event) decode("{\"event\":\"STOP\",\"timestamp\":" + timestamp + "}");
      assertThat(event.atMicros()).isNotNegative();
    } catch (MalformedException refused) {
      assertThat(refused).hasMessageContaining("timestamp");
    }
  }

  // qmp-spec: "If there is a failure to retrieve host time, both members of the timestamp will be
  // set to -1."
  @Test
  void anEventOfAHostWithoutAClockDoesNotBreakTheChannel() {
    assertThat(decode("{\"event\":\"STOP\",\"timestamp\":{\"seconds\":-1,\"microseconds\":-1}}"))
        .isInstanceOf(Event.class);
  }

  @Test
  @Timeout(60)
  void mutatedMessagesAreDecodedOrRefusedAndNothingElse() {
    long seed = Long.getLong("fuzz.seed", System.nanoTime());
    System.out.println("fuzz.seed=" + seed);
    List<Outcome> outcomes =
        LongStream.range(seed, seed + STREAMS).parallel().mapToObj(Outcome::ofStream).toList();
    for (Outcome outcome : outcomes) {
      if (outcome.neither().isPresent()) {
        throw new AssertionError("fuzz.seed=" + seed, outcome.neither().get());
      }
    }
    int decoded = outcomes.stream().mapToInt(Outcome::decoded).sum();
    assertThat(decoded).as("both outcomes are tried").isBetween(1000, MUTATIONS - 1000);
  }

  /// @param neither the message that was neither decoded nor refused, and what came instead
  private record Outcome(int decoded, Optional<AssertionError> neither) {
    /// Of the messages that one seed makes.
    static Outcome ofStream(long seed) {
      Random random = new Random(seed);
      int decoded = 0;
      for (int i = 0; i < MUTATIONS / STREAMS; i++) {
        byte[] line = mutate(random);
        try {
          Objects.requireNonNull(QmpMessage.decode(line, 0, line.length));
          decoded++;
        } catch (MalformedException refused) {
          if (String.valueOf(refused.getMessage()).isEmpty()) {
            return new Outcome(decoded, broken(line, refused));
          }
        } catch (RuntimeException | StackOverflowError other) {
          return new Outcome(decoded, broken(line, other));
        }
      }
      return new Outcome(decoded, Optional.empty());
    }

    private static Optional<AssertionError> broken(byte[] line, Throwable instead) {
      return Optional.of(new AssertionError(new String(line, ISO_8859_1), instead));
    }
  }

  private static byte[] mutate(Random random) {
    byte[] line = CORPUS.get(random.nextInt(CORPUS.size())).getBytes(UTF_8);
    int changes = 1 + random.nextInt(4);
    for (int i = 0; i < changes; i++) {
      line = change(line, random);
    }
    return line;
  }

  private static byte[] change(byte[] line, Random random) {
    int at = random.nextInt(line.length + 1);
    int to = Math.min(line.length, at + random.nextInt(12));
    return switch (random.nextInt(7)) {
      case 0 -> flipped(line, random);
      case 1 -> Arrays.copyOf(line, at);
      case 2 -> joined(line, at, new byte[0], to);
      case 3 -> joined(line, at, token(random), at);
      case 4 -> joined(line, at, token(random), to);
      case 5 -> joined(line, at, Arrays.copyOfRange(line, at, to), at);
      default -> {
        byte[] other = CORPUS.get(random.nextInt(CORPUS.size())).getBytes(UTF_8);
        int from = random.nextInt(other.length);
        yield joined(line, at, Arrays.copyOfRange(other, from, other.length), to);
      }
    };
  }

  private static byte[] token(Random random) {
    return TOKENS.get(random.nextInt(TOKENS.size())).getBytes(ISO_8859_1);
  }

  private static byte[] flipped(byte[] line, Random random) {
    byte[] copy = line.clone();
    if (copy.length > 0) {
      copy[random.nextInt(copy.length)] = (byte) random.nextInt(256);
    }
    return copy;
  }

  /// `line` up to `at`, then `middle`, then `line` from `to`.
  private static byte[] joined(byte[] line, int at, byte[] middle, int to) {
    byte[] whole = new byte[at + middle.length + line.length - to];
    System.arraycopy(line, 0, whole, 0, at);
    System.arraycopy(middle, 0, whole, at, middle.length);
    System.arraycopy(line, to, whole, at + middle.length, line.length - to);
    return whole;
  }

  private static QmpMessage decode(String line) {
    byte[] bytes = line.getBytes(UTF_8);
    return QmpMessage.decode(bytes, 0, bytes.length);
  }
}
