package dev.hyperfresh.testkit;

import java.io.IOException;
import java.net.Socket;
import java.time.Duration;
import java.util.Locale;

/// Asks a web server for the same page all the time, and looks at every byte of it. The server is
/// to keep the connection.
final class PageClient extends OneConnection {
  private final String page;

  private PageClient(Socket socket, String page) throws IOException {
    super("hf-page", socket);
    this.page = page;
  }

  /// Connects, waiting until it listens.
  ///
  /// @param page what `/page` holds, ASCII
  static PageClient open(String host, int port, String page, Duration patience) throws IOException {
    PageClient client = new PageClient(connect(host, port, patience), page);
    client.begin();
    return client;
  }

  @Override
  void exchange(long number) throws IOException {
    send("GET /page HTTP/1.1\r\nHost: page\r\n\r\n");
    want(line(), "HTTP/1.1 200 OK");
    int length = -1;
    for (String line = line(); !line.isEmpty(); line = line()) {
      String header = line.toLowerCase(Locale.ROOT);
      if (header.startsWith("content-length:")) {
        length = Integer.parseInt(header.replaceFirst(".*:\\s*", ""));
      }
      if (header.equals("connection: close")) {
        throw new IOException("the server does not keep the connection");
      }
    }
    char[] body = new char[Math.max(length, 0)];
    for (int have = 0; have < body.length; ) {
      int got = in.read(body, have, body.length - have);
      if (got < 0) {
        throw new IOException("the connection ended in the page");
      }
      have += got;
    }
    if (!page.contentEquals(new String(body))) {
      throw new IOException("the page is another one, of " + length + " bytes");
    }
  }
}
