package dev.hyperfresh.testkit;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;

/// Writes numbered keys to a Redis all the time and reads them back, over one connection that it
/// never makes anew.
final class RedisClient implements AutoCloseable {
  private static final int PORT = 6379;
  private static final int ANSWER_MILLIS = 180_000;
  private static final long PAUSE_NANOS = 20_000_000;

  private final Socket socket;
  private final BufferedReader in;
  private final OutputStream out;
  private final Thread writer;
  private volatile long written;
  private volatile String fault = "";
  private volatile boolean done;

  private RedisClient(Socket socket) throws IOException {
    this.socket = socket;
    this.in =
        new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII));
    this.out = socket.getOutputStream();
    this.writer = Thread.ofPlatform().name("hf-redis").daemon().start(this::writeAll);
  }

  /// Connects, waiting until it listens.
  static RedisClient open(String host, Duration patience) throws IOException {
    return new RedisClient(connect(host, PORT, patience));
  }

  /// A connection without delay.
  ///
  /// @throws IOException when nobody answers within `patience`
  static Socket connect(String host, int port, Duration patience) throws IOException {
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      Socket socket = new Socket();
      try {
        socket.setTcpNoDelay(true);
        socket.connect(new InetSocketAddress(host, port), ANSWER_MILLIS);
        socket.setSoTimeout(ANSWER_MILLIS);
        return socket;
      } catch (IOException e) {
        socket.close();
        if (System.nanoTime() > deadline) {
          throw e;
        }
        LockSupport.parkNanos(PAUSE_NANOS * 5);
      }
    }
  }

  private void writeAll() {
    try {
      for (long number = 1; !done; number++) {
        want(ask("SET key:" + number + " value-" + number), "+OK");
        want(ask("GET key:" + number), "value-" + number);
        written = number;
        LockSupport.parkNanos(PAUSE_NANOS);
      }
    } catch (IOException e) {
      fault = String.valueOf(e.getMessage());
    }
  }

  /// A command of words without spaces, and the answer without its length.
  private String ask(String command) throws IOException {
    out.write((command + "\r\n").getBytes(StandardCharsets.US_ASCII));
    String line = in.readLine();
    if (line == null) {
      throw new IOException("the connection ended");
    }
    return line.startsWith("$") ? in.readLine() : line;
  }

  private static void want(String answer, String expected) throws IOException {
    if (!answer.equals(expected)) {
      throw new IOException("'" + answer + "' instead of '" + expected + "'");
    }
  }

  /// How many keys have been written and read back.
  long written() {
    return written;
  }

  /// Why it stopped; empty when it has not.
  String fault() {
    return fault;
  }

  /// Stops writing and reads all keys again.
  ///
  /// @return how many there are, with the values that they were given
  long readAll() throws IOException {
    stop();
    want(ask("DBSIZE"), ":" + written);
    for (long number = 1; number <= written; number++) {
      want(ask("GET key:" + number), "value-" + number);
    }
    return written;
  }

  private void stop() {
    done = true;
    try {
      writer.join(Duration.ofMinutes(1));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    done = true;
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    stop();
  }
}
