package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// The network of a foreign command line: taps, whose place ports of ours take, and user-mode
/// networks, which are made anew.
final class ForeignNetwork implements ForeignSubject {
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,6}");
  private static final Pattern COUNT = Pattern.compile("[1-9][0-9]{0,3}");

  private static final Set<String> TAP_KEYS =
      Set.of(
          "type",
          "id",
          "ifname",
          "fd",
          "fds",
          "script",
          "downscript",
          "helper",
          "br",
          "vhost",
          "vhostfd",
          "vhostfds",
          "vhostforce",
          "vnet_hdr",
          "sndbuf",
          "queues",
          "poll-us");

  private static final Set<String> USER_KEYS =
      Set.of(
          "type",
          "id",
          "net",
          "ip",
          "host",
          "restrict",
          "hostname",
          "dhcpstart",
          "dns",
          "dnssearch",
          "domainname",
          "tftp",
          "tftp-server-name",
          "bootfile",
          "smbserver",
          "ipv4",
          "ipv6",
          "ipv6-net",
          "ipv6-prefix",
          "ipv6-prefixlen",
          "ipv6-host",
          "ipv6-dns");

  /// Of a card that an option makes beside its network.
  private static final Set<String> CARD_KEYS =
      Set.of("type", "id", "netdev", "model", "mac", "macaddr", "addr", "vectors", "name");

  private static final String TAP = "use a tap in a bridge";
  private static final String PEER = "its other end is a process that knows only this one";

  /// Why other networks cannot be taken over.
  private static final Map<String, String> OTHERS =
      Map.ofEntries(
          Map.entry("socket", PEER),
          Map.entry("stream", PEER),
          Map.entry("dgram", PEER),
          Map.entry(
              "vhost-user", "its queues are in another process, which serves one QEMU at a time"),
          Map.entry("vhost-vdpa", "its queues are in a device that serves one QEMU at a time"),
          Map.entry("vde", "its switch has given this process a port of its own"),
          Map.entry("l2tpv3", "two processes cannot have one end of a tunnel"),
          Map.entry("passt", "its passt is another process, which serves one QEMU"),
          Map.entry("af-xdp", "two processes cannot take the packets of one card of the host"),
          Map.entry("netmap", "two processes cannot take the packets of one card of the host"));

  /// A network card and the end of it on the host.
  ///
  /// @param descriptors of a tap's queues in the process, when it was passed them
  /// @param tap the name of the tap, when it was told one
  /// @param queues how many it has
  /// @param leavesBridge whether a script may take the tap out of its bridge when the process ends
  record Card(
      String id,
      List<Integer> descriptors,
      Optional<String> tap,
      int queues,
      boolean leavesBridge,
      String mac) {}

  /// A tap as the line has it.
  private record Given(Suboptions tap, List<Integer> descriptors, int queues) {
    boolean isPassed() {
      return !descriptors.isEmpty();
    }

    /// QEMU has scripts of its own where the line does not say that there are none.
    boolean runs(String script) {
      return !isPassed()
          && !tap.get("type", "").equals("bridge")
          && tap.get("helper").isEmpty()
          && !Set.of("", "no").contains(tap.get(script, script));
    }
  }

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final LiveMachine live;
  private final Map<String, Given> taps = new LinkedHashMap<>();
  private int queues;
  private int users;
  private final List<HostPort> hostPorts = new ArrayList<>();
  private final Set<Path> served = new LinkedHashSet<>();

  ForeignNetwork(ForeignPieces pieces, ForeignFolders folders, LiveMachine live) {
    this.pieces = pieces;
    this.folders = folders;
    this.live = live;
  }

  /// Those on taps, in the order in which later instances find their ports.
  ///
  /// @param macs of the cards, by the network backend that they name
  List<Card> cards(Map<String, String> macs) {
    List<Card> cards = new ArrayList<>();
    taps.forEach((id, given) ->
        cards.add(
            new Card(
                id,
                given.descriptors(),
                given.tap().get("ifname"),
                given.queues(),
                given.runs("downscript"),
                macs.getOrDefault(id, ""))));
    return cards;
  }

  /// The folders that user-mode networks give files out of.
  Set<Path> served() {
    return served;
  }

  /// Whether there is a user-mode network, be it QEMU's default.
  boolean hasUserNetwork() {
    return users > 0 || isDefault();
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions network = verdict.pairs(piece, "type");
    String type = network.get("type", "");
    boolean netdev = piece.option() == ForeignOption.NETDEV;
    return switch (type) {
      case "user" -> user(piece, withModel(network, verdict));
      case "tap", "bridge" ->
          netdev
              ? tap(network, verdict)
              : verdict.refuse(
                  "a tap can be taken over only from -netdev", "use -netdev and -device");
      case "hubport" ->
          verdict.refuse(
              "a hub that joins several networks cannot be taken over",
              "name the card's network with netdev=");
      case "none" -> netdev ? other(type, verdict) : verdict.keep(piece);
      case "nic" ->
          piece.option() == ForeignOption.NET
              ? card(piece, network, verdict)
              : other(type, verdict);
      default -> other(type, verdict);
    };
  }

  private static ForeignVerdict other(String type, ForeignVerdict verdict) {
    // What cannot be read has its reason.
    return verdict.against().isEmpty()
        ? verdict.refuse(OTHERS.getOrDefault(type, "this kind of network is not known here"), TAP)
        : verdict;
  }

  private static ForeignVerdict card(
      ForeignPiece piece, Suboptions network, ForeignVerdict verdict) {
    verdict.refuseUnknown(network.values().keySet(), CARD_KEYS);
    return withModel(network, verdict).keep(piece);
  }

  /// A card that an option makes is one that moves.
  private static ForeignVerdict withModel(Suboptions network, ForeignVerdict verdict) {
    String model = network.get("model", "virtio");
    return model.equals("virtio") || ForeignDevices.DEVICES.contains(MachineIdentity.plain(model))
        ? verdict
        : verdict.refuse("this model of a card is not one that is known to move");
  }

  // ---- taps ----

  private ForeignVerdict tap(Suboptions netdev, ForeignVerdict verdict) {
    verdict.refuseUnknown(netdev.values().keySet(), TAP_KEYS);
    Optional<String> passed = netdev.get("fds").or(() -> netdev.get("fd"));
    List<String> numbers = passed.map(fds -> Arrays.asList(fds.split(":", -1))).orElse(List.of());
    if (!numbers.stream().allMatch(number -> NUMBER.matcher(number).matches())) {
      return verdict.refuse("its descriptor is not a number");
    }
    String count = netdev.get("queues", Integer.toString(Math.max(1, numbers.size())));
    if (!COUNT.matcher(count).matches()
        || (!numbers.isEmpty() && numbers.size() != Integer.parseInt(count))) {
      return verdict.refuse("how many queues it has cannot be understood");
    }
    Given given =
        new Given(netdev, numbers.stream().map(Integer::valueOf).toList(), Integer.parseInt(count));
    if (queues + given.queues() > Descriptors.MOST_QUEUES) {
      return verdict.refuse(
          "cards with more than "
              + Descriptors.MOST_QUEUES
              + " queues together cannot be taken over",
          "give them fewer queues");
    }
    remark(given, verdict);
    String id = netdev.get("id", "");
    verdict.words("-netdev", ours(id, given));
    queues += given.queues();
    return taps.put(id, given) == null ? verdict : verdict.refuse("its name is used twice");
  }

  private void remark(Given given, ForeignVerdict verdict) {
    boolean staysForSure = given.queues() > 1 && (given.isPassed() || !given.runs("downscript"));
    if (!live.isSeen() && !staysForSure) {
      verdict.remark(
          (given.queues() > 1 ? "Another" : "If its tap has one queue, another")
              + " tap in the same bridge takes its place; one without a bridge cannot be taken"
              + " over."
              + (given.isPassed() ? " If it is a macvtap, it stays." : ""));
    }
    if (!live.isSeen() && given.isPassed() && given.queues() > 1) {
      verdict.remark("If these are queues of a macvtap, they cannot be taken over.");
    }
    if (given.runs("script") || given.runs("downscript")) {
      verdict.remark(
          "Its scripts are not run for later instances; the first process runs its downscript when"
              + " it ends.");
    }
  }

  /// A port of HyperFresh, whose queues an instance is passed.
  private String ours(String id, Given given) {
    List<Integer> numbers =
        IntStream.range(queues, queues + given.queues()).mapToObj(Descriptors::queue).toList();
    Map<String, String> pairs = new LinkedHashMap<>();
    pairs.put("id", id);
    if (numbers.size() == 1) {
      pairs.put("fd", numbers.getFirst().toString());
    } else {
      pairs.put("fds", numbers.stream().map(String::valueOf).collect(Collectors.joining(":")));
    }
    pairs.putAll(VhostNet.pairs(given.tap()));
    return "tap," + Suboptions.text(pairs.entrySet());
  }

  // ---- user-mode networks ----

  private ForeignVerdict user(ForeignPiece piece, ForeignVerdict verdict) {
    users++;
    UserNetwork network;
    try {
      network = UserNetwork.parse(piece.value());
    } catch (Suboptions.MalformedException e) {
      return verdict.refuse(String.valueOf(e.getMessage()));
    }
    hostPorts.addAll(network.ports());
    Set<String> keys = new TreeSet<>(network.keys());
    keys.removeAll(USER_KEYS);
    if (piece.option() != ForeignOption.NETDEV) {
      keys.removeAll(CARD_KEYS);
    }
    if (keys.remove("smb")) {
      verdict.refuse("it starts a file server of its own (smbd)", "leave out smb=");
    }
    if (keys.remove("guestfwd")) {
      verdict.refuse(
          "it hands connections of the guest to a command or a device of this process",
          "leave out guestfwd=");
    }
    verdict.refuseUnknown(keys, Set.of());
    UserNetwork ours = withFolder(named(network, piece), verdict);
    if (ours.id().isEmpty()) {
      verdict.refuse("it has no name that a monitor would understand");
    }
    verdict.remark(
        "With each replacement, connections through its user-mode network end; new ones work."
            + (ours.ports().isEmpty()
                ? ""
                : " Where it listens on this host ("
                    + ours.where()
                    + "), the next process does when the old one has ended."));
    return verdict.words(piece.option().word(), ours.text());
  }

  /// The monitor needs a name to know it by.
  private UserNetwork named(UserNetwork network, ForeignPiece piece) {
    return network.id().isPresent() || piece.option() == ForeignOption.NETDEV
        ? network
        : network.with("id", "hf-user" + users);
  }

  private UserNetwork withFolder(UserNetwork network, ForeignVerdict verdict) {
    Optional<String> given = network.get("tftp").filter(folder -> !folder.isEmpty());
    if (given.isEmpty()) {
      return network;
    }
    Optional<Path> folder = folders.path(given.get());
    if (folder.isEmpty()) {
      verdict.refuse("the path of its folder cannot be understood");
      return network;
    }
    served.add(folder.get());
    return network.with("tftp", folder.get().toString());
  }

  @Override
  public ForeignVerdict finish() {
    Set<String> more = new TreeSet<>(live.hostPorts());
    more.removeIf(open -> hostPorts.stream().anyMatch(port -> port.is(open)));
    Set<String> less =
        hostPorts.stream()
            .filter(port -> live.hostPorts().stream().noneMatch(port::is))
            .map(HostPort::rule)
            .collect(Collectors.toCollection(TreeSet::new));
    if (live.isSeen() && !(more.isEmpty() && less.isEmpty())) {
      ForeignVerdict verdict = ForeignVerdict.ofLine();
      verdict.speaksAgainst(
          "network",
          "Its ports of this host are not those of its command line"
              + (more.isEmpty() ? "" : "; opened since: " + String.join(", ", more))
              + (less.isEmpty() ? "" : "; closed since: " + String.join(", ", less)),
          "undo that");
      return verdict;
    }
    return isDefault()
        ? ForeignVerdict.of("network")
            .remark(
                "It has QEMU's default network card on a user-mode network, through which"
                    + " connections end with each replacement; new ones work.")
        : ForeignVerdict.ofLine();
  }

  /// What a file that is not read says stays open.
  private boolean isDefault() {
    return !pieces.has(
        ForeignOption.NODEFAULTS,
        ForeignOption.NIC,
        ForeignOption.NET,
        ForeignOption.NETDEV,
        ForeignOption.READCONFIG);
  }
}
