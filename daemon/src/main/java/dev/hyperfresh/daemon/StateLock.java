package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A state directory as one daemon's own, or its policy as one run's own: no other works there
/// until this is closed, or its process has ended. Thread-safe.
public final class StateLock implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(StateLock.class);

  private final FileChannel file;

  private StateLock(FileChannel file) {
    this.file = file;
  }

  /// Makes the directory if need be, and takes it.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_RUNNING], [Problem#DAEMON_STATE]
  static StateLock take(Path state) {
    return take(state, "daemon.lock", Problem.DAEMON_RUNNING);
  }

  /// Takes the policy of a state directory, which guests are moved by.
  ///
  /// @throws HyperFreshException [Problem#POLICY_RUNNING], [Problem#DAEMON_STATE]
  public static StateLock takePolicy(Path state) {
    return take(state, "policy.lock", Problem.POLICY_RUNNING);
  }

  private static StateLock take(Path state, String name, Problem taken) {
    try {
      Files.createDirectories(
          state,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      FileChannel file =
          FileChannel.open(PrivateFile.at(state.resolve(name)), StandardOpenOption.WRITE);
      FileLock lock = tryLock(file);
      if (lock == null) {
        file.close();
        throw taken.because(state + " is locked.");
      }
      return new StateLock(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(state + ": " + e.getMessage(), e);
    }
  }

  private static @Nullable FileLock tryLock(FileChannel file) throws IOException {
    try {
      return file.tryLock();
    } catch (OverlappingFileLockException e) {
      return null;
    }
  }

  /// Gives it back. Does nothing the second time.
  @Override
  public void close() {
    try {
      file.close();
    } catch (IOException e) {
      LOG.warn("the lock file cannot be closed", e);
    }
  }
}
