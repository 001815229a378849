package dev.hyperfresh.testkit;

import java.io.IOException;
import java.net.Socket;
import java.time.Duration;

/// Writes numbered keys to a Redis all the time and reads them back.
final class RedisClient extends OneConnection {
  private static final int PORT = 6379;

  private RedisClient(Socket socket) throws IOException {
    super("hf-redis", socket);
  }

  /// Connects, waiting until it listens.
  static RedisClient open(String host, Duration patience) throws IOException {
    RedisClient client = new RedisClient(connect(host, PORT, patience));
    client.begin();
    return client;
  }

  @Override
  void exchange(long number) throws IOException {
    want(ask("SET key:" + number + " value-" + number), "+OK");
    want(ask("GET key:" + number), "value-" + number);
  }

  /// A command of words without spaces, and the answer without its length.
  private String ask(String command) throws IOException {
    send(command + "\r\n");
    String line = line();
    return line.startsWith("$") ? line() : line;
  }

  /// Stops writing and reads all keys again.
  ///
  /// @return how many there are, with the values that they were given
  long readAll() throws IOException {
    stop();
    want(ask("DBSIZE"), ":" + answered());
    for (long number = 1; number <= answered(); number++) {
      want(ask("GET key:" + number), "value-" + number);
    }
    return answered();
  }
}
