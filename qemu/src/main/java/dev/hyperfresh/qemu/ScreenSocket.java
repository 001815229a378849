package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Devices.Address;
import dev.hyperfresh.hypervisor.Devices.Screen;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The unix socket of a guest's screen, which stays at its path whichever QEMU the guest has. The
/// daemon makes it, since a QEMU with a user of its own may make no file there, and passes it on.
record ScreenSocket(Path path) {
  /// As the QEMU calls what it is passed.
  private static final String NAME = "screen";

  private static final Duration LIMIT = Duration.ofSeconds(1);

  /// Of a guest whose spec has one.
  static Optional<ScreenSocket> of(Launch launch) {
    return launch.adopted().isPresent()
        ? Optional.empty()
        : launch
            .spec()
            .devices()
            .screen()
            .map(Screen::address)
            .filter(address -> address instanceof Address.Socket)
            .map(_ -> new ScreenSocket(launch.sockets().resolve(launch.spec().name() + ".vnc")));
  }

  /// Has a QEMU serve it that is alone.
  TakenLater takenLater(Qmp qmp) {
    return new TakenLater("Its screen is not shown at " + path, "", (qemu, _) -> give(qemu, qmp));
  }

  private void give(MachineIdentity.Respondent qemu, Qmp qmp) {
    if (VncServer.services(qemu).contains(path.toString()) && Files.exists(path)) {
      return;
    }
    Qemu.removeSockets(path);
    try (UnixSocket listener = UnixSocket.listen(path, 0600)) {
      qmp.execute("getfd", Map.of("fdname", NAME), listener.fd());
      qmp.execute(
          "display-update",
          Map.of("type", "vnc", "addresses", List.of(Map.of("type", "fd", "str", NAME))));
    } catch (LinuxException e) {
      throw new Qmp.QmpException(String.valueOf(e.getMessage()));
    }
  }

  /// Removes it when nobody serves it any more.
  void removeIfLeft() {
    try (UnixSocket _ = UnixSocket.connect(path, LIMIT)) {
      return;
    } catch (LinuxException e) {
      if (e.errnoName().equals("ECONNREFUSED")) {
        Qemu.removeSockets(path);
      }
    }
  }
}
