package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Pollfd;
import dev.hyperfresh.linux.Layouts.Timespec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;

/// An owned file descriptor, closed exactly once.
///
/// Closing twice does nothing; use after close throws [ClosedException]. Every descriptor made here
/// has the close-on-exec flag. All methods may be called by any thread. A close while another
/// thread is inside a call takes effect when that call returns, so a number is never reused under a
/// reader: end a blocked reader first (see [UnixSocket#shutdown]).
public final class Fd implements AutoCloseable {
  private static final int CLOSED = 0x8000_0000;
  private static final int OWNER_ONLY = 0600;
  private static final long NANOS_PER_SECOND = 1_000_000_000L;

  private final int number;
  private final String label;

  // The number of calls under way, and the CLOSED bit once the owner has let go.
  private final AtomicInteger users = new AtomicInteger();

  private Fd(int number, String label) {
    this.number = number;
    this.label = label;
  }

  /// Opens a file; a new one belongs to its owner alone (0600).
  ///
  /// @param flags [OpenFlags] joined by `|`; close-on-exec is added
  /// @throws LinuxException when the kernel refuses
  public static Fd open(Path path, int flags) {
    return open(path, flags, path.toString());
  }

  /// Like [#open(Path, int)], for a device that stands for something with a name of its own.
  static Fd open(Path path, int flags, String label) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocateFrom(path.toString());
      int opened;
      do {
        opened = FileCalls.open(name, flags | Constants.O_CLOEXEC, OWNER_ONLY);
      } while (opened == -Constants.EINTR);
      return new Fd(check(opened, "open", path.toString()), label);
    }
  }

  /// Takes ownership of a descriptor of this process. The caller must not close the number any
  /// more.
  ///
  /// @param label what errors call it, such as `tap0 queue 1`
  /// @throws IllegalArgumentException when the number is negative
  public static Fd adopt(int number, String label) {
    if (number < 0) {
      throw new IllegalArgumentException(label + " has no descriptor: " + number);
    }
    return new Fd(number, Objects.requireNonNull(label));
  }

  /// The number in this process. It stays valid only while this object is open.
  ///
  /// @throws ClosedException after close
  public int number() {
    if (!isOpen()) {
      throw closed();
    }
    return number;
  }

  /// Whether [#close] has not been called yet.
  public boolean isOpen() {
    return users.get() >= 0;
  }

  /// What errors call this descriptor.
  public String label() {
    return label;
  }

  /// Makes a second descriptor for the same open file (`F_DUPFD_CLOEXEC`).
  ///
  /// @throws LinuxException when no number is free (`EMFILE`)
  public Fd duplicate() {
    return duplicateFrom(0);
  }

  /// Like [#duplicate], with a number of at least `least`.
  Fd duplicateFrom(int least) {
    int held = acquire();
    try {
      int copy = FileCalls.fcntl(held, Constants.F_DUPFD_CLOEXEC, least);
      return new Fd(check(copy, "fcntl F_DUPFD_CLOEXEC", label), label);
    } finally {
      release();
    }
  }

  /// Reads once, waiting for data where the file is one that waits. Moves at most 64 KiB.
  ///
  /// @return the number of bytes read, or -1 at the end of the file
  /// @throws LinuxException when reading fails, also with `EAGAIN` on a non-blocking descriptor
  public int read(byte[] buffer, int offset, int length) {
    Objects.checkFromIndexSize(offset, length, buffer.length);
    if (length == 0) {
      return 0;
    }
    MemorySegment data = Scratch.mine().buffer();
    int held = acquire();
    try {
      long got;
      do {
        got = FileCalls.read(held, data, Math.min(length, Scratch.BUFFER_BYTES));
      } while (got == -Constants.EINTR);
      int bytes = (int) check(got, "read", label);
      MemorySegment.copy(data, 0, MemorySegment.ofArray(buffer), offset, bytes);
      return bytes == 0 ? -1 : bytes;
    } finally {
      release();
    }
  }

  /// Writes once and may write less than asked; moves at most 64 KiB.
  ///
  /// @return the number of bytes written
  /// @throws LinuxException when writing fails, also with `EAGAIN` on a non-blocking descriptor
  public int write(byte[] buffer, int offset, int length) {
    Objects.checkFromIndexSize(offset, length, buffer.length);
    int bytes = Math.min(length, Scratch.BUFFER_BYTES);
    MemorySegment data = Scratch.mine().buffer();
    MemorySegment.copy(MemorySegment.ofArray(buffer), offset, data, 0, bytes);
    int held = acquire();
    try {
      long put;
      do {
        put = FileCalls.write(held, data, bytes);
      } while (put == -Constants.EINTR);
      return (int) check(put, "write", label);
    } finally {
      release();
    }
  }

  /// Forces the data of the file to its disk (`fdatasync`).
  ///
  /// @throws LinuxException when the disk or the kind of file refuses
  public void sync() {
    int held = acquire();
    try {
      int done;
      do {
        done = FileCalls.fdatasync(held);
      } while (done == -Constants.EINTR);
      check(done, "fdatasync", label);
    } finally {
      release();
    }
  }

  /// As [#sync], with all that the kernel keeps of the file (`fsync`); of a folder, the names in
  /// it.
  ///
  /// @throws LinuxException when the disk or the kind of file refuses
  public void syncAll() {
    int held = acquire();
    try {
      int done;
      do {
        done = FileCalls.fsync(held);
      } while (done == -Constants.EINTR);
      check(done, "fsync", label);
    } finally {
      release();
    }
  }

  /// Waits until a read would not wait: there is data, the other end is closed or there is an
  /// error.
  ///
  /// @param timeout how long to wait; zero or less only looks
  /// @return whether that happened in time
  public boolean pollReadable(Duration timeout) {
    return pollReadable(saturatedNanos(timeout));
  }

  /// Waits until the other end is closed in both directions, whether there is data or not: of a
  /// socket whose other end sends no more and still receives, this is not said (`POLLHUP`).
  ///
  /// @param timeout how long to wait; zero or less only looks
  /// @return whether that happened in time
  public boolean awaitHangUp(Duration timeout) {
    return poll(saturatedNanos(timeout), 0);
  }

  /// Like [#pollReadable(Duration)], in nanoseconds and without an allocation.
  boolean pollReadable(long timeoutNanos) {
    return poll(timeoutNanos, Constants.POLLIN);
  }

  private boolean poll(long timeoutNanos, int events) {
    long start = System.nanoTime();
    int held = acquire();
    try {
      int ready;
      do {
        ready = pollOnce(held, events, timeoutNanos - (System.nanoTime() - start));
      } while (ready == -Constants.EINTR);
      return check(ready, "ppoll", label) > 0;
    } finally {
      release();
    }
  }

  /// Closes the descriptor, or lets the last call under way do so.
  @Override
  public void close() {
    int before;
    do {
      before = users.get();
      if (before < 0) {
        return;
      }
    } while (!users.compareAndSet(before, before | CLOSED));
    if (before == 0) {
      closeNumber();
    }
  }

  @Override
  public String toString() {
    return label + (isOpen() ? " (fd " + number + ")" : " (closed)");
  }

  /// Keeps the number valid until [#release], even when the owner closes meanwhile.
  int acquire() {
    int before;
    do {
      before = users.get();
      if (before < 0) {
        throw closed();
      }
    } while (!users.compareAndSet(before, before + 1));
    return number;
  }

  void release() {
    if (users.decrementAndGet() == CLOSED) {
      closeNumber();
    }
  }

  private static int pollOnce(int number, int events, long nanos) {
    MemorySegment arguments = Scratch.mine().arguments();
    MemorySegment timeout = arguments.asSlice(Pollfd.TYPE.bytes(), Timespec.TYPE.bytes());
    long left = Math.max(0, nanos);
    Timespec.tv_sec.set(timeout, left / NANOS_PER_SECOND);
    Timespec.tv_nsec.set(timeout, left % NANOS_PER_SECOND);
    Pollfd.fd.set(arguments, number);
    Pollfd.events.set(arguments, events);
    Pollfd.revents.set(arguments, 0);
    int ready = FileCalls.ppoll(arguments, 1, timeout);
    if (ready > 0 && (Pollfd.revents.get(arguments) & Constants.POLLNVAL) != 0) {
      throw new IllegalStateException(
          "descriptor " + number + " was closed by other code than its owner");
    }
    return ready;
  }

  // Durations that do not fit mean "for ever"; half the range leaves room for the arithmetic above.
  private static long saturatedNanos(Duration timeout) {
    long seconds = timeout.toSeconds();
    return Math.abs(seconds) > Integer.MAX_VALUE
        ? (seconds < 0 ? 0 : Long.MAX_VALUE / 2)
        : timeout.toNanos();
  }

  private void closeNumber() {
    int done = FileCalls.close(number);
    // Linux has freed the number when it answers EINTR, so trying again could close another's file.
    if (done != -Constants.EINTR) {
      check(done, "close", label);
    }
  }

  private ClosedException closed() {
    return new ClosedException(label);
  }
}
