package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Supplier;

/// A network namespace, held open so that work can be done there later from any thread, also when
/// no process is left in it. Thread-safe.
public final class NetworkNamespace implements AutoCloseable {
  private static final Path MINE = Path.of("/proc/thread-self/ns/net");

  private final Fd file;

  /// Takes ownership of a descriptor of one.
  NetworkNamespace(Fd file) {
    this.file = file;
  }

  static NetworkNamespace ofThisThread() {
    return at(MINE);
  }

  /// That of a process.
  ///
  /// @throws LinuxException when there is no such process, or it may not be looked at
  public static NetworkNamespace of(int pid) {
    return at(ProcFs.HOST.of(pid, "ns/net"));
  }

  /// The one that a file stands for.
  ///
  /// @param path such as `/run/netns/NAME`
  /// @throws LinuxException when it cannot be opened
  public static NetworkNamespace at(Path path) {
    return new NetworkNamespace(Fd.open(path, OpenFlags.READ_ONLY));
  }

  /// Runs `body` in the namespace: on this thread if it is there already, else on one of its own.
  /// Processes that are started in it are in the namespace, too.
  ///
  /// @throws LinuxException without the right to enter it
  public <T> T within(Supplier<T> body) {
    return isMine() ? body.get() : Host.inNetworkNamespace(path(), body);
  }

  private Path path() {
    return Path.of("/proc/self/fd", Integer.toString(file.number()));
  }

  /// Whether the calling thread is in it: a namespace is one file, by whatever path.
  boolean isMine() {
    try {
      return Files.isSameFile(MINE, path());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    file.close();
  }
}
