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

/// A folder of this host that an OS VM mounts: a virtiofsd of its own, which ends with the VM.
final class FileService implements AutoCloseable {
  private static final int SOCKET_FD = 3;

  private final Path socket;
  private final HostProcess process;

  private FileService(Path socket, HostProcess process) {
    this.socket = socket;
    this.process = process;
  }

  /// Serves `folder` to whoever connects to `socket` first.
  ///
  /// @param log what the server says
  /// @throws dev.hyperfresh.linux.LinuxException when it cannot be started
  static FileService start(FileServer server, Path folder, Path socket, Path log)
      throws IOException {
    Files.deleteIfExists(socket);
    try (UnixSocket listener = UnixSocket.listen(socket, 0600)) {
      return new FileService(
          socket,
          HostProcess.of(
              ChildProcess.spawn(
                  new ChildProcess.Request(
                      command(server, folder),
                      Map.of("LD_LIBRARY_PATH", libraries(server)),
                      Map.of(SOCKET_FD, listener.fd()),
                      log,
                      true))));
    }
  }

  /// Takes over the server that is process `pid`.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when there is none
  static FileService survivor(int pid, Path socket) {
    return new FileService(socket, HostProcess.survivor(pid));
  }

  private static String libraries(FileServer server) {
    return server.libraries().stream().map(Path::toString).collect(Collectors.joining(":"));
  }

  /// In its own root, the folder, and without any right that serving it does not need. It is not
  /// told of locks: the kernel of an OS keeps them, where CRIU sees them, and in the other OS
  /// nobody holds them yet.
  private static List<String> command(FileServer server, Path folder) {
    List<String> line = new ArrayList<>();
    line.add(server.program().toString());
    line.add("--fd=" + SOCKET_FD);
    if (server.isSuccessor()) {
      line.addAll(List.of("--shared-dir", folder.toString(), "--cache=auto", "--sandbox=chroot"));
    } else {
      line.addAll(
          List.of(
              "-o",
              "source=" + folder.toString().replace(",", "\\,"),
              "-o",
              "cache=auto,sandbox=chroot"));
    }
    return line;
  }

  /// Where it is reached.
  Path socket() {
    return socket;
  }

  /// The process.
  int pid() {
    return process.pid();
  }

  /// Lets go of it; it goes on.
  void letGo() {
    process.close();
  }

  @Override
  public void close() {
    process.kill();
    process.close();
    try {
      Files.deleteIfExists(socket);
    } catch (IOException e) {
      System.getLogger(FileService.class.getName())
          .log(System.Logger.Level.WARNING, socket + " cannot be removed", e);
    }
  }
}
