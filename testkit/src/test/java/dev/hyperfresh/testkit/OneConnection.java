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

/// A client that asks a server all the time, over one connection that it never makes anew.
abstract class OneConnection implements AutoCloseable {
  private static final int ANSWER_MILLIS = 180_000;
  private static final long PAUSE_NANOS = 20_000_000;

  final BufferedReader in;
  private final Socket socket;
  private final OutputStream out;
  private final Thread asker;
  private volatile long answered;
  private volatile String fault = "";
  private volatile boolean done;

  OneConnection(String name, Socket socket) throws IOException {
    this.socket = socket;
    this.in =
        new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII));
    this.out = socket.getOutputStream();
    this.asker = Thread.ofPlatform().name(name).daemon().unstarted(this::askAll);
  }

  /// Begins to ask.
  final void begin() {
    asker.start();
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

  private void askAll() {
    try {
      for (long number = 1; !done; number++) {
        exchange(number);
        answered = number;
        LockSupport.parkNanos(PAUSE_NANOS);
      }
    } catch (IOException e) {
      fault = String.valueOf(e.getMessage());
    }
  }

  /// Asks once.
  ///
  /// @throws IOException when the answer is not what it should be
  abstract void exchange(long number) throws IOException;

  final void send(String text) throws IOException {
    out.write(text.getBytes(StandardCharsets.US_ASCII));
  }

  /// The next line of the answer.
  final String line() throws IOException {
    String line = in.readLine();
    if (line == null) {
      throw new IOException("the connection ended");
    }
    return line;
  }

  static void want(String answer, String expected) throws IOException {
    if (!answer.equals(expected)) {
      throw new IOException("'" + answer + "' instead of '" + expected + "'");
    }
  }

  /// How many answers have come, all of them right.
  final long answered() {
    return answered;
  }

  /// Why it stopped; empty when it has not.
  final String fault() {
    return fault;
  }

  /// Asks no more.
  final void stop() {
    done = true;
    try {
      asker.join(Duration.ofMinutes(1));
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
