package dev.hyperfresh.qemu;

import dev.hyperfresh.qemu.PluggedDevices.Plugged;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// What stands behind the devices of a foreign command line beside their disks: network backends,
/// character devices and objects that are gone leave the line, and those of devices that were
/// plugged are added.
final class PluggedBackends {
  /// HMP `info network`: a client of a network, below a card or by itself.
  private static final Pattern CLIENT =
      Pattern.compile("(?: \\\\ )?(\\S{1,200}): index=[0-9]{1,4},type=([a-z0-9-]{1,20}),?(.*)");

  /// HMP `info usernet` before the connections of each network.
  private static final Pattern USER_NETWORK =
      Pattern.compile("(?:Hub -?[0-9]+ )?\\(?(.{1,200}?)\\)?:");

  private static final Pattern DESCRIPTOR = Pattern.compile("fd=([0-9]{1,6})");

  /// The network that QEMU has when none is said, whose mask it does not tell.
  private static final String USUAL_NETWORK = "10.0.2.0";

  private static final Pattern UNIX_SOCKET =
      Pattern.compile("(?:disconnected:)?unix:(.{1,107}?)(,server(?:=on)?)?(?: <-> .*)?");

  private static final Pattern TCP_SOCKET =
      Pattern.compile(
          "(?:disconnected:)?tcp:(\\[?[0-9a-zA-Z.:]{1,64}]?):([0-9]{1,5})(,server(?:=on)?)?"
              + "(?: <-> .*)?");

  private static final Set<String> WITHOUT_MORE = Set.of("null", "ringbuf", "vc");

  private static final Set<String> SAID_OF_TAP =
      Set.of("ifname", "script", "downscript", "helper", "br");

  private static final String TAP = "tap";
  private static final String USER = "user";

  /// What an object of each type may be told, and what it has otherwise.
  private static final Map<String, Map<String, String>> SETTINGS =
      Map.of(
          "iothread",
          Map.of(
              "poll-max-ns", "32768", "poll-grow", "0", "poll-shrink", "0", "aio-max-batch", "0"),
          "rng-random",
          Map.of("filename", "/dev/urandom"),
          "rng-builtin",
          Map.of(),
          "throttle-group",
          Map.of());

  /// A client of a network.
  ///
  /// @param says what QEMU tells of each of its queues
  private record Client(String type, List<String> says) {}

  private final ChangedLine line;
  private final MachineIdentity.Respondent qemu;
  private final Map<String, String> objects = new TreeMap<>();
  private final Map<String, String> chardevs = new HashMap<>();
  private Optional<Map<String, Client>> networks = Optional.empty();
  private final Set<String> made = new LinkedHashSet<>();

  PluggedBackends(ChangedLine line, MachineIdentity.Respondent qemu) {
    this.line = line;
    this.qemu = qemu;
  }

  /// Finds out what is still there.
  void match() {
    MachineIdentity.children(qemu, "/objects")
        .forEach(object -> objects.put(object.name(), object.type()));
    qemu.execute("query-chardev", Map.of())
        .forEach(chardev ->
            chardevs.put(
                chardev.path("label").asString(""), chardev.path("filename").asString("")));
    networks = networks(MachineIdentity.monitor(qemu, "info network"));
    keepIf(ForeignOption.OBJECT, "qom-type", objects.keySet());
    keepIf(ForeignOption.CHARDEV, "backend", chardevs.keySet());
    networks.ifPresent(this::keepNetworks);
  }

  private void keepIf(ForeignOption option, String implied, Set<String> there) {
    for (ChangedLine.Item item : line.of(option)) {
      Optional<String> id = item.pairs(implied).get("id");
      if (id.filter(name -> !there.contains(name)).isPresent()) {
        line.remove(item);
      } else {
        id.ifPresent(name -> made.add(option.word() + name));
      }
    }
  }

  private void keepNetworks(Map<String, Client> there) {
    for (ChangedLine.Item item : line.of(ForeignOption.NETDEV)) {
      Suboptions netdev = item.pairs("type");
      String id = netdev.get("id", "");
      boolean isKnown = Set.of(TAP, "bridge", USER).contains(netdev.get("type", ""));
      Optional<Client> now = Optional.ofNullable(there.get(id));
      if (isKnown && now.filter(client -> isSame(netdev, client)).isEmpty()) {
        line.remove(item);
      } else {
        made.add(ForeignOption.NETDEV.word() + id);
      }
    }
  }

  private static boolean isSame(Suboptions netdev, Client now) {
    boolean isUser = netdev.get("type", "").equals(USER);
    if (!now.type().equals(isUser ? USER : TAP)) {
      return false;
    }
    String says = now.says().getFirst();
    Matcher descriptor = DESCRIPTOR.matcher(says);
    Optional<String> passed = netdev.get("fd").or(() -> netdev.get("fds"));
    if (descriptor.find() && passed.isPresent()) {
      return passed.get().split(":", 2)[0].equals(descriptor.group(1));
    }
    return netdev.get("ifname").isEmpty()
        || !says.startsWith("ifname=")
        || says.startsWith("ifname=" + netdev.get("ifname", "") + ",");
  }

  /// By name; empty where not all is understood, such as with a hub, which hides which is which.
  private static Optional<Map<String, Client>> networks(String table) {
    if (!table.lines().allMatch(row -> row.isBlank() || CLIENT.matcher(row).matches())) {
      return Optional.empty();
    }
    Map<String, List<Matcher>> found =
        table
            .lines()
            .map(CLIENT::matcher)
            .filter(Matcher::matches)
            .filter(client -> !client.group(2).equals("nic"))
            .collect(
                Collectors.groupingBy(
                    client -> client.group(1), LinkedHashMap::new, Collectors.toList()));
    Map<String, Client> clients = new HashMap<>();
    found.forEach((name, queues) ->
        clients.put(
            name,
            new Client(
                queues.getFirst().group(2),
                queues.stream().map(queue -> queue.group(3)).toList())));
    return Optional.of(clients);
  }

  /// Has the line make what a device that was plugged uses.
  void need(Plugged plugged) {
    plugged.objects().stream().filter(id -> isNew(ForeignOption.OBJECT, id)).forEach(this::object);
    Optional.of(plugged.get("chardev"))
        .filter(id -> !id.isEmpty() && isNew(ForeignOption.CHARDEV, id))
        .ifPresent(this::chardev);
    Optional.of(plugged.get("netdev"))
        .filter(id -> !id.isEmpty() && isNew(ForeignOption.NETDEV, id))
        .ifPresent(id -> network(id, plugged.device()));
  }

  private boolean isNew(ForeignOption option, String id) {
    return made.add(option.word() + id);
  }

  // ---- objects ----

  private void object(String id) {
    String type = objects.getOrDefault(id, "");
    Map<String, String> settings = SETTINGS.getOrDefault(type, Map.of());
    Map<String, String> pairs = new LinkedHashMap<>();
    pairs.put("qom-type", type);
    pairs.put("id", id);
    new TreeMap<>(settings)
        .forEach((key, usual) ->
            MachineIdentity.property(qemu, "/objects/" + id, key)
                .filter(is -> !is.isEmpty() && !is.equals(usual))
                .ifPresent(is -> pairs.put(key, is)));
    if (type.equals("throttle-group")) {
      limits(id).forEach(pairs::put);
    }
    line.add(ForeignOption.OBJECT, Suboptions.text(pairs.entrySet()));
  }

  private Map<String, String> limits(String id) {
    Map<String, String> limits = new TreeMap<>();
    qemu.asked("qom-get", Map.of("path", "/objects/" + id, "property", "limits"))
        .ifPresent(all ->
            all.forEachEntry((key, is) -> {
              boolean isUsual = is.asLong(0) == (key.endsWith("-length") ? 1 : 0);
              if (is.isIntegralNumber() && !isUsual) {
                limits.put("limits." + key, is.asString(""));
              }
            }));
    return limits;
  }

  // ---- character devices ----

  private void chardev(String id) {
    String says = chardevs.getOrDefault(id, "");
    Matcher unix = UNIX_SOCKET.matcher(says);
    Matcher tcp = TCP_SOCKET.matcher(says);
    Map<String, String> pairs = new LinkedHashMap<>();
    pairs.put("id", id);
    if (unix.matches()) {
      pairs.put("path", unix.group(1));
      serves(unix.group(2) != null, pairs);
      add("socket", pairs);
    } else if (tcp.matches()) {
      pairs.put("host", tcp.group(1).replaceAll("[\\[\\]]", ""));
      pairs.put("port", tcp.group(2));
      serves(tcp.group(3) != null, pairs);
      add("socket", pairs);
    } else {
      String backend = says.split(":", 2)[0];
      boolean isKnown = WITHOUT_MORE.contains(backend) || backend.equals("pty");
      if (!isKnown) {
        line.refuse(
            "QEMU does not say enough of the character device "
                + id
                + ", which was plugged, to make it again");
      }
      add(isKnown ? backend : "null", pairs);
    }
  }

  private static void serves(boolean isServer, Map<String, String> pairs) {
    if (isServer) {
      pairs.put("server", "on");
      pairs.put("wait", "off");
    }
  }

  private void add(String backend, Map<String, String> pairs) {
    line.add(ForeignOption.CHARDEV, backend + "," + Suboptions.text(pairs.entrySet()));
  }

  // ---- networks ----

  private void network(String id, LiveDevice card) {
    Optional<Client> client = networks.flatMap(all -> Optional.ofNullable(all.get(id)));
    if (client.isEmpty()) {
      line.refuse("QEMU does not say what the network " + id + " is, which was plugged");
      return;
    }
    List<Map.Entry<String, String>> pairs = new ArrayList<>();
    pairs.add(Map.entry("type", client.get().type()));
    pairs.add(Map.entry("id", id));
    switch (client.get().type()) {
      case TAP -> pairs.addAll(tap(client.get(), card).entrySet());
      case USER -> pairs.addAll(user(id, client.get()));
      // Refused like one of a command line.
      default -> {}
    }
    line.add(ForeignOption.NETDEV, Suboptions.text(pairs));
  }

  private Map<String, String> tap(Client tap, LiveDevice card) {
    Map<String, String> pairs = new LinkedHashMap<>();
    List<String> passed =
        tap.says().stream()
            .map(DESCRIPTOR::matcher)
            .filter(Matcher::lookingAt)
            .map(queue -> queue.group(1))
            .toList();
    if (passed.isEmpty()) {
      for (String setting : tap.says().getFirst().split(",")) {
        String[] pair = setting.split("=", 2);
        if (pair.length == 2 && SAID_OF_TAP.contains(pair[0])) {
          pairs.put(pair[0], pair[1]);
        }
      }
      if (tap.says().size() > 1) {
        pairs.put("queues", Integer.toString(tap.says().size()));
      }
    } else {
      pairs.put(passed.size() == 1 ? "fd" : "fds", String.join(":", passed));
    }
    if (hasVhost(card)) {
      pairs.put("vhost", "on");
    }
    return pairs;
  }

  private boolean hasVhost(LiveDevice card) {
    return qemu.asked("x-query-virtio-status", Map.of("path", card.path() + "/virtio-backend"))
        .filter(status -> status.path("vhost-started").asBoolean(false))
        .isPresent();
  }

  private List<Map.Entry<String, String>> user(String id, Client user) {
    List<Map.Entry<String, String>> pairs = new ArrayList<>();
    String says = user.says().getFirst() + ",";
    if (!says.contains("net=" + USUAL_NETWORK + ",")) {
      line.refuse(
          "QEMU does not say how large the user-mode network " + id + " is, which was plugged");
    }
    if (says.contains("restrict=on,")) {
      pairs.add(Map.entry("restrict", "on"));
    }
    StringBuilder ports = new StringBuilder();
    String at = "";
    for (String row : MachineIdentity.monitor(qemu, "info usernet").lines().toList()) {
      Matcher network = USER_NETWORK.matcher(row.strip());
      if (network.matches()) {
        at = network.group(1);
      } else if (at.equals(id)) {
        ports.append(row).append('\n');
      }
    }
    HostPort.open(ports.toString()).forEach(rule -> pairs.add(Map.entry("hostfwd", rule)));
    line.remark(
        "QEMU does not tell all of the user-mode network "
            + id
            + ", which was plugged, so its other settings have their defaults with later processes");
    return pairs;
  }
}
