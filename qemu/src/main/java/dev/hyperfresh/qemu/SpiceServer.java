package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Predicate;

/// A QEMU's SPICE server as `-spice` gives it. QEMU has it listen when it starts, and knows no
/// command to do so later. So a later instance listens at a unix socket of its own beside the one
/// that clients know, whose place that takes when no other instance is left ([BesideSocket]). Where
/// clients know a TCP port, it listens nowhere, and they come in by the [SpiceDoor].
///
/// @param options how it serves, in the order in which they stand; `addr`, which is a path with
///   `unix` and a number otherwise, is there when it listens
record SpiceServer(Suboptions options) {
  static final String OPTION = ForeignOption.SPICE.word();

  /// Says that the address is a path.
  static final String UNIX = "unix";

  static final String ADDRESS = "addr";
  static final String PORT = "port";

  /// As port of one that listens nowhere.
  static final String NO_PORT = "0";

  /// Of a word that was made here.
  static SpiceServer of(String word) {
    try {
      return new SpiceServer(Suboptions.parse(word, ""));
    } catch (Suboptions.MalformedException e) {
      throw new IllegalStateException("these words were made here", e);
    }
  }

  /// As a later instance has it at first; empty when it listens nowhere.
  static Optional<SpiceServer> beside(Launch launch) {
    return BesideSocket.ofSpice(launch)
        .flatMap(socket -> CommandLine.takenLater(launch).spice().map(s -> s.at(socket.beside())));
  }

  /// The file of the socket at which it listens; empty when it listens nowhere.
  Optional<SocketFile> socket() {
    return options.get(ADDRESS).filter(_ -> options.isOn(UNIX)).map(SocketFile::new);
  }

  /// The TCP port at which it listens, if it does.
  Optional<InetSocketAddress> port() {
    return options
        .get(PORT)
        .filter(port -> !port.equals(NO_PORT) && !options.isOn(UNIX))
        .map(port ->
            new InetSocketAddress(
                InetAddress.ofLiteral(options.get(ADDRESS, "")), Integer.parseInt(port)));
  }

  /// Its address, for people; empty when it listens nowhere.
  String where() {
    return socket()
        .map(socket -> "unix:" + ForeignPiece.excerpt(socket.path()))
        .or(() -> port().map(port -> host() + ":" + port.getPort()))
        .orElse("");
  }

  private String host() {
    String host = options.get(ADDRESS, "");
    return host.contains(":") ? "[" + host + "]" : host;
  }

  /// The same at a TCP port.
  ///
  /// @param host an address as a number
  SpiceServer at(String host, int port) {
    return new SpiceServer(
        options.without(UNIX).with(ADDRESS, host).with(PORT, Integer.toString(port)));
  }

  /// The same at the file of a socket.
  SpiceServer at(Path socket) {
    return new SpiceServer(options.without(PORT).with(UNIX, "on").with(ADDRESS, socket.toString()));
  }

  /// The same, listening nowhere.
  SpiceServer silent() {
    return new SpiceServer(
        options.without(UNIX).without(ADDRESS).without(PORT).with(PORT, NO_PORT));
  }

  /// As it stands behind `-spice`.
  String text() {
    return options.text();
  }

  /// What keeps another process of this host from listening at the same address, if anything, in a
  /// sentence.
  ///
  /// @param here whether the process that listens is in this network namespace
  /// @param sees whether a folder is the same one for that process
  Optional<String> unreachable(boolean here, Predicate<Path> sees) {
    if (socket().filter(socket -> !sees.test(socket.folder())).isPresent()) {
      return Optional.of(
          "The folder of its SPICE server's socket "
              + where()
              + " is missing, or is a different folder for this daemon.");
    }
    return port()
        .filter(_ -> !here)
        .map(_ ->
            "Its SPICE server listens at "
                + where()
                + " in another network namespace; run the daemon there.");
  }
}
