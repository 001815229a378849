package dev.hyperfresh.machine;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/// A guest's console in a machine. The hardware itself keeps an end of the pipe through which a
/// client types, so that the pipe, and with it the port, does not end with this process. For one
/// thread at a time.
final class GuestConsole {
  private static final int TYPED_BYTES = 64 << 10;

  private final Fittings fittings;
  private Optional<ConsoleClients> clients = Optional.empty();

  GuestConsole(Fittings fittings) {
    this.fittings = fittings;
  }

  private String channel() {
    return fittings.id() + ".con";
  }

  /// @param socket where clients come
  /// @param files the guest's folder
  /// @param log what the console writes goes there
  /// @return the port's path inside
  String plug(Path socket, Path files, Fd log) {
    String name = channel();
    try (Pipe typed = Pipe.open(TYPED_BYTES, name)) {
      fittings.vm().descriptors().keep(name, typed.writeEnd());
      fittings.undoneBy(() -> fittings.vm().descriptors().forget(name));
      fittings
          .vm()
          .descriptors()
          .lend(
              typed.readEnd(),
              (in, _) -> fittings.vm().descriptors().lend(log, (out, _) -> connect(name, in, out)));
      serve(socket, files, Optional.of(typed.writeEnd().duplicate()));
    }
    return fittings.port(name);
  }

  private void connect(String name, int in, int out) {
    fittings.channel(
        name, "file", Map.of("in", "/dev/fdset/" + in, "out", "/dev/fdset/" + out, "append", true));
  }

  /// One that an earlier daemon has plugged in.
  void found() {
    fittings.undoneBy(() -> fittings.vm().descriptors().forget(channel()));
    fittings.foundChannel(channel());
  }

  /// As after [#plug], of one that was [#found].
  void serve(Path socket, Path files) {
    serve(socket, files, fittings.vm().descriptors().kept(channel()));
  }

  private void serve(Path socket, Path files, Optional<Fd> input) {
    clients =
        Optional.of(new ConsoleClients(listener(socket), files.resolve("console.log"), input));
  }

  private static UnixSocket listener(Path path) {
    try {
      Files.deleteIfExists(path);
      return UnixSocket.listen(path, 0600);
    } catch (IOException e) {
      throw new TroubleException(path + ": " + e.getMessage(), e);
    }
  }

  /// Serves no clients any more.
  void letGo() {
    clients.ifPresent(ConsoleClients::close);
  }
}
