package dev.hyperfresh.daemon;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.databind.JsonNode;

/// HTTP written by hand on the daemon's socket, so that a test can also say what no client library
/// would. One connection a request.
final class RawHttp {
  private final Path socket;

  /// What goes before each request.
  private final byte[] greeting;

  RawHttp(Path socket) {
    this(socket, new byte[0]);
  }

  RawHttp(Path socket, byte[] greeting) {
    this.socket = socket;
    this.greeting = greeting.clone();
  }

  /// What came back; header names in lower case.
  record Answer(int status, Map<String, String> headers, String body) {
    JsonNode json() {
      return Api.JSON.readTree(body);
    }

    /// The last line of work's answer.
    JsonNode lastLine() {
      List<String> lines = body.lines().toList();
      return Api.JSON.readTree(lines.getLast());
    }

    String type() {
      return headers.getOrDefault("content-type", "");
    }
  }

  Answer get(String path) throws IOException {
    return held("GET", path, send(head("GET", path) + "\r\n"));
  }

  Answer delete(String path) throws IOException {
    return held("DELETE", path, send(head("DELETE", path) + "\r\n"));
  }

  Answer post(String path, String body) throws IOException {
    return send("POST", path, body);
  }

  Answer send(String method, String path, String body) throws IOException {
    int length = body.getBytes(StandardCharsets.UTF_8).length;
    return held(
        method, path, send(head(method, path) + "Content-Length: " + length + "\r\n\r\n" + body));
  }

  /// An answer, which must be one that the contract has. Whoever is greeted speaks to stand-ins.
  private Answer held(String method, String path, Answer answer) {
    if (greeting.length == 0) {
      Contract.requireFits(method, path, answer);
    }
    return answer;
  }

  static String head(String method, String path) {
    return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  }

  /// Sends `request` as it stands and reads the answer. A daemon that stops reading in the middle
  /// of a body may have answered before.
  Answer send(String request) throws IOException {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(socket));

      ByteBuffer bytes = ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8));
      try {
        channel.write(ByteBuffer.wrap(greeting));
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      } catch (IOException refused) {
        return parse(readAll(channel));
      }
      return parse(readAll(channel));
    }
  }

  private static String readAll(SocketChannel channel) throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer chunk = ByteBuffer.allocate(64 * 1024);
    try {
      while (!isWhole(all.toString(StandardCharsets.UTF_8)) && channel.read(chunk) >= 0) {
        all.write(chunk.array(), 0, chunk.position());
        chunk.clear();
      }
    } catch (IOException reset) {
      // What came before the connection was cut is the answer.
      return all.toString(StandardCharsets.UTF_8);
    }
    return all.toString(StandardCharsets.UTF_8);
  }

  /// The daemon may keep the connection, so its answer is read by its own length.
  private static boolean isWhole(String text) {
    int end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      return false;
    }
    Answer answer = parse(text);
    String length = answer.headers().get("content-length");
    return length == null
        ? text.endsWith("\r\n0\r\n\r\n")
        : text.substring(end + 4).getBytes(StandardCharsets.UTF_8).length
            >= Integer.parseInt(length);
  }

  private static Answer parse(String text) {
    int end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      return new Answer(0, Map.of(), text);
    }
    List<String> lines = text.substring(0, end).lines().toList();
    Map<String, String> headers = new TreeMap<>();
    for (String line : lines.subList(1, lines.size())) {
      int colon = line.indexOf(':');
      headers.put(
          line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).strip());
    }
    String body = text.substring(end + 4);
    boolean chunked = headers.getOrDefault("transfer-encoding", "").equals("chunked");
    int status = Integer.parseInt(lines.getFirst().split(" ", -1)[1]);
    return new Answer(status, headers, chunked ? unchunked(body) : body);
  }

  // The answers are ASCII, so characters are bytes.
  private static String unchunked(String body) {
    StringBuilder whole = new StringBuilder();
    int at = 0;
    while (at < body.length()) {
      int line = body.indexOf("\r\n", at);
      if (line < 0) {
        break;
      }
      int size = Integer.parseInt(body.substring(at, line).strip(), 16);
      if (size == 0) {
        break;
      }
      whole.append(body, line + 2, Math.min(body.length(), line + 2 + size));
      at = line + 2 + size + 2;
    }
    return whole.toString();
  }
}
