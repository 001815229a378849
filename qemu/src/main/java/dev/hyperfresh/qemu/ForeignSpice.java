package dev.hyperfresh.qemu;

import java.net.InetAddress;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The SPICE server of a foreign command line, which shows the guest's screen and carries its
/// agent's channel and USB devices of clients.
final class ForeignSpice implements ForeignSubject {
  private static final String GL = "gl";
  private static final String SECRET = "password-secret";
  private static final String OPEN = "disable-ticketing";

  /// What it can have beside its address.
  private static final Set<String> OPTIONS =
      Set.of(
          "agent-mouse",
          "disable-agent-file-xfer",
          "disable-copy-paste",
          OPEN,
          "display",
          "head",
          "image-compression",
          "ipv4",
          "ipv6",
          "jpeg-wan-compression",
          "max-refresh-rate",
          SECRET,
          "playback-compression",
          "seamless-migration",
          "streaming-video",
          "video-codecs",
          "zlib-glz-wan-compression");

  /// What stands between such a server and its clients, and would have to be set up again.
  private static final Set<String> NOT_YET =
      Set.of(
          "sasl",
          "tls-channel",
          "tls-ciphers",
          "tls-port",
          "x509-cacert-file",
          "x509-cert-file",
          "x509-dh-key-file",
          "x509-dir",
          "x509-key-file",
          "x509-key-password");

  /// What is read here and does not go along as it is written.
  private static final Set<String> OURS =
      Set.of(
          SpiceServer.ADDRESS,
          SpiceServer.PORT,
          SpiceServer.UNIX,
          GL,
          "password",
          "plaintext-channel",
          "rendernode");

  private static final Pattern PORT = Pattern.compile("[1-9][0-9]{0,4}");
  private static final int LAST_PORT = 65_535;

  /// What begins an address that is no file.
  private static final String ABSTRACT = "@";

  private static final String ALL = "0.0.0.0";
  private static final String ALL_SIX = "::";

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final boolean borrowed;

  /// @param borrowed whether the guest has a manager that takes it back
  ForeignSpice(ForeignPieces pieces, ForeignFolders folders, boolean borrowed) {
    this.pieces = pieces;
    this.folders = folders;
    this.borrowed = borrowed;
  }

  /// The secrets that the SPICE servers of a line refer to.
  static Set<String> secrets(ForeignPieces pieces) {
    return pieces
        .of(ForeignOption.SPICE)
        .flatMap(piece -> piece.pairs("").get(SECRET).stream())
        .collect(Collectors.toSet());
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions given = verdict.pairs(piece, "");
    check(given, verdict);
    if (pieces.of(ForeignOption.SPICE).count() > 1) {
      verdict.refuse("QEMU makes one server of several -spice", "put all of it into one");
    }
    Suboptions kept = given;
    for (String key : OURS) {
      kept = kept.without(key);
    }
    SpiceServer server = found(new SpiceServer(kept), given, verdict);
    if (!verdict.against().isEmpty()) {
      return verdict;
    }
    remark(server, verdict);
    return verdict.words(SpiceServer.OPTION, server.text());
  }

  private static void check(Suboptions given, ForeignVerdict verdict) {
    Set<String> keys = new TreeSet<>(given.values().keySet());
    keys.removeAll(OURS);
    for (String key : NOT_YET) {
      if (keys.remove(key)) {
        verdict.refuse("a SPICE server with " + key + " cannot be taken over yet");
      }
    }
    verdict.refuseUnknown(keys, OPTIONS);
    if (given.isOn(GL)) {
      verdict.refuse(
          "what OpenGL has drawn is in the process and cannot be handed over",
          "start it without gl=on");
    }
    if (given.get("password").isPresent()) {
      verdict.refuse("QEMU from 8.0 on knows no password= of SPICE", "use password-secret=");
    }
  }

  /// With the address at which it listens, if it does.
  private SpiceServer found(SpiceServer server, Suboptions given, ForeignVerdict verdict) {
    if (given.isOn(SpiceServer.UNIX)) {
      return socket(given, verdict).map(server::at).orElse(server);
    }
    String port = given.get(SpiceServer.PORT, SpiceServer.NO_PORT);
    if (port.equals(SpiceServer.NO_PORT)) {
      return server.silent();
    }
    String host = given.get(SpiceServer.ADDRESS, "");
    if (borrowed) {
      verdict.refuse(
          "QEMU has SPICE listen at a port only when it starts, and later nobody would when the"
              + " manager has the guest back",
          "have it listen at a unix socket: unix=on,addr=PATH");
    }
    if (!PORT.matcher(port).matches() || Integer.parseInt(port) > LAST_PORT) {
      verdict.refuse("its port cannot be understood; only numbers of ports are");
    } else if (!host.isEmpty() && !isNumber(host)) {
      verdict.refuse("its address would have to be looked up", "give it an address as a number");
    } else {
      String all = given.isOn("ipv6") ? ALL_SIX : ALL;
      return server.at(host.isEmpty() ? all : host, Integer.parseInt(port));
    }
    return server;
  }

  private static boolean isNumber(String host) {
    try {
      InetAddress.ofLiteral(host);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  private Optional<Path> socket(Suboptions given, ForeignVerdict verdict) {
    String address = given.get(SpiceServer.ADDRESS, "");
    if (address.startsWith(ABSTRACT)) {
      verdict.refuse("a name without a file cannot change hands", "use a path");
      return Optional.empty();
    }
    Optional<Path> path = folders.socket(address);
    if (path.isEmpty()) {
      verdict.refuse("its path cannot be used by another process");
    } else if (!BesideSocket.fits(new SocketFile(path.get().toString()))) {
      verdict.refuse("its path is too long for another socket beside it");
    }
    return path;
  }

  private static void remark(SpiceServer server, ForeignVerdict verdict) {
    String where = server.where();
    boolean secret = server.options().get(SECRET).isPresent();
    boolean open = server.options().isOn(OPEN);
    if (!where.isEmpty() && !open && !secret) {
      verdict.remark(
          "With its first replacement, the password of its SPICE server is lost, since it cannot be"
              + " read, and nobody can log in any more; start the guest with password-secret= to"
              + " keep it.");
    }
    if (!where.isEmpty() && !open && secret) {
      verdict.remark(
          "With each replacement, a password or an expiry that its SPICE server was told after its"
              + " start is forgotten, and the password of its secret counts again.");
    }
    if (server.port().isPresent()) {
      verdict.remark(
          "From its first replacement on, the daemon listens at "
              + where
              + " in the place of its SPICE server and passes clients on; while no daemon runs,"
              + " nobody new can connect.");
    }
    verdict.remark(
        "With each replacement, its SPICE server"
            + (where.isEmpty() ? "" : " at " + where)
            + " disconnects its clients, which have to connect again.");
  }
}
