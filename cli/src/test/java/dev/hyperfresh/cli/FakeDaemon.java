package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.DaemonConfig;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// Answers like a daemon with what it was given, and tells of events when it is told to.
final class FakeDaemon implements AutoCloseable {
  private static final Pattern LENGTH = Pattern.compile("(?i)\ncontent-length: *([0-9]+)");
  private static final String END = "end";
  private static final String HELD = "held";

  private final ServerSocketChannel server;
  private final Map<String, String> answers = new ConcurrentHashMap<>();
  private final Map<String, Runnable> meanwhile = new ConcurrentHashMap<>();
  private final BlockingQueue<String> events = new LinkedBlockingQueue<>();

  /// The requests, each with its method, path and body, in their order.
  final BlockingQueue<String> requests = new LinkedBlockingQueue<>();

  private final List<SocketChannel> clients = new CopyOnWriteArrayList<>();
  private int lastEvent;

  FakeDaemon(Path state) throws IOException {
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(DaemonConfig.socket(state)));
    Thread.ofPlatform().daemon().start(this::accept);
  }

  /// Gives the answer to a request such as `GET /v1/guests`; without one it is 404.
  FakeDaemon answering(String request, String json) {
    answers.put(request, json);
    return this;
  }

  /// Does something when that request has come, before it is answered.
  void meanwhile(String request, Runnable action) {
    meanwhile.put(request, action);
  }

  /// Does not answer that request.
  void holding(String request) {
    answers.put(request, HELD);
  }

  void forget(String request) {
    answers.remove(request);
  }

  /// Tells whoever follows the events.
  void tell(String type, String subject) {
    lastEvent++;
    events.add(
        "id: a-%d\nevent: %s\ndata: {\"at\":\"2026-03-01T12:00:00.5Z\",\"type\":\"%s\",\"subject\":\"%s\",\"data\":{}}\n\n"
            .formatted(lastEvent, type, type, subject));
  }

  private void accept() {
    try {
      while (true) {
        SocketChannel client = server.accept();
        clients.add(client);
        Thread.ofPlatform().daemon().start(() -> serve(client));
      }
    } catch (IOException e) {
      // The test has ended.
    }
  }

  private void serve(SocketChannel client) {
    try (client) {
      String request = request(client);
      String line = request.substring(0, request.indexOf('\n'));
      // Whoever sees the request may give another answer to the next one.
      String json = answers.get(line);
      requests.add(request);
      meanwhile.getOrDefault(line, () -> {}).run();
      if (line.startsWith("GET /v1/events")) {
        follow(client);
      } else {
        answer(client, line, json);
      }
    } catch (IOException e) {
      // The client has gone, or the test has ended.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// `METHOD PATH`, a line feed and the body.
  private static String request(SocketChannel client) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    while (true) {
      if (client.read(buffer.clear()) < 0) {
        throw new IOException("no request");
      }
      bytes.write(buffer.array(), 0, buffer.position());
      String text = bytes.toString(StandardCharsets.UTF_8);
      int body = text.indexOf("\r\n\r\n") + 4;
      if (body >= 4) {
        Matcher length = LENGTH.matcher(text.substring(0, body));
        int wanted = length.find() ? Integer.parseInt(length.group(1)) : 0;
        if (text.substring(body).getBytes(StandardCharsets.UTF_8).length >= wanted) {
          String[] words = text.split(" ", 3);
          return words[0] + " " + words[1] + "\n" + text.substring(body);
        }
      }
    }
  }

  private static void answer(SocketChannel client, String line, @Nullable String json)
      throws IOException {
    if (HELD.equals(json)) {
      // Until it goes.
      var _ = client.read(ByteBuffer.allocate(1));
      return;
    }
    String body =
        json == null
            ? "{\"code\":\"HF-GUEST-002\",\"detail\":\"There is no '"
                + line.replaceFirst(".*/", "")
                + "'.\",\"status\":404}"
            : json;
    write(
        client,
        "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            .formatted(
                json == null ? "404 Not Found" : "200 OK",
                body.getBytes(StandardCharsets.UTF_8).length,
                body));
  }

  private void follow(SocketChannel client) throws IOException, InterruptedException {
    write(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunk(client, "id: a-0\n\n");
    for (String event = events.take(); !event.equals(END); event = events.take()) {
      chunk(client, event);
    }
  }

  private static void chunk(SocketChannel client, String text) throws IOException {
    write(client, Integer.toHexString(text.length()) + "\r\n" + text + "\r\n");
  }

  private static void write(SocketChannel client, String text) throws IOException {
    ByteBuffer bytes = StandardCharsets.UTF_8.encode(text);
    while (bytes.hasRemaining()) {
      client.write(bytes);
    }
  }

  @Override
  public void close() {
    events.add(END);
    try {
      server.close();
      for (SocketChannel client : clients) {
        client.close();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
