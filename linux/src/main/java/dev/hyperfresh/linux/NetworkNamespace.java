package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Supplier;

/// The network namespace that a port was made in, held open so that later work on the port can be
/// done there from any thread.
final class NetworkNamespace implements AutoCloseable {
  private static final Path MINE = Path.of("/proc/thread-self/ns/net");

  private final Fd file;
  private final String identity;

  private NetworkNamespace(Fd file, String identity) {
    this.file = file;
    this.identity = identity;
  }

  static NetworkNamespace ofThisThread() {
    return new NetworkNamespace(Fd.open(MINE, OpenFlags.READ_ONLY), identity());
  }

  /// Runs `body` in the namespace: on this thread if it is there already, else on one of its own.
  <T> T within(Supplier<T> body) {
    if (identity().equals(identity)) {
      return body.get();
    }
    return Host.inNetworkNamespace(Path.of("/proc/self/fd", Integer.toString(file.number())), body);
  }

  /// nsfs names a namespace `net:[inode]`, the same for every process in it.
  private static String identity() {
    try {
      return Files.readSymbolicLink(MINE).toString();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    file.close();
  }
}
