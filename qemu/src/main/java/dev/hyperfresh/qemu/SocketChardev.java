package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.qemu.SocketFile.Holder;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Predicate;

/// A character device on a socket: it listens for clients, or is the client of a server.
///
/// Two processes cannot serve one address, and a server may take one client only. So the target of
/// a replacement starts with a device in its place that leads nowhere ([#silent]), and gets the
/// socket when its source is gone ([#take]), by QMP `chardev-change`, which every QEMU since 2.10
/// knows.
///
/// The other way would have been to pass the listening socket of the source on, so that no client
/// is refused meanwhile. But after the death of a daemon, and for a guest that was stopped, there
/// is none to pass on, and the address has to be taken anew all the same.
///
/// @param words as behind `-chardev`, the type under `backend`; with no descriptor but by
///   [#passed], and with [#RECONNECT] when it is a client
record SocketChardev(Suboptions words) {
  static final String BACKEND = "backend";

  /// As QEMU from 9.2 on calls it, in milliseconds.
  static final String RECONNECT = "reconnect-ms";

  /// As older ones call it, in seconds; newer ones do not know it any more.
  static final String RECONNECT_SECONDS = "reconnect";

  private static final String SOCKET = "socket";
  private static final String SILENT = "null";

  /// What is spoken on top of the stream.
  private static final List<String> PROTOCOLS = List.of("telnet", "tn3270", "websocket");

  private static final List<String> FAMILIES = List.of("ipv4", "ipv6");

  private static final int LONGEST_NAME = 200;

  /// Devices on virtio let go of their character devices while the guest stands.
  private static final String STANDS = "does not support chardev hotswap";

  /// For one that is to connect once: a QEMU that waits for a connection does not serve its guest
  /// meanwhile, and one that connects again and again does.
  static final long RECONNECT_DEFAULT_MS = 1000;

  /// A character device of later instances, if it is one on a socket that somebody else may have.
  static Optional<SocketChardev> of(Suboptions chardev) {
    boolean is = chardev.get(BACKEND, "").equals(SOCKET) && chardev.get("fd").isEmpty();
    return is ? Optional.of(new SocketChardev(chardev)) : Optional.empty();
  }

  String id() {
    return words.get("id", "");
  }

  /// Whether it listens for clients.
  boolean serves() {
    return words.isOn("server");
  }

  private boolean isAbstract() {
    return words.isOn("abstract");
  }

  /// The file of its socket, if it has one.
  Optional<SocketFile> file() {
    return words.get("path").filter(_ -> !isAbstract()).map(SocketFile::new);
  }

  /// The port of its address, if it has one.
  OptionalInt port() {
    return words
        .get("port")
        .map(port -> OptionalInt.of(Integer.parseInt(port)))
        .orElse(OptionalInt.empty());
  }

  /// Its address, for people.
  String where() {
    return words
        .get("path")
        .map(path -> (isAbstract() ? "abstract:" : "unix:") + path)
        .orElseGet(() -> "tcp:" + words.get("host", "") + ":" + words.get("port", ""));
  }

  /// As it stands behind `-chardev`.
  String text() {
    return SOCKET + "," + words.without(BACKEND).text();
  }

  /// The same behind `-chardev`, leading nowhere. What the guest writes goes into its log alone.
  String silent() {
    Map<String, String> left = new LinkedHashMap<>();
    left.put("id", id());
    for (String key : List.of("logfile", "logappend")) {
      words.get(key).ifPresent(value -> left.put(key, value));
    }
    return SILENT + "," + new Suboptions(left, false).text();
  }

  /// The same behind `-chardev`, for an instance that is passed the socket.
  String passed(int descriptor) {
    return new SocketChardev(words.without("path").with("fd", Integer.toString(descriptor))).text();
  }

  /// What keeps another process of this host from having the same address, if anything, in a
  /// sentence.
  ///
  /// @param here whether the process that has it is in this network namespace
  /// @param sees whether a folder is the same one for that process
  Optional<String> unreachable(boolean here, Predicate<Path> sees) {
    Optional<SocketFile> file = file();
    if (file.isPresent()) {
      return sees.test(file.get().folder())
          ? Optional.empty()
          : Optional.of(
              "The folder of its socket "
                  + named()
                  + " is missing, or is a different folder for this daemon.");
    }
    return here
        ? Optional.empty()
        : Optional.of(
            "Its socket " + named() + " is in another network namespace; run the daemon there.");
  }

  /// Its address and its name, for people.
  String named() {
    return ForeignGuest.clean(where() + " (" + id() + ")", LONGEST_NAME);
  }

  /// Gives a QEMU that was started with [#silent] the socket, unless it has it already. A file that
  /// somebody removed is made again.
  ///
  /// The guest is told of each client, so nobody connects to a file that is the QEMU's own by all
  /// that can be seen.
  ///
  /// @param pid of its process
  /// @param user who looks whether somebody listens there
  /// @throws Qmp.QmpException when it cannot have it
  void take(MachineIdentity.Respondent qemu, int pid, FileUser user) {
    boolean silent = isSilent(qemu);
    Optional<SocketFile> file = file().filter(_ -> serves());
    if (!silent && file.map(served -> served.isOfUserOf(pid)).orElse(true)) {
      return;
    }
    OptionalInt reporting = silent ? OptionalInt.empty() : OptionalInt.of(pid);
    Optional<Holder> holder = file.map(served -> served.holder(reporting, user));
    Optional<String> fault = holder.flatMap(known -> known.fault(named()));
    if (fault.isPresent()) {
      throw new Qmp.QmpException(fault.get());
    }
    if (holder.filter(Holder.QEMU::equals).isPresent()) {
      return;
    }
    if (!silent) {
      // The old one removes the file at its end, whosever it is by then.
      change(qemu, SILENT, withLog());
    }
    changeToSocket(qemu);
  }

  private boolean isSilent(MachineIdentity.Respondent qemu) {
    return qemu.execute("query-chardev", Map.of())
        .valueStream()
        .filter(chardev -> chardev.path("label").asString("").equals(id()))
        .map(chardev -> chardev.path("filename").asString(""))
        .findFirst()
        .orElseThrow(() -> new Qmp.QmpException("it has no character device " + named()))
        .equals(SILENT);
  }

  private void changeToSocket(MachineIdentity.Respondent qemu) {
    Map<String, Object> socket = withLog();
    socket.put("addr", address());
    socket.put("server", serves());
    PROTOCOLS.forEach(key -> words.get(key).ifPresent(_ -> socket.put(key, words.isOn(key))));
    if (words.isOn("nodelay") || words.get("delay", "on").equals("off")) {
      socket.put("nodelay", true);
    }
    if (serves()) {
      // A QEMU that waited for a client would not run its guest meanwhile.
      socket.put("wait", false);
      change(qemu, SOCKET, socket);
      return;
    }
    Map<String, Object> older = new LinkedHashMap<>(socket);
    long millis = Long.parseLong(words.get(RECONNECT, ""));
    socket.put(RECONNECT, millis);
    older.put(RECONNECT_SECONDS, Math.ceilDiv(millis, 1000));
    try {
      change(qemu, SOCKET, socket);
    } catch (Qmp.QmpException e) {
      if (e.unanswered() || !String.valueOf(e.getMessage()).contains(RECONNECT)) {
        throw e;
      }
      change(qemu, SOCKET, older);
    }
  }

  private Map<String, Object> withLog() {
    Map<String, Object> data = new LinkedHashMap<>();
    words.get("logfile").ifPresent(file -> data.put("logfile", file));
    words.get("logappend").ifPresent(_ -> data.put("logappend", words.isOn("logappend")));
    return data;
  }

  private void change(MachineIdentity.Respondent qemu, String type, Map<String, Object> data) {
    try {
      qemu.execute(
          "chardev-change", Map.of("id", id(), "backend", Map.of("type", type, "data", data)));
    } catch (Qmp.QmpException e) {
      if (!e.unanswered() && String.valueOf(e.getMessage()).contains(STANDS)) {
        throw new Qmp.QmpException("the guest does not run now");
      }
      throw e;
    }
  }

  private Map<String, Object> address() {
    Map<String, Object> data = new LinkedHashMap<>();
    Optional<String> path = words.get("path");
    if (path.isPresent()) {
      data.put("path", path.get());
      if (isAbstract()) {
        data.put("abstract", true);
        words.get("tight").ifPresent(_ -> data.put("tight", words.isOn("tight")));
      }
      return Map.of("type", "unix", "data", data);
    }
    data.put("host", words.get("host", ""));
    data.put("port", words.get("port", ""));
    FAMILIES.forEach(key -> words.get(key).ifPresent(_ -> data.put(key, words.isOn(key))));
    return Map.of("type", "inet", "data", data);
  }
}
