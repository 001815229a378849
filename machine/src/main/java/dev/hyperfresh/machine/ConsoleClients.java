package dev.hyperfresh.machine;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/// The console of a guest in a machine, for one client at a time.
///
/// What the guest prints goes from its port straight into a file, which takes everything whether
/// anybody looks or not: a port that nobody is connected to takes nothing, and the guest would wait
/// for it. A client is shown what that file grows by, and what it types goes into a pipe that the
/// port reads.
final class ConsoleClients implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(ConsoleClients.class.getName());
  private static final int CHUNK_BYTES = 16 << 10;
  private static final Duration LOOK = Duration.ofMillis(30);

  private final UnixSocket listener;
  private final Path log;
  private final Optional<Fd> input;
  private final Thread thread;
  private volatile Optional<UnixSocket> current = Optional.empty();
  private volatile boolean closed;

  /// Serves clients of `socket` until it is closed.
  ///
  /// @param log what the guest prints
  /// @param input what the guest is to read; belongs to this object now. Without it clients only
  ///   see what the guest prints.
  ConsoleClients(UnixSocket socket, Path log, Optional<Fd> input) {
    this.listener = socket;
    this.log = log;
    this.input = input.map(ConsoleClients::patient);
    this.thread = Thread.ofPlatform().name("hf-console").daemon().start(this::serve);
  }

  /// The same pipe, which is never waited for: a guest need not read what is typed.
  private static Fd patient(Fd pipe) {
    try (pipe) {
      return Fd.open(
          Path.of("/proc/self/fd", Integer.toString(pipe.number())),
          OpenFlags.WRITE_ONLY | OpenFlags.NON_BLOCKING);
    }
  }

  private void serve() {
    while (!closed) {
      try (UnixSocket client = listener.accept();
          FileChannel printed = FileChannel.open(log, StandardOpenOption.READ)) {
        current = Optional.of(client);
        printed.position(printed.size());
        talk(client, printed);
      } catch (LinuxException | IOException | ClosedException e) {
        if (!closed) {
          LOG.log(System.Logger.Level.DEBUG, "a client of " + log + " went away", e);
          LockSupport.parkNanos(LOOK.toNanos());
        }
      }
    }
  }

  private void talk(UnixSocket client, FileChannel printed) throws IOException {
    byte[] chunk = new byte[CHUNK_BYTES];
    ByteBuffer buffer = ByteBuffer.wrap(chunk);
    List<Fd> strays = new ArrayList<>();
    while (!closed) {
      buffer.clear();
      if (printed.position() > printed.size()) {
        // The middle of the log was cut out.
        printed.position(printed.size());
      }
      int got = printed.read(buffer);
      if (got > 0) {
        client.send(Arrays.copyOf(chunk, got));
      }
      if (client.fd().pollReadable(got > 0 ? Duration.ZERO : LOOK)) {
        int typed = client.receive(chunk, strays);
        strays.forEach(Fd::close);
        strays.clear();
        if (typed < 0) {
          return;
        }
        if (input.isPresent()) {
          type(input.get(), chunk, typed);
        }
      }
    }
  }

  /// What does not fit into the pipe is dropped, as a serial line does whose other end is not read.
  private static void type(Fd input, byte[] chunk, int length) {
    try {
      for (int done = 0; done < length; ) {
        done += input.write(chunk, done, length - done);
      }
    } catch (LinuxException e) {
      if (!e.errnoName().equals("EAGAIN")) {
        throw e;
      }
    }
  }

  /// Ends what is going on; the guest's console goes on without clients.
  @Override
  public void close() {
    closed = true;
    end(listener);
    current.ifPresent(this::end);
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    listener.close();
    input.ifPresent(Fd::close);
  }

  /// Also wakes whoever waits for a client that takes nothing.
  private void end(UnixSocket socket) {
    try {
      socket.shutdown();
    } catch (LinuxException | ClosedException e) {
      LOG.log(System.Logger.Level.DEBUG, "the console of " + log + " had ended", e);
    }
  }
}
