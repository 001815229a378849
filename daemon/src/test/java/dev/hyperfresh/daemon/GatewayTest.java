package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Clients that go away, and those that are slow, at a gateway of little patience. The handlers
/// behind it wait, as a dry run does.
@Timeout(60)
class GatewayTest {
  private static final Duration PATIENCE = Duration.ofMillis(400);
  private static final String WORK = RawHttp.head("POST", "/v1/guests/x/plan");

  @TempDir static Path folder = Path.of("");

  private static Daemon daemon;
  private static Api api;
  private static Path socket;

  private static volatile CountDownLatch begun = new CountDownLatch(1);
  private static volatile CountDownLatch goOn = new CountDownLatch(1);
  private static volatile CountDownLatch interrupted = new CountDownLatch(1);

  @BeforeAll
  static void start() {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")));
    api = new Api(daemon, GatewayTest::staged);
    socket = folder.resolve("outer");
    api.serve(
        socket,
        folder.resolve("inner"),
        new Roles(Map.of(), Map.of()),
        new Gateway.Patience(PATIENCE, PATIENCE));
  }

  @AfterAll
  static void stop() {
    api.close();
    daemon.close();
  }

  @BeforeEach
  void again() {
    begun = new CountDownLatch(1);
    goOn = new CountDownLatch(1);
    interrupted = new CountDownLatch(1);
  }

  private static Route staged(Route route) {
    if (!route.path().endsWith("/plan")) {
      return route;
    }
    return route.with(GatewayTest::waitForTheClient);
  }

  private static void waitForTheClient(ServerRequest request, ServerResponse response)
      throws Exception {
    Caller client = Warden.caller(request);
    Replies replies = api.replies();
    replies.sending(_ -> replies.planned(client, GatewayTest::work)).handle(request, response);
  }

  private static Object work() {
    begun.countDown();
    try {
      goOn.await();
    } catch (InterruptedException e) {
      interrupted.countDown();
    }
    return Map.of("done", true);
  }

  private static SocketChannel connect() throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(socket));
    return channel;
  }

  private static void send(SocketChannel channel, String text) throws IOException {
    ByteBuffer bytes = StandardCharsets.US_ASCII.encode(text);
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  /// All that comes until the connection ends.
  private static String readAll(SocketChannel channel) throws IOException {
    StringBuilder all = new StringBuilder();
    ByteBuffer chunk = ByteBuffer.allocate(64 << 10);
    try {
      while (channel.read(chunk) >= 0) {
        all.append(StandardCharsets.UTF_8.decode(chunk.flip()));
        chunk.clear();
      }
    } catch (IOException cut) {
      return all.toString();
    }
    return all.toString();
  }

  @Test
  void workForAClientThatHasGoneIsInterrupted() throws Exception {
    try (SocketChannel channel = connect()) {
      send(channel, WORK + "Content-Length: 0\r\n\r\n");
      begun.await();
    }
    assertThat(interrupted.await(10, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void aClientThatSendsNoMoreStillWaits() throws Exception {
    try (SocketChannel channel = connect()) {
      send(channel, WORK + "Content-Length: 0\r\n\r\n");
      channel.shutdownOutput();
      begun.await();
      assertThat(interrupted.await(3 * PATIENCE.toMillis(), TimeUnit.MILLISECONDS)).isFalse();
      goOn.countDown();
      assertThat(readAll(channel)).startsWith("HTTP/1.1 200 ").endsWith("{\"done\":true}");
    }
    assertThat(interrupted.getCount()).isEqualTo(1);
  }

  @Test
  void workMayTakeLongerThanARequest() throws Exception {
    try (SocketChannel channel = connect()) {
      send(channel, WORK + "Content-Length: 0\r\n\r\n");
      begun.await();
      assertThat(interrupted.await(3 * PATIENCE.toMillis(), TimeUnit.MILLISECONDS)).isFalse();
      goOn.countDown();
      assertThat(readAll(channel)).startsWith("HTTP/1.1 200 ");
    }
  }

  @Test
  void aUserHasTwoDryRunsAtATime() throws Exception {
    begun = new CountDownLatch(2);
    try (SocketChannel first = connect();
        SocketChannel second = connect()) {
      send(first, WORK + "Content-Length: 0\r\n\r\n");
      send(second, WORK + "Content-Length: 0\r\n\r\n");
      begun.await();

      RawHttp.Answer third = new RawHttp(socket).post("/v1/guests/y/plan", "{}");

      assertThat(third.status()).isEqualTo(409);
      assertThat(third.json().path("code").asString()).isEqualTo(Problem.PLAN_BUSY.code());
      goOn.countDown();
      assertThat(readAll(first)).contains("done");
      assertThat(readAll(second)).contains("done");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "GET /v1/gue",
        "GET /v1/guests HTTP/1.1\r\nHost: loc",
        "POST /v1/guests HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"a\":",
        "POST /v1/guests HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
      })
  void aRequestThatDoesNotEndLosesItsConnection(String part) throws Exception {
    long begin = System.nanoTime();
    try (SocketChannel channel = connect()) {
      send(channel, part);
      var _ = readAll(channel);
    }
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isGreaterThanOrEqualTo(PATIENCE);
  }

  /// A byte now and then does not count as progress.
  @Test
  void aRequestThatTricklesLosesItsConnection() throws Exception {
    try (SocketChannel channel = connect()) {
      channel.configureBlocking(false);
      send(channel, "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\n");
      ByteBuffer answer = ByteBuffer.allocate(64);
      boolean open = true;
      while (open) {
        try {
          open = channel.read(answer) == 0;
          channel.write(ByteBuffer.wrap(new byte[] {'a'}));
          open &= !interrupted.await(PATIENCE.toMillis() / 8, TimeUnit.MILLISECONDS);
        } catch (IOException cut) {
          open = false;
        }
      }
    }
  }

  /// The pipe ends when nobody holds its other end, so the daemon does not.
  @Test
  void noDescriptorOfAClientArrives() throws Exception {
    try (Pipe pipe = Pipe.open(4096, "a client's");
        UnixSocket client = UnixSocket.connect(socket)) {
      Fd[] many = new Fd[60];
      Arrays.fill(many, pipe.writeEnd());
      byte[] request = (WORK + "Content-Length: 0\r\n\r\n").getBytes(StandardCharsets.US_ASCII);
      client.send(request, many);
      pipe.writeEnd().close();
      begun.await();

      assertThat(pipe.readEnd().awaitHangUp(Duration.ofSeconds(30))).isTrue();

      goOn.countDown();
      List<Fd> received = new ArrayList<>();
      assertThat(client.receive(new byte[1024], received)).isPositive();
      assertThat(received).isEmpty();
    }
  }

  /// Its answers pile up in the kernel, until there is no room, and no longer.
  @Test
  void aClientThatReadsNothingLosesItsConnection() throws Exception {
    String many = "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    int sent = 0;
    try (SocketChannel channel = connect()) {
      while (true) {
        send(channel, many);
        sent += many.length();
        assertThat(sent).isLessThan(64 << 20);
      }
    } catch (IOException cut) {
      assertThat(sent).isPositive();
    }
    assertThat(new RawHttp(socket).get("/v1/guests").status()).isEqualTo(200);
  }
}
