package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Pipe;
import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.function.Consumer;
import java.util.function.Function;

/// Stands between the two hypervisors of a replacement: takes the state that the source sends and
/// passes it on through a pipe of its own, up to the point where something is to happen to it.
///
/// Whatever one side does is passed on: an end of the stream, and a reader that is gone.
final class ChannelRelay implements AutoCloseable {
  /// What happens at the point, and whether the relay goes on after it.
  enum Then {
    /// The rest is passed on as it is.
    PASS_ON,
    /// The next byte is passed on with a bit turned over, then the rest.
    CORRUPT,
    /// Nothing more is passed on.
    CUT
  }

  private static final int CAPACITY = 1 << 20;
  private static final int CHUNK = 64 * 1024;
  private static final Duration LOOK = Duration.ofMillis(50);
  private static final byte BIT = 0x10;

  private final Fd in;
  private final Fd out;
  private final long point;
  private final Function<Integer, Then> reached;
  private final Thread thread;
  private volatile boolean closing;
  private long passed;
  private boolean done;

  private ChannelRelay(Fd in, Fd out, long point, Function<Integer, Then> reached, String name) {
    this.in = in;
    this.out = out;
    this.point = point;
    this.reached = reached;
    this.thread = Thread.ofPlatform().name("fault-relay-" + name).daemon().unstarted(this::run);
  }

  /// Puts a relay before a target.
  ///
  /// @param channel what the source will write to; stays the caller's
  /// @param target takes the read end that stands for it, and copies it
  /// @param point how many bytes are passed on before `reached` is called; negative counts from the
  ///   end, 0 is before the first, `Long.MIN_VALUE` is after the last has come and before the first
  ///   is passed on
  /// @param reached called once, on the relay's thread, with the number of bytes that have come
  static ChannelRelay insert(
      Fd channel, Consumer<Fd> target, long point, Function<Integer, Then> reached, String name) {
    try (Pipe onward = Pipe.open(CAPACITY, "relay " + name)) {
      target.accept(onward.readEnd());
      ChannelRelay relay =
          new ChannelRelay(
              channel.duplicate(), onward.writeEnd().duplicate(), point, reached, name);
      relay.thread.start();
      return relay;
    }
  }

  private void run() {
    try {
      if (point < 0) {
        passOnInTheEnd();
      } else {
        passOnAsItComes();
      }
    } catch (LinuxException e) {
      // A side is gone: the other one learns it from the end of its pipe.
      done = true;
    } finally {
      out.close();
      in.close();
    }
  }

  private void passOnAsItComes() {
    byte[] chunk = new byte[CHUNK];
    for (int count = read(chunk); count >= 0 && !done; count = read(chunk)) {
      passOn(chunk, count);
    }
  }

  private void passOnInTheEnd() {
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    byte[] chunk = new byte[CHUNK];
    for (int count = read(chunk); count >= 0; count = read(chunk)) {
      whole.write(chunk, 0, count);
    }
    byte[] state = whole.toByteArray();
    int at = point == Long.MIN_VALUE ? 0 : Math.max(0, (int) (state.length + point));
    write(state, 0, at);
    if (!closing && arrive(state, at, state.length)) {
      write(state, at, state.length - at);
    }
  }

  private void passOn(byte[] chunk, int count) {
    int before = (int) Math.min(count, Math.max(0, point - passed));
    boolean hit = passed <= point && point < passed + count;
    write(chunk, 0, hit ? before : count);
    passed += count;
    if (hit && arrive(chunk, before, (int) passed)) {
      write(chunk, before, count - before);
    }
  }

  /// @return whether anything is passed on after it
  private boolean arrive(byte[] bytes, int next, int come) {
    switch (reached.apply(come)) {
      case PASS_ON -> {}
      case CORRUPT -> bytes[next] ^= BIT;
      case CUT -> done = true;
    }
    return !done;
  }

  /// @return -1 at the end of the stream, or when nobody wants it any more
  private int read(byte[] chunk) {
    while (!in.pollReadable(LOOK)) {
      if (closing) {
        return -1;
      }
    }
    return in.read(chunk, 0, chunk.length);
  }

  private void write(byte[] bytes, int from, int count) {
    for (int written = 0; written < count; ) {
      written += out.write(bytes, from + written, count - written);
    }
  }

  /// Ends the relay, whatever it was doing, and waits for its thread.
  @Override
  public void close() {
    closing = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
