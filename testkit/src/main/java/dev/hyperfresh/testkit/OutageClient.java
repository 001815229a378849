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
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/// A client of the program in [ContainerBundle]: asks it something all the time, over one
/// connection that it never makes anew, and measures the longest time without an answer.
final class OutageClient implements AutoCloseable {
  private static final long PAUSE_NANOS = 20_000_000;
  private static final int CONNECT_MILLIS = 10_000;

  /// Longer than any outage that is measured.
  private static final int ANSWER_MILLIS = 180_000;

  private final Socket socket;
  private final BufferedReader in;
  private final OutputStream out;
  private final Object turn = new Object();
  private final AtomicLong longestNanos = new AtomicLong();
  private final List<Double> waitsMs = new ArrayList<>();
  private final Thread asker;
  private volatile String fault = "";
  private volatile String kernel = "";
  private volatile boolean done;

  private OutageClient(Socket socket) throws IOException {
    this.socket = socket;
    this.in =
        new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII));
    this.out = socket.getOutputStream();
    this.asker = Thread.ofPlatform().name("hf-asker").daemon().start(this::askAll);
  }

  /// Connects, waiting until the program listens.
  ///
  /// @throws IOException when nobody answers within `patience`
  static OutageClient open(InetSocketAddress server, Duration patience) throws IOException {
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      Socket socket = new Socket();
      try {
        socket.setTcpNoDelay(true);
        socket.connect(server, CONNECT_MILLIS);
        socket.setSoTimeout(ANSWER_MILLIS);
        return new OutageClient(socket);
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
    while (!done && fault.isEmpty()) {
      long begin = System.nanoTime();
      String answer = ask("ping");
      long waited = System.nanoTime() - begin;
      longestNanos.accumulateAndGet(waited, Math::max);
      keep(waited / 1e6);
      String[] words = answer.split(" ");
      if (words.length == 4) {
        kernel = words[3];
      }
      LockSupport.parkNanos(PAUSE_NANOS);
    }
  }

  private synchronized void keep(double millis) {
    waitsMs.add(millis);
  }

  /// How long each answer since the last call took, milliseconds.
  synchronized List<Double> takeWaitsMs() {
    List<Double> taken = List.copyOf(waitsMs);
    waitsMs.clear();
    return taken;
  }

  private String ask(String question) {
    synchronized (turn) {
      try {
        out.write((question + "\n").getBytes(StandardCharsets.US_ASCII));
        String answer = in.readLine();
        if (answer == null) {
          fault = "the connection ended";
        }
        return answer == null ? "" : answer;
      } catch (IOException e) {
        fault = String.valueOf(e.getMessage());
        return "";
      }
    }
  }

  /// The longest time for an answer since the last call, milliseconds.
  double takeLongestMs() {
    return longestNanos.getAndSet(0) / 1e6;
  }

  /// The kernel that the program has last said to run on.
  String kernel() {
    return kernel;
  }

  /// Why the connection broke; empty when it has not.
  String fault() {
    return fault;
  }

  /// Has all memory of the program looked at.
  ///
  /// @return whether every page is what the program last wrote
  boolean isMemoryGood() {
    return verified().startsWith("good ");
  }

  /// Has all memory of the program looked at.
  ///
  /// @return `good` or `bad` and how many pages, or why there is no answer
  String verified() {
    String answer = ask("verify");
    return answer.isEmpty() ? "no answer: " + fault : answer;
  }

  @Override
  public void close() {
    done = true;
    try {
      asker.join(Duration.ofSeconds(1));
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
