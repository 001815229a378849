package dev.hyperfresh.qemu;

import java.net.InetAddress;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The sockets behind the character devices of a foreign command line, but for those that have a
/// meaning here: channels to programs in the guest, further serial ports and consoles. Later
/// instances take them over ([SocketChardev]).
final class ForeignChannels {
  private static final Set<String> OPTIONS =
      Set.of(
          "abstract",
          "delay",
          "fd",
          "host",
          "id",
          "ipv4",
          "ipv6",
          "logappend",
          "logfile",
          "mux",
          "nodelay",
          "path",
          "port",
          "reconnect",
          "reconnect-ms",
          "server",
          "telnet",
          "tight",
          "tn3270",
          "wait",
          "websocket",
          SocketChardev.BACKEND);

  /// What would have to be set up again, or is chosen anew.
  private static final Set<String> NOT_YET = Set.of("tls-authz", "tls-creds", "to");

  /// What goes along as it is written.
  private static final List<String> KEPT =
      List.of(
          "ipv4",
          "ipv6",
          "nodelay",
          "delay",
          "telnet",
          "tn3270",
          "websocket",
          "logfile",
          "logappend");

  /// Those devices to which QEMU gives another character device while they are there.
  private static final Set<String> ENDS =
      Set.of(
          "isa-serial", "pci-serial", "virtconsole", "virtserialport", ForeignOption.SERIAL.word());

  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");
  private static final Pattern PORT = Pattern.compile("[1-9][0-9]{0,4}");

  /// How `-serial` names a port of a host.
  private static final Pattern BY_HOST =
      Pattern.compile("(tcp|telnet|websocket):([^:,]*+):([^,]*+)(?:,(.*))?", Pattern.DOTALL);

  private static final String BY_FILE = "unix:";

  private final ForeignFolders folders;

  ForeignChannels(ForeignFolders folders) {
    this.folders = folders;
  }

  static boolean isSocket(Suboptions chardev) {
    return chardev.get(SocketChardev.BACKEND, "").equals("socket");
  }

  /// What stands behind `-serial` as a character device of its own, if it is a socket.
  ///
  /// @param verdict gets a reason where it cannot be read
  static Optional<Suboptions> serial(String value, String id, ForeignVerdict verdict) {
    Suboptions socket;
    Matcher host = BY_HOST.matcher(value);
    if (value.startsWith(BY_FILE)) {
      socket = verdict.pairs(value.substring(BY_FILE.length()), "path");
    } else if (host.matches()) {
      String rest = host.group(4);
      socket =
          verdict
              .pairs(rest == null ? "" : rest, "")
              .with("host", host.group(2))
              .with("port", host.group(3));
      socket = host.group(1).equals("tcp") ? socket : socket.with(host.group(1), "on");
    } else {
      return Optional.empty();
    }
    return Optional.of(socket.with(SocketChardev.BACKEND, "socket").with("id", id));
  }

  /// Reads the socket of a character device.
  ///
  /// @param end the type of the device that it serves, or `-serial`; empty when there is none
  ForeignVerdict read(Suboptions chardev, Optional<String> end, ForeignVerdict verdict) {
    check(chardev, verdict);
    if (end.isEmpty()) {
      verdict.refuse("nothing is at it", "leave it out");
    } else if (!ENDS.contains(end.get())) {
      verdict.refuse("QEMU gives " + end.get() + " no other socket than the one it started with");
    }
    SocketChardev socket = ours(chardev, verdict);
    remark(socket, chardev, verdict);
    return words(socket, verdict);
  }

  /// Reads the socket of a monitor, at the file of which it listens.
  ForeignVerdict monitor(Suboptions chardev, ForeignVerdict verdict) {
    check(chardev, verdict);
    SocketChardev socket = ours(chardev, verdict);
    if (socket.file().filter(file -> !BesideSocket.fits(file)).isPresent()) {
      verdict.refuse("its path is too long for another socket beside it");
    }
    return words(socket, verdict);
  }

  private static ForeignVerdict words(SocketChardev socket, ForeignVerdict verdict) {
    return verdict.against().isEmpty()
        ? verdict.words(ForeignOption.CHARDEV.word(), socket.text())
        : verdict;
  }

  private static void check(Suboptions chardev, ForeignVerdict verdict) {
    Set<String> keys = new TreeSet<>(chardev.values().keySet());
    for (String key : NOT_YET) {
      if (keys.remove(key)) {
        verdict.refuse("a socket with " + key + " cannot be taken over yet");
      }
    }
    verdict.refuseUnknown(keys, OPTIONS);
    if (chardev.isOn("mux")) {
      verdict.refuse("what several share cannot be given to all of them anew");
    }
  }

  private SocketChardev ours(Suboptions chardev, ForeignVerdict verdict) {
    Map<String, String> ours = new LinkedHashMap<>();
    ours.put(SocketChardev.BACKEND, "socket");
    ours.put("id", chardev.get("id", ""));
    ours.putAll(address(chardev, verdict));
    if (chardev.isOn("server")) {
      ours.put("server", "on");
      ours.put("wait", "off");
    } else {
      ours.put(SocketChardev.RECONNECT, Long.toString(reconnect(chardev, verdict)));
    }
    KEPT.forEach(key -> chardev.get(key).ifPresent(value -> ours.put(key, value)));
    return new SocketChardev(new Suboptions(ours, false));
  }

  private Map<String, String> address(Suboptions chardev, ForeignVerdict verdict) {
    if (chardev.get("fd").isPresent()) {
      return descriptor(chardev, verdict);
    }
    Map<String, String> address = new LinkedHashMap<>();
    Optional<String> path = chardev.get("path");
    if (path.isPresent() && chardev.isOn("abstract")) {
      address.put("path", path.get());
      address.put("abstract", "on");
      chardev.get("tight").ifPresent(tight -> address.put("tight", tight));
    } else if (path.isPresent()) {
      folders
          .socket(path.get())
          .ifPresentOrElse(
              file -> address.put("path", file.toString()),
              () -> verdict.refuse("its path cannot be used by another process"));
    } else if (PORT.matcher(chardev.get("port", "")).matches()) {
      String host = chardev.get("host", "");
      if (chardev.isOn("server") && !isHere(host)) {
        verdict.refuse(
            "QEMU would look its host up in the network, and its guest would stand meanwhile",
            "give it an address");
      }
      address.put("host", host);
      address.put("port", chardev.get("port", ""));
    } else {
      verdict.refuse("its address cannot be understood; only paths and numbers of ports are");
    }
    return address;
  }

  /// Whether a host to listen at is known without asking the network.
  private static boolean isHere(String host) {
    if (host.isEmpty() || host.equals("localhost")) {
      return true;
    }
    try {
      InetAddress.ofLiteral(host);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /// The file of a socket that the process was passed.
  private Map<String, String> descriptor(Suboptions chardev, ForeignVerdict verdict) {
    if (!chardev.isOn("server")) {
      verdict.refuse("a connection that it was passed cannot be made again");
    }
    if (folders.sockets().isEmpty()) {
      // The process was not looked at.
      return Map.of();
    }
    Optional<Path> file =
        chardev
            .get("fd")
            .filter(number -> NUMBER.matcher(number).matches())
            .flatMap(number -> folders.socket(Integer.parseInt(number)));
    if (file.isEmpty()) {
      verdict.refuse("it was passed no unix socket that listens at a path");
    }
    return file.map(path -> Map.of("path", path.toString())).orElse(Map.of());
  }

  private static long reconnect(Suboptions chardev, ForeignVerdict verdict) {
    String millis = chardev.get(SocketChardev.RECONNECT, "0");
    String seconds = chardev.get(SocketChardev.RECONNECT_SECONDS, "0");
    if (!NUMBER.matcher(millis).matches() || !NUMBER.matcher(seconds).matches()) {
      verdict.refuse("how soon it connects again is not a number");
      return 0;
    }
    long wanted = Math.max(Long.parseLong(millis), 1000 * Long.parseLong(seconds));
    return wanted == 0 ? SocketChardev.RECONNECT_DEFAULT_MS : wanted;
  }

  private static void remark(SocketChardev socket, Suboptions chardev, ForeignVerdict verdict) {
    String named =
        chardev
            .get("fd")
            .map(number ->
                "descriptor " + ForeignGuest.clean(number + " (" + socket.id() + ")", 100))
            .filter(_ -> socket.file().isEmpty())
            .orElseGet(socket::named);
    verdict.remark(
        socket.serves()
            ? "With each replacement, whoever is connected to its socket "
                + named
                + " is disconnected and has to connect again; what is on its way then is lost."
            : "With each replacement, its connection to "
                + named
                + " ends and is made anew, until it succeeds; what is on its way then is lost.");
  }
}
