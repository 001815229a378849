package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/// A program that prints something about itself and ends.
///
/// @param command which makes it do so
/// @param descriptors which it has beside the standard ones
record QemuHelp(
    List<String> command, Map<String, String> environment, Map<Integer, Fd> descriptors) {
  QemuHelp(List<String> command, Map<String, String> environment) {
    this(command, environment, Map.of());
  }

  /// What it prints.
  ///
  /// @param log a file that may be made and removed
  /// @param limit how long it may take
  /// @param most how many bytes of it are read
  /// @throws IOException when it does not run or does not end
  String text(Path log, Duration limit, int most) throws IOException {
    try (ChildProcess child =
        ChildProcess.spawn(
            new ChildProcess.Request(command, environment, descriptors, log, true))) {
      if (!isOver(child, limit)) {
        throw new IOException("its program does not answer " + String.join(" ", question()));
      }
      try (var in = Files.newInputStream(log)) {
        return new String(in.readNBytes(most), StandardCharsets.UTF_8);
      }
    } catch (LinuxException e) {
      throw new IOException("its program does not run: " + e.getMessage(), e);
    } finally {
      Qemu.removeSockets(log);
    }
  }

  /// Nothing that it has started is left.
  private static boolean isOver(ChildProcess child, Duration limit) {
    try {
      return child.pidFd().awaitExit(limit);
    } finally {
      child.killSession();
      HostProcess.of(child).kill();
    }
  }

  private List<String> question() {
    return command.subList(Math.max(0, command.size() - 2), command.size());
  }
}
