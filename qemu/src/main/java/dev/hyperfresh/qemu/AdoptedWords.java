package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.linux.FileUser;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// The command line of the later instances of a guest that was adopted, as [ForeignCommandLine]
/// made it, read again.
///
/// @param words options and their values
record AdoptedWords(List<String> words) {
  static final String CHECK = "identity";

  /// What a stand-in of a drive keeps: how the guest sees it, and not what is behind it.
  private static final Set<String> SEEN =
      Set.of(
          "if",
          "id",
          "index",
          "bus",
          "unit",
          "media",
          "readonly",
          "read-only",
          "werror",
          "rerror",
          "node-name",
          "cache",
          "cache.writeback");

  /// Character devices that need no stand-in. Those of SPICE belong to a server that listens
  /// nowhere.
  private static final Set<String> WITHOUT_OTHER_END =
      Set.of("null", "ringbuf", "vc", "spicevmc", "spiceport");

  /// An image that a running QEMU has open.
  ///
  /// @param node the name of its block node
  /// @param driver of that node, such as `qcow2`
  /// @param bytes how many the guest sees
  record OpenImage(String node, String driver, Path file, long bytes) {}

  AdoptedWords {
    words = List.copyOf(words);
  }

  /// Whether later instances get what the running one, `live`, made up for itself when it started.
  ///
  /// @param name the release that runs
  Check identity(String name, MachineIdentity live) {
    List<Suboptions> devices = values("-device").stream().map(v -> parse(v, "driver")).toList();
    List<Optional<MachineIdentity.Device>> found = live.of(devices, virtioDrives());
    List<String> faults = new ArrayList<>();
    for (int i = 0; i < devices.size(); i++) {
      Suboptions device = devices.get(i);
      String key =
          MachineIdentity.MADE_UP.getOrDefault(MachineIdentity.plain(device.get("driver", "")), "");
      String next = device.get(key, "");
      found
          .get(i)
          .map(is -> is.properties().getOrDefault(key, ""))
          .filter(is -> !is.isEmpty() && differs(key, is, next))
          .ifPresent(is ->
              faults.add(
                  "The "
                      + key
                      + " of its "
                      + device.get("driver", "")
                      + " is "
                      + is
                      + " and would be "
                      + (next.isEmpty() ? "another one" : next)
                      + "."));
    }
    return faults.isEmpty()
        ? Check.pass(CHECK, "The guest keeps the identity that its machine has on " + name + ".")
        : Check.fail(
            CHECK,
            String.join(" ", faults),
            "Restart the guest with that value on its command line, then adopt it again.");
  }

  /// A generation id that is not given is another one each time; what QEMU counts where it is not
  /// given is looked at in the rehearsal.
  private static boolean differs(String key, String is, String next) {
    return next.isEmpty() ? key.equals("guid") : !is.equalsIgnoreCase(next);
  }

  /// The same machine for a rehearsal, with nothing of the guest behind its devices.
  ///
  /// @param guest its name
  /// @param images those that the running instance has open
  /// @throws IOException when the size of an image is not known
  List<String> standIns(String guest, List<OpenImage> images) throws IOException {
    List<String> line = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      String word = words.get(i);
      ForeignOption option = ForeignOption.of(word);
      line.add(word);
      if (option == null || !option.hasValue() || i + 1 == words.size()) {
        continue;
      }
      String value = words.get(++i);
      line.add(
          switch (option) {
            case NAME -> "guest=" + guest + "-rehearsal,debug-threads=on";
            case CHARDEV -> chardev(value);
            case SERIAL -> value.equals("pty") ? "null" : value;
            case VNC, SPICE, NETDEV, NIC, NET -> silent(option, value, List.of());
            case BLOCKDEV -> node(value, images);
            case DRIVE -> drive(value, images);
            default -> value;
          });
    }
    return line;
  }

  private static String chardev(String value) {
    Suboptions chardev = parse(value, "backend");
    String id = chardev.get("id", "");
    if (id.equals(ForeignCommandLine.OUR_QMP)) {
      return "socket,id=" + id + ",fd=" + Descriptors.QMP;
    }
    if (chardev.get("fd", "").equals(Integer.toString(Descriptors.TPM))) {
      // The TPM of a rehearsal is an empty one.
      return value;
    }
    return WITHOUT_OTHER_END.contains(chardev.get("backend", ""))
        ? chardev.without("logfile").without("logappend").text()
        : "null,id=" + id.replace(",", ",,");
  }

  private static String node(String value, List<OpenImage> images) throws IOException {
    Suboptions node = parse(value, "driver");
    if (node.get("driver", "").startsWith("null-")) {
      return value;
    }
    String name = node.get("node-name", "");
    long bytes =
        images.stream()
            .filter(image -> PluggedNodes.name(image.node()).equals(name))
            .mapToLong(OpenImage::bytes)
            .findFirst()
            .orElseThrow(
                () -> new IOException("the size of the block node " + name + " is unknown"));
    return QmpMessage.JSON.writeValueAsString(
        Map.of(
            "driver",
            "null-co",
            "node-name",
            name,
            "read-only",
            node.isOn("read-only"),
            "read-zeroes",
            true,
            "size",
            bytes));
  }

  private static String drive(String value, List<OpenImage> images) throws IOException {
    Suboptions drive = parse(value, "file");
    Optional<String> file = drive.get("file").or(() -> drive.get("file.filename"));
    if (file.isEmpty()) {
      return value;
    }
    String format = drive.get("format").or(() -> drive.get("driver")).orElse("raw");
    long bytes =
        images.stream()
            .filter(image -> image.driver().equals(format))
            .filter(image -> image.file().equals(Path.of(file.get())))
            .mapToLong(OpenImage::bytes)
            .findFirst()
            .orElseThrow(() -> new IOException("the size of " + file.get() + " is unknown"));
    Map<String, String> seen = new LinkedHashMap<>(drive.values());
    seen.keySet().retainAll(SEEN);
    seen.put("driver", "null-co");
    seen.put("read-zeroes", "on");
    seen.put("size", Long.toString(bytes));
    return new Suboptions(seen, false).text();
  }

  /// The VNC server of later instances.
  Optional<VncServer> vnc() {
    return values(VncServer.OPTION).stream().map(AdoptedWords::vnc).findFirst();
  }

  /// The SPICE server of later instances.
  Optional<SpiceServer> spice() {
    return values(SpiceServer.OPTION).stream().map(SpiceServer::of).findFirst();
  }

  /// The same with another SPICE server in the place of theirs.
  AdoptedWords with(SpiceServer server) {
    return new AdoptedWords(
        with((option, value) -> option == ForeignOption.SPICE ? server.text() : value));
  }

  /// The sockets of later instances that somebody else may have, but for those of the screen.
  List<SocketChardev> sockets() {
    return values("-chardev").stream().flatMap(value -> socket(value).stream()).toList();
  }

  /// Those of them that are sockets of monitors, which only a guest that was borrowed has.
  List<SocketChardev> monitors() {
    Set<String> ids =
        values(ForeignOption.MON.word()).stream()
            .map(value -> parse(value, "chardev").get("chardev", ""))
            .collect(Collectors.toSet());
    return sockets().stream().filter(socket -> ids.contains(socket.id())).toList();
  }

  /// What was given to the process for its manager: all but HyperFresh's own control socket.
  List<String> given() {
    List<String> line = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      ForeignOption option = ForeignOption.of(words.get(i));
      boolean hasValue = option != null && option.hasValue() && i + 1 < words.size();
      int next = hasValue ? i + 2 : i + 1;
      if (!hasValue || !isControl(option, words.get(i + 1))) {
        line.addAll(words.subList(i, next));
      }
      i = next - 1;
    }
    return line;
  }

  private static boolean isControl(@Nullable ForeignOption option, String value) {
    return (option == ForeignOption.CHARDEV || option == ForeignOption.MON)
        && (value.startsWith("socket,id=" + ForeignCommandLine.OUR_QMP + ",")
            || value.startsWith("chardev=" + ForeignCommandLine.OUR_QMP + ","));
  }

  /// The user-mode networks of later instances.
  List<UserNetwork> networks() {
    return Stream.of(ForeignOption.NETDEV, ForeignOption.NIC, ForeignOption.NET)
        .flatMap(option -> values(option.word()).stream())
        .flatMap(value -> UserNetwork.of(value).stream())
        .toList();
  }

  private static Optional<SocketChardev> socket(String value) {
    return SocketChardev.of(parse(value, SocketChardev.BACKEND));
  }

  private static VncServer vnc(String value) {
    try {
      return VncServer.parse(value);
    } catch (Suboptions.MalformedException e) {
      throw new IllegalStateException("these words were made here", e);
    }
  }

  /// The same words for an instance that listens nowhere yet: another process may still have the
  /// guest's addresses.
  List<String> silent() {
    List<SocketChardev> monitors = monitors();
    return with((option, value) -> silent(option, value, monitors));
  }

  private static String silent(ForeignOption option, String value, List<SocketChardev> monitors) {
    return switch (option) {
      case VNC -> vnc(value).silent().text();
      case SPICE -> SpiceServer.of(value).silent().text();
      case NETDEV, NIC, NET ->
          UserNetwork.of(value).map(network -> network.silent().text()).orElse(value);
      case CHARDEV -> socket(value).map(socket -> silent(socket, monitors)).orElse(value);
      default -> value;
    };
  }

  private static String silent(SocketChardev socket, List<SocketChardev> monitors) {
    int index = monitors.indexOf(socket);
    return index < 0 ? socket.silent() : socket.passed(Descriptors.monitor(index));
  }

  /// What [#silent] leaves out, for an instance that is alone.
  ///
  /// @param user who looks at what the guest's QEMU has named
  List<TakenLater> takenLater(FileUser user) {
    List<TakenLater> all = new ArrayList<>();
    vnc()
        .filter(server -> !server.addresses().isEmpty())
        .ifPresent(server ->
            all.add(
                new TakenLater(
                    "Its VNC server does not listen as before, at " + server.where(),
                    TakenLater.FREE,
                    (qemu, pid) -> server.listen(qemu, pid, user))));
    networks().stream()
        .filter(network -> !network.ports().isEmpty())
        .forEach(network ->
            all.add(
                new TakenLater(
                    "Its user-mode network does not listen as before, at " + network.where(),
                    TakenLater.FREE,
                    (qemu, _) -> network.listen(qemu))));
    List<SocketChardev> channels = new ArrayList<>(sockets());
    channels.removeAll(monitors());
    for (SocketChardev socket : channels) {
      all.add(
          new TakenLater(
              socket.serves()
                  ? "It does not listen at its socket " + socket.named()
                  : "It is not connected to " + socket.named(),
              "",
              (qemu, pid) -> socket.take(qemu, pid, user)));
    }
    return all;
  }

  /// What its taps ask of the kernel's vhost; empty when none does.
  Optional<VhostNet> vhost() {
    List<VhostNet> all =
        values(ForeignOption.NETDEV.word()).stream()
            .map(value -> parse(value, "type"))
            .flatMap(tap -> VhostNet.of(tap).stream())
            .toList();
    return all.isEmpty()
        ? Optional.empty()
        : Optional.of(new VhostNet(all.stream().anyMatch(VhostNet::forced)));
  }

  /// The same for a host without vhost: a tap does without where it does not insist.
  AdoptedWords withoutVhost() {
    return new AdoptedWords(
        with((option, value) -> {
          if (option != ForeignOption.NETDEV) {
            return value;
          }
          Suboptions tap = parse(value, "type");
          return VhostNet.of(tap).filter(vhost -> !vhost.forced()).isPresent()
              ? VhostNet.without(tap).text()
              : value;
        }));
  }

  /// As [#silent], for an instance that boots the guest, which then finds what its processor has:
  /// the host may have lost some of that, by new microcode for example.
  List<String> booting() {
    List<SocketChardev> monitors = monitors();
    return with((option, value) ->
        option == ForeignOption.CPU && isPinned(value)
            ? value.replace(",enforce=on", "")
            : silent(option, value, monitors));
  }

  /// The same words with those memories filled at the start whose huge pages the host might not
  /// have where they are bound to.
  ///
  /// @param parts of what the memories are made
  /// @param threads how many fill one
  AdoptedWords filled(List<MemoryPart> parts, int threads) {
    return new AdoptedWords(
        with((option, value) ->
            option == ForeignOption.OBJECT && isBoundHuge(value, parts)
                ? value + CommandLine.filled(threads)
                : value));
  }

  /// QEMU does not fill what it was told not to reserve.
  private static boolean isBoundHuge(String value, List<MemoryPart> parts) {
    Suboptions object = parse(value, "qom-type");
    return object.get("policy").isPresent()
        && (object.get("reserve").isEmpty() || object.isOn("reserve"))
        && IntStream.range(0, parts.size())
            .filter(i -> parts.get(i).hugePageBytes().isPresent())
            .mapToObj(i -> Descriptors.own(Descriptors.memory(i)))
            .anyMatch(object.get("mem-path", "")::equals);
  }

  private List<String> with(BiFunction<ForeignOption, String, String> change) {
    List<String> line = new ArrayList<>(words);
    for (int i = 0; i + 1 < line.size(); i++) {
      ForeignOption option = ForeignOption.of(line.get(i));
      if (option != null && option.hasValue()) {
        i++;
        line.set(i, change.apply(option, line.get(i)));
      }
    }
    return line;
  }

  /// The same words with cards that are connected to nothing in the place of those with taps.
  static List<String> unconnected(List<String> words) {
    List<String> line = new ArrayList<>(words);
    for (int i = 0; i + 1 < line.size(); i++) {
      if (line.get(i).equals("-netdev")) {
        Suboptions netdev = parse(line.get(i + 1), "type");
        if (netdev.get("type", "").equals("tap")) {
          String id = netdev.get("id", "");
          line.set(i + 1, "hubport,id=" + id.replace(",", ",,") + ",hubid=" + i);
        }
      }
    }
    return line;
  }

  /// Whether they say all that the guest's processor has.
  boolean pinProcessor() {
    return values("-cpu").stream().anyMatch(AdoptedWords::isPinned);
  }

  private static boolean isPinned(String cpu) {
    return cpu.startsWith("base,");
  }

  private int virtioDrives() {
    return (int)
        values("-drive").stream()
            .filter(value -> parse(value, "file").get("if", "").equals("virtio"))
            .count();
  }

  private List<String> values(String wanted) {
    List<String> values = new ArrayList<>();
    for (int i = 0; i + 1 < words.size(); i++) {
      ForeignOption option = ForeignOption.of(words.get(i));
      if (option != null && option.hasValue()) {
        i++;
        if (option.word().equals(wanted)) {
          values.add(words.get(i));
        }
      }
    }
    return values;
  }

  private static Suboptions parse(String value, String implied) {
    try {
      return Suboptions.parse(value, implied);
    } catch (Suboptions.MalformedException e) {
      throw new IllegalStateException("these words were made here", e);
    }
  }
}
