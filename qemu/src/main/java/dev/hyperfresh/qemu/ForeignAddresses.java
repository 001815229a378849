package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// The addresses at which a foreign process listens, of which its user may have less than it had
/// itself: it may have begun with more rights.
///
/// @param files what the user may make
/// @param firstPort the first port of the host that the user may listen at
record ForeignAddresses(ForeignFiles files, int firstPort) {
  private static final Path FIRST_PORT = Path.of("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  private static final int USUAL_FIRST_PORT = 1024;

  // linux/capability.h CAP_NET_BIND_SERVICE
  private static final long ANY_PORT = 1L << 10;

  /// Of the user of a process, with the rights that later ones have.
  static ForeignAddresses of(ForeignFiles files, ProcessRights rights) {
    long left = rights.uid() == 0 ? rights.permitted() : rights.ambient();
    return new ForeignAddresses(
        files, (left & ANY_PORT) == 0 ? firstPortIn(files.process().network()) : 0);
  }

  private static int firstPortIn(Path network) {
    try {
      return Host.inNetworkNamespace(network, ForeignAddresses::configured);
    } catch (LinuxException e) {
      return USUAL_FIRST_PORT;
    }
  }

  private static int configured() {
    try {
      return Integer.parseInt(Files.readString(FIRST_PORT).strip());
    } catch (IOException | NumberFormatException e) {
      return USUAL_FIRST_PORT;
    }
  }

  /// Those that the user may not have, one sentence each.
  List<String> closed(AdoptedWords words) {
    List<String> closed = new ArrayList<>();
    words
        .vnc()
        .ifPresent(server ->
            server
                .addresses()
                .forEach(address -> {
                  switch (address) {
                    case VncServer.Address.Socket socket ->
                        file(new SocketFile(socket.path()), closed);
                    case VncServer.Address.Port port -> port(port.port(), closed);
                  }
                }));
    words
        .spice()
        .ifPresent(server -> {
          server.socket().ifPresent(socket -> file(socket, closed));
          server.port().ifPresent(port -> port(port.getPort(), closed));
        });
    words.sockets().stream()
        .filter(SocketChardev::serves)
        .forEach(socket -> {
          socket.file().ifPresent(file -> file(file, closed));
          socket.port().ifPresent(port -> port(port, closed));
        });
    words.networks().stream()
        .flatMap(network -> network.ports().stream())
        .forEach(port -> port(port.port(), closed));
    return closed;
  }

  private void file(SocketFile file, List<String> closed) {
    if (!files.mayMake(Path.of(file.path()))) {
      closed.add(
          "Its user may not make the socket "
              + ForeignGuest.clean(file.path(), UnixSocket.MAX_PATH)
              + ", so later processes could not listen there; permit it, or move it to another"
              + " folder.");
    }
  }

  private void port(int port, List<String> closed) {
    if (port < firstPort) {
      closed.add(
          "Its user may not listen at port "
              + port
              + " of this host, so later processes could not; use one from "
              + firstPort
              + " on.");
    }
  }
}
