package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Lines that nobody sends on purpose, to the agent and to its client.
@Timeout(60)
class AgentFuzzTest {
  private static final int LINES = 20_000;
  private static final List<String> SEEDS =
      List.of(
          "1 hello",
          "2 port name 0",
          "3 disk serial 0",
          "4 unlink hf0",
          "5 start 1 A=b 1 5:r:/dev/null true x y",
          "6 start 0 0 /no/program",
          "7 signal 12 0",
          "8 state 1",
          "9 io 1",
          "10 faults 1",
          "11 outlet-close /run/hf/x",
          "12 kvm",
          "13 clock",
          "14 halt-poll 5",
          "15 parameters",
          "16 eject 3",
          "17 link 02:00:00:00:00:01 hf0 0",
          "\u0018",
          "");

  @TempDir Path folder;

  @Test
  void theAgentSurvivesEveryLine() {
    long seed = Long.getLong("hyperfresh.fuzz.seed", System.nanoTime());
    System.out.println("  seed " + seed + " (-Dhyperfresh.fuzz.seed)");
    Random random = new Random(seed);
    try (AgentProcess process = AgentProcess.start(folder, folder)) {
      long deadline = System.nanoTime() + Duration.ofSeconds(15).toNanos();
      Thread reader = Thread.ofPlatform().daemon().start(() -> drain(process.socket()));
      int sent = 0;
      while (sent < LINES && System.nanoTime() < deadline) {
        process.socket().send(line(random));
        sent++;
      }
      assertThat(process.exit(Duration.ZERO)).as("after " + sent + " lines").isEmpty();
      assertThat(reader.isAlive()).isTrue();
      System.out.println("  the agent took " + sent + " lines");
    }
  }

  @Test
  void afterNonsenseRequestsAreServed() {
    Random random = new Random(7);
    try (AgentProcess process = AgentProcess.start(folder, folder)) {
      for (int i = 0; i < 200; i++) {
        process.socket().send(noise(random, 1 + random.nextInt(2000)));
      }
      process.socket().send(new byte[3 * AgentLine.MAX_BYTES]);
      process.socket().send("\n".getBytes(StandardCharsets.US_ASCII));
      try (Agent agent = Agent.over(process.socket(), _ -> {})) {
        assertThat(agent.clock()).isPositive();
      }
    }
  }

  @Test
  void aLineThatIsTooLongIsRefusedByNameAndTheNextIsServed() {
    try (AgentProcess process = AgentProcess.start(folder, folder)) {
      byte[] line =
          ("77 port " + "x".repeat(70_000) + " 0\n78 clock\n").getBytes(StandardCharsets.UTF_8);
      process.socket().send(line);
      String said = "";
      byte[] chunk = new byte[4096];
      while (!said.contains("78 ok")) {
        int count = process.socket().receive(chunk, new ArrayList<>());
        assertThat(count).isPositive();
        said += new String(chunk, 0, count, StandardCharsets.US_ASCII);
      }
      assertThat(said).contains("77 error a%20line%20has%20at%20most");
    }
  }

  @Test
  void whatIsEncodedIsDecoded() {
    Random random = new Random(3);
    for (int i = 0; i < 2000; i++) {
      List<String> fields = new ArrayList<>();
      for (int n = 1 + random.nextInt(6); n > 0; n--) {
        StringBuilder field = new StringBuilder();
        for (int c = random.nextInt(12); c > 0; c--) {
          field.append((char) (1 + random.nextInt(0x2ff)));
        }
        fields.add(field.toString());
      }
      byte[] line = AgentLine.encode(fields);
      assertThat(AgentLine.decode(line, line.length - 1)).isEqualTo(fields);
    }
  }

  @Test
  void theClientRefusesOrDecodesEveryLine() {
    Random random = new Random(5);
    for (int i = 0; i < 200_000; i++) {
      byte[] line = i % 2 == 0 ? noise(random, random.nextInt(200)) : line(random);
      try {
        assertThat(AgentLine.decode(line, line.length)).isNotEmpty();
      } catch (AgentLine.MalformedException e) {
        assertThat(e).hasMessageMatching("(?s).+");
      }
    }
    for (String malformed : List.of("", " ", "a ", " a", "a  b", "%4", "%g1", "%%", "a%")) {
      byte[] line = malformed.getBytes(StandardCharsets.US_ASCII);
      assertThatThrownBy(() -> AgentLine.decode(line, line.length))
          .as(malformed)
          .isInstanceOf(AgentLine.MalformedException.class);
    }
    assertThatThrownBy(() -> AgentLine.encode(List.of("a\0")))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> AgentLine.encode(List.of("x".repeat(AgentLine.MAX_BYTES))))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aPeerThatTalksNonsenseEndsTheConnectionAndNothingElse() {
    Map<String, String> reasons =
        Map.of(
            "- exited 1 2\n",
            "an end with",
            "- exited a b c\n",
            "without numbers",
            "x\n",
            "one field",
            "\n",
            "empty field",
            "y".repeat(AgentLine.MAX_BYTES + 1),
            "more than");
    reasons.forEach((said, reason) -> {
      UnixSocket.Pair pair = UnixSocket.pair();
      try (UnixSocket peer = pair.right();
          Agent agent = Agent.over(pair.left(), _ -> {})) {
        peer.send(
            ("- hello 1 x 1 1 1\n- later event\n9 ok late\n" + said)
                .getBytes(StandardCharsets.UTF_8));
        assertThatThrownBy(agent::clock)
            .isInstanceOf(AgentException.class)
            .hasMessageContaining(reason);
      }
    });
  }

  private static void drain(UnixSocket socket) {
    byte[] chunk = new byte[64 * 1024];
    List<Fd> none = new ArrayList<>();
    try {
      while (socket.receive(chunk, none) >= 0) {
        none.forEach(Fd::close);
      }
    } catch (LinuxException | ClosedException e) {
      // The test has closed the socket.
      return;
    }
  }

  /// A line as it should be with some of its bytes changed, added, doubled or left out.
  private static byte[] line(Random random) {
    byte[] seed = SEEDS.get(random.nextInt(SEEDS.size())).getBytes(StandardCharsets.US_ASCII);
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    int changes = 1 + random.nextInt(8);
    for (byte b : seed) {
      switch (random.nextInt(8 * changes)) {
        case 0 -> line.write(random.nextInt(256));
        case 1 -> line.write(' ');
        case 2 -> line.writeBytes("99999999999999999999".getBytes(StandardCharsets.US_ASCII));
        case 3 -> line.write('%');
        case 4 -> changes += random.nextInt(3);
        default -> line.write(b);
      }
    }
    if (random.nextInt(200) == 0) {
      line.writeBytes(noise(random, random.nextInt(70_000)));
    }
    line.write('\n');
    return line.toByteArray();
  }

  private static byte[] noise(Random random, int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }
}
