package dev.hyperfresh.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/// A TCP connection to a guest's echo server that never rests: numbered words go out, and come back
/// in order or are counted as lost. One connection for its whole life; it never reconnects.
final class EchoStream implements AutoCloseable {
  private static final int WORDS_PER_WRITE = 32;
  private static final long PAUSE_NANOS = 1_000_000;
  private static final int CONNECT_MILLIS = 10_000;
  private static final long ANSWER_NANOS = 30_000_000_000L;
  private static final long AGAIN_NANOS = 100_000_000;

  private final Socket socket;
  private final Thread writer;
  private final Thread reader;
  private volatile boolean stopping;
  private final AtomicLong wordsSent = new AtomicLong();
  private final AtomicLong wordsBack = new AtomicLong();
  private final AtomicLong longestStallNanos = new AtomicLong();
  private volatile long lastAnswer = System.nanoTime();
  private volatile String fault = "";

  private EchoStream(Socket socket) {
    this.socket = socket;
    this.writer = Thread.ofPlatform().name("hf-echo-out").daemon().start(this::write);
    this.reader = Thread.ofPlatform().name("hf-echo-in").daemon().start(this::read);
  }

  /// Connects and begins. The host may find no neighbour at first where a guest has just booted.
  ///
  /// @throws IOException when the guest does not answer in half a minute
  static EchoStream open(InetSocketAddress guest) throws IOException {
    long deadline = System.nanoTime() + ANSWER_NANOS;
    while (true) {
      Socket socket = new Socket();
      try {
        socket.setTcpNoDelay(true);
        socket.connect(guest, CONNECT_MILLIS);
        return new EchoStream(socket);
      } catch (IOException e) {
        socket.close();
        if (System.nanoTime() > deadline) {
          throw e;
        }
        LockSupport.parkNanos(AGAIN_NANOS);
      }
    }
  }

  /// As [#open], where no checked exception can be thrown.
  static EchoStream reach(InetSocketAddress guest) {
    try {
      return open(guest);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void write() {
    ByteBuffer words = ByteBuffer.allocate(WORDS_PER_WRITE * Long.BYTES);
    try {
      while (!stopping) {
        words.clear();
        for (int i = 0; i < WORDS_PER_WRITE; i++) {
          words.putLong(wordsSent.get() + i);
        }
        socket.getOutputStream().write(words.array());
        wordsSent.addAndGet(WORDS_PER_WRITE);
        LockSupport.parkNanos(PAUSE_NANOS);
      }
      socket.shutdownOutput();
    } catch (IOException e) {
      fault = "write: " + e.getMessage();
    }
  }

  private void read() {
    ByteBuffer buffer = ByteBuffer.allocate(64 * 1024);
    try {
      while (true) {
        int count =
            socket.getInputStream().read(buffer.array(), buffer.position(), buffer.remaining());
        long now = System.nanoTime();
        longestStallNanos.accumulateAndGet(now - lastAnswer, Math::max);
        lastAnswer = now;
        if (count < 0) {
          return;
        }
        buffer.position(buffer.position() + count).flip();
        check(buffer);
        buffer.compact();
      }
    } catch (IOException e) {
      fault = "read: " + e.getMessage();
    }
  }

  private void check(ByteBuffer words) {
    while (words.remaining() >= Long.BYTES) {
      long word = words.getLong();
      long expected = wordsBack.getAndIncrement();
      if (word != expected && fault.isEmpty()) {
        fault = "word " + expected + " came back as " + word;
      }
    }
  }

  /// The longest time without an answer since this was last asked, milliseconds. A wait that is
  /// still going on counts.
  double takeLongestStallMs() {
    long waiting = System.nanoTime() - lastAnswer;
    return Math.max(waiting, longestStallNanos.getAndSet(0)) / 1e6;
  }

  /// Stops sending and waits until everything has come back, at most `patience`.
  void finish(Duration patience) {
    stopping = true;
    try {
      writer.join(patience);
      reader.join(patience);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  long bytesSent() {
    return wordsSent.get() * Long.BYTES;
  }

  long bytesBack() {
    return wordsBack.get() * Long.BYTES;
  }

  long bytesLost() {
    return (wordsSent.get() - wordsBack.get()) * Long.BYTES;
  }

  /// What went wrong, or empty.
  String fault() {
    return fault;
  }

  /// What it sent and lost, as an object of JSON.
  Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("bytes_sent", bytesSent());
    json.put("bytes_lost", bytesLost());
    json.put("reconnects", 0);
    if (!fault.isEmpty()) {
      json.put("fault", fault);
    }
    return json;
  }

  /// [#json] for people.
  static String sentence(Map<String, Object> json) {
    String lost =
        Long.valueOf(0).equals(json.get("bytes_lost"))
            ? " bytes sent and echoed, 0 lost, "
            : " bytes sent, " + json.get("bytes_lost") + " LOST, ";
    return "TCP: "
        + json.get("bytes_sent")
        + lost
        + (json.containsKey("fault") ? "broken: " + json.get("fault") : "0 reconnects");
  }

  @Override
  public void close() {
    stopping = true;
    try {
      socket.close();
    } catch (IOException e) {
      fault = "close: " + e.getMessage();
    }
  }
}
