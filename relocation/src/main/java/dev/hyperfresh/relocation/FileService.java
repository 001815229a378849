package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.relocation.OsRelease.FileServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/// A container's folder on this host, served to one OS: a virtiofsd of its own, which ends when
/// that OS has the folder no longer.
final class FileService implements AutoCloseable {
  private static final int SOCKET_FD = 3;

  private final HostProcess process;

  private FileService(HostProcess process) {
    this.process = process;
  }

  /// A server, and this side of its only connection. When all copies of that are closed, it ends.
  record Started(FileService service, UnixSocket connection) {}

  /// Serves `folder`. The connection is made before the server starts: so it never waits for one,
  /// whoever dies meanwhile.
  ///
  /// @param socket a path for the time of this call
  /// @param log what the server says
  /// @throws dev.hyperfresh.linux.LinuxException when it cannot be started
  static Started start(FileServer server, Path folder, Path socket, Path log) throws IOException {
    Files.deleteIfExists(socket);
    try (UnixSocket listener = UnixSocket.listen(socket, 0600)) {
      UnixSocket connection = UnixSocket.connect(socket);
      try {
        Files.delete(socket);
        ChildProcess.Request request =
            new ChildProcess.Request(
                command(server, folder),
                Map.of("LD_LIBRARY_PATH", libraries(server)),
                Map.of(SOCKET_FD, listener.fd()),
                log,
                true);
        return new Started(
            new FileService(HostProcess.of(ChildProcess.spawn(request))), connection);
      } catch (IOException | RuntimeException e) {
        connection.close();
        throw e;
      }
    }
  }

  /// Takes over the server that is process `pid`.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when there is none
  static FileService survivor(int pid) {
    return new FileService(HostProcess.survivor(pid));
  }

  private static String libraries(FileServer server) {
    return server.libraries().stream().map(Path::toString).collect(Collectors.joining(":"));
  }

  /// As root, in its own root, the folder, under its own system call filter, with the capabilities
  /// that it needs to give files to any user; of devices nobody makes any. Namespaces of its own
  /// would keep it from the host's processes and network too, but then it is two processes, of
  /// which the one that serves only hears that it is to end: this one can be killed for certain.
  ///
  /// It is not told of locks: the kernel of an OS keeps them, where CRIU sees them, and in the
  /// other OS nobody holds them yet. Nor is that one told what this one caches: a folder is given
  /// to the OS anew with each move, so it comes with nothing cached.
  private static List<String> command(FileServer server, Path folder) {
    List<String> line = new ArrayList<>();
    line.add(server.program().toString());
    line.add("--fd=" + SOCKET_FD);
    if (server.isSuccessor()) {
      line.addAll(
          List.of(
              "--shared-dir",
              folder.toString(),
              "--cache=auto",
              "--sandbox=chroot",
              "--modcaps=-mknod"));
    } else {
      line.addAll(
          List.of(
              "-o",
              "source=" + folder.toString().replace(",", "\\,"),
              "-o",
              "cache=auto,sandbox=chroot,modcaps=-mknod"));
    }
    return line;
  }

  /// The process.
  int pid() {
    return process.pid();
  }

  /// Lets go of it; it goes on.
  void letGo() {
    process.close();
  }

  /// Ends it: the OS that it serves reaches the folder no more, whatever it does.
  @Override
  public void close() {
    process.kill();
    process.close();
  }
}
