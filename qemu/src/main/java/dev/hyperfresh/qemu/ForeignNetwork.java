package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/// The network of a foreign command line: taps, whose place ports of ours take.
final class ForeignNetwork implements ForeignSubject {
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,6}");

  private static final Set<String> TAP_KEYS =
      Set.of(
          "type",
          "id",
          "ifname",
          "fd",
          "script",
          "downscript",
          "vhost",
          "vnet_hdr",
          "sndbuf",
          "queues",
          "poll-us");

  /// A network card and the end of it on the host.
  ///
  /// @param descriptor of a tap in the process, when it was passed one
  /// @param tap the name of the tap, when it was told one
  record Card(String id, Optional<Integer> descriptor, Optional<String> tap, String mac) {}

  private final ForeignPieces pieces;
  private final LiveMachine live;
  private final Map<String, Suboptions> taps = new LinkedHashMap<>();

  ForeignNetwork(ForeignPieces pieces, LiveMachine live) {
    this.pieces = pieces;
    this.live = live;
  }

  /// In the order in which later instances find their ports.
  ///
  /// @param macs of the cards, by the network backend that they name
  List<Card> cards(Map<String, String> macs) {
    List<Card> cards = new ArrayList<>();
    taps.forEach((id, tap) ->
        cards.add(
            new Card(
                id,
                tap.get("fd").map(Integer::valueOf),
                tap.get("ifname"),
                macs.getOrDefault(id, ""))));
    return cards;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return piece.option() == ForeignOption.NETDEV
        ? backend(piece)
        : ForeignVerdict.only(piece, Set.of("none"));
  }

  private ForeignVerdict backend(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions netdev = verdict.pairs(piece, "type");
    if (!netdev.get("type", "").equals("tap")) {
      return verdict.refuse("only taps can be taken over");
    }
    verdict.refuseUnknown(netdev.values().keySet(), TAP_KEYS);
    if (netdev.isOn("vhost")) {
      verdict.refuse(
          "the kernel's vhost holds the card's queues", "start the guest with vhost=off");
    }
    if (!netdev.get("queues", "1").equals("1")) {
      verdict.refuse("a card with several queues cannot be taken over yet");
    }
    if (netdev.get("fd").filter(fd -> !NUMBER.matcher(fd).matches()).isPresent()) {
      return verdict.refuse("its descriptor is not a number");
    }
    if (!live.isSeen()) {
      verdict.remark(
          "If its tap has one queue, another tap in the same bridge takes its place; one without a"
              + " bridge cannot be taken over.");
    }
    String id = netdev.get("id", "");
    verdict.words(
        "-netdev",
        "tap,id=" + id.replace(",", ",,") + ",fd=" + (Descriptors.FIRST_NIC + taps.size()));
    return taps.put(id, netdev) == null ? verdict : verdict.refuse("its name is used twice");
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    boolean given =
        pieces.has(
            ForeignOption.NODEFAULTS, ForeignOption.NIC, ForeignOption.NET, ForeignOption.NETDEV);
    // What a file that is not read says stays open.
    if (!given && !pieces.has(ForeignOption.READCONFIG)) {
      verdict.speaksAgainst(
          "network", "It has QEMU's default network card, which cannot move", "use -nic none");
    }
    return verdict;
  }
}
