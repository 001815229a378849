package dev.hyperfresh.qemu;

import dev.hyperfresh.qemu.VncServer.Address;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What a foreign command line shows the guest's screen on, which is nothing or a VNC server, and
/// its graphics card.
final class ForeignDisplay implements ForeignSubject {
  /// How `-display` names a VNC server.
  private static final String VNC = "vnc=";

  /// What a VNC server can have beside its addresses.
  private static final Set<String> OPTIONS =
      Set.of(
          "audiodev",
          "connections",
          "display",
          "head",
          "id",
          "ipv4",
          "ipv6",
          "key-delay-ms",
          "lock-key-sync",
          "lossy",
          "non-adaptive",
          "password",
          "password-secret",
          "power-control",
          "share",
          "to");

  /// What stands between such a server and its clients, and would have to be set up again.
  private static final Set<String> NOT_YET =
      Set.of("reverse", "sasl", "sasl-authz", "tls-authz", "tls-creds", "websocket");

  private static final Pattern PORT = Pattern.compile("[0-9]{1,5}");

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final Optional<Set<String>> listening;

  /// @param listening as [VncServer#services] of the running QEMU; empty when it was not asked
  ForeignDisplay(ForeignPieces pieces, ForeignFolders folders, Optional<Set<String>> listening) {
    this.pieces = pieces;
    this.folders = folders;
    this.listening = listening;
  }

  /// The secrets that the VNC servers of a line refer to.
  static Set<String> secrets(ForeignPieces pieces) {
    return servers(pieces)
        .flatMap(server -> server.options().get("password-secret").stream())
        .collect(Collectors.toSet());
  }

  private static Stream<VncServer> servers(ForeignPieces pieces) {
    return pieces
        .of(ForeignOption.VNC, ForeignOption.DISPLAY)
        .flatMap(piece -> server(piece).stream())
        .flatMap(text -> {
          try {
            return Stream.of(VncServer.parse(text));
          } catch (Suboptions.MalformedException e) {
            // Where it is read, that is a reason.
            return Stream.empty();
          }
        });
  }

  /// What a piece says of a VNC server, if it is about one.
  private static Optional<String> server(ForeignPiece piece) {
    return switch (piece.option()) {
      case VNC -> Optional.of(piece.value());
      case DISPLAY ->
          Optional.of(piece.value())
              .filter(value -> value.startsWith(VNC))
              .map(value -> value.substring(VNC.length()));
      default -> Optional.empty();
    };
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    if (piece.option() == ForeignOption.VGA) {
      return ForeignVerdict.only(piece, Set.of("none", "std", "cirrus", "qxl", "virtio"));
    }
    Optional<String> server = server(piece);
    if (server.isPresent()) {
      return vnc(ForeignVerdict.of(piece), server.get());
    }
    return isNone(piece)
        ? ForeignVerdict.kept(piece)
        : ForeignVerdict.refused(
            piece,
            "the window or listener of a display cannot be handed over",
            "use -display none or -vnc");
  }

  private static boolean isNone(ForeignPiece display) {
    return display.value().equals("none");
  }

  private ForeignVerdict vnc(ForeignVerdict verdict, String text) {
    VncServer server;
    try {
      server = VncServer.parse(text);
    } catch (Suboptions.MalformedException e) {
      return verdict.refuse(String.valueOf(e.getMessage()));
    }
    Set<String> keys = new TreeSet<>(server.options().values().keySet());
    for (String key : NOT_YET) {
      if (keys.remove(key)) {
        verdict.refuse("a VNC server with " + key + " cannot be taken over yet");
      }
    }
    verdict.refuseUnknown(keys, OPTIONS);
    if (pieces
            .of(ForeignOption.VNC, ForeignOption.DISPLAY)
            .filter(piece -> server(piece).isPresent())
            .count()
        > 1) {
      verdict.refuse("only one VNC server can be taken over");
    }
    VncServer ours = server.at(found(server, verdict));
    remark(ours, verdict);
    return verdict.words(
        VncServer.OPTION, new VncServer(ours.addresses(), ours.options().without("to")).text());
  }

  /// The addresses at which it listens, by absolute paths.
  private List<Address> found(VncServer server, ForeignVerdict verdict) {
    Optional<Address> chosen = chosen(server);
    if (chosen.isPresent()) {
      return List.of(chosen.get());
    }
    Set<String> expected =
        server.addresses().stream().map(Address::service).collect(Collectors.toSet());
    listening
        .filter(now -> !now.equals(expected))
        .ifPresent(now ->
            verdict.refuse(
                now.isEmpty()
                    ? "it does not listen there any more"
                    : "it listens elsewhere: " + ForeignPiece.excerpt(String.join(", ", now))));
    return server.addresses().stream()
        .map(address ->
            address instanceof Address.Socket socket ? absolute(socket, verdict) : address)
        .toList();
  }

  /// The port that QEMU chose of a range.
  private Optional<Address> chosen(VncServer server) {
    boolean range = server.options().get("to").isPresent() && server.addresses().size() == 1;
    return range && server.addresses().getFirst() instanceof Address.Port first
        ? listening
            .filter(now -> now.size() == 1)
            .flatMap(now -> now.stream().findFirst())
            .filter(service -> PORT.matcher(service).matches())
            .map(Integer::valueOf)
            .filter(port -> port >= first.port())
            .map(port -> new Address.Port(first.host(), port))
        : Optional.empty();
  }

  private Address absolute(Address.Socket socket, ForeignVerdict verdict) {
    String path = folders.socket(socket.path()).map(Object::toString).orElse("");
    if (path.isEmpty()) {
      verdict.refuse("its path cannot be used by another process");
    }
    return new Address.Socket(path);
  }

  private static void remark(VncServer server, ForeignVerdict verdict) {
    boolean secret = server.options().get("password-secret").isPresent();
    if (server.options().isOn("password") && !secret) {
      verdict.remark(
          "With its first replacement, the password of its VNC server is lost, since it cannot be"
              + " read, and nobody can log in any more; start the guest with password-secret= to"
              + " keep it.");
    }
    if (secret && !server.addresses().isEmpty()) {
      verdict.remark(
          "With each replacement, a password or an expiry that its VNC server was told after its"
              + " start is forgotten, and the password of its secret counts again.");
    }
    if (!server.addresses().isEmpty()) {
      verdict.remark(
          "With each replacement, its VNC server at "
              + ForeignPiece.excerpt(server.where())
              + " disconnects its clients, which have to connect again.");
    }
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    // One that is given is refused by name.
    boolean given =
        pieces.has(
            ForeignOption.NOGRAPHIC, ForeignOption.DISPLAY, ForeignOption.VNC, ForeignOption.SPICE);
    // What a file that is not read says stays open.
    if (!given && !pieces.has(ForeignOption.READCONFIG)) {
      verdict.speaksAgainst(
          "display",
          "It has a display, whose window or listener cannot be handed over",
          "use -display none or -vnc");
    }
    return verdict;
  }
}
