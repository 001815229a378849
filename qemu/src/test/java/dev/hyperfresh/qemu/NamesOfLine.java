package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/// The names that a command line gives, and those by which its pieces mean each other.
final class NamesOfLine {
  /// Which kind of thing a key of a device names.
  private static final Map<String, String> KEYS =
      Map.of(
          "drive", "block",
          "netdev", "network",
          "chardev", "chardev",
          "iothread", "object",
          "rng", "object",
          "memdev", "object",
          "tpmdev", "tpm",
          "audiodev", "audio",
          "fsdev", "folder");

  private final Set<String> given = new HashSet<>();
  private final Set<String> twice = new TreeSet<>();
  private final Set<String> used = new TreeSet<>();
  private final List<String> drivers = new ArrayList<>();

  private NamesOfLine() {}

  static NamesOfLine of(List<String> line) {
    NamesOfLine names = new NamesOfLine();
    ForeignPieces.of(line).all().forEach(names::read);
    return names;
  }

  /// Those that are used and not given.
  Set<String> missing() {
    Set<String> missing = new TreeSet<>(used);
    missing.removeAll(given);
    return missing;
  }

  /// Those that two pieces give.
  Set<String> twice() {
    return twice;
  }

  /// The devices, in their order.
  List<String> drivers() {
    return drivers;
  }

  private void read(ForeignPiece piece) {
    switch (piece.option()) {
      case DEVICE -> device(piece.pairs("driver"));
      case CHARDEV -> give("chardev", piece.pairs("backend"), "id");
      case NETDEV -> {
        give("network", piece.pairs("type"), "id");
        use("chardev", piece.pairs("type"), "chardev");
      }
      case DRIVE -> {
        give("block", piece.pairs("file"), "id");
        give("block", piece.pairs("file"), "node-name");
      }
      case BLOCKDEV -> node(piece.pairs("driver"));
      case OBJECT -> give("object", piece.pairs("qom-type"), "id");
      case TPMDEV -> {
        give("tpm", piece.pairs("type"), "id");
        use("chardev", piece.pairs("type"), "chardev");
      }
      case AUDIODEV -> give("audio", piece.pairs("driver"), "id");
      case FSDEV -> give("folder", piece.pairs("fsdriver"), "id");
      case NUMA -> use("object", piece.pairs("type"), "memdev");
      case MON -> use("chardev", piece.pairs("chardev"), "chardev");
      case MACHINE, M_MACHINE -> {
        use("object", piece.pairs("type"), "memory-backend");
        use("block", piece.pairs("type"), "pflash0");
        use("block", piece.pairs("type"), "pflash1");
      }
      case SERIAL, QMP, QMP_PRETTY, MONITOR -> {
        if (piece.value().startsWith("chardev:")) {
          used.add("chardev " + piece.value().substring("chardev:".length()));
        }
      }
      default -> {}
    }
  }

  private void device(Suboptions device) {
    drivers.add(device.get("driver", ""));
    give("device", device, "id");
    KEYS.forEach((key, kind) -> use(kind, device, key));
  }

  /// A node may hold other ones, or name them.
  private void node(Suboptions node) {
    node.values()
        .forEach((key, value) -> {
          String last = key.substring(key.lastIndexOf('.') + 1);
          switch (last) {
            case "node-name" -> give("block", value);
            case "file", "backing" -> use("block", value);
            case "throttle-group" -> use("object", value);
            default -> {}
          }
        });
  }

  private void give(String kind, Suboptions pairs, String key) {
    pairs.get(key).ifPresent(name -> give(kind, name));
  }

  private void give(String kind, String name) {
    if (!given.add(kind + " " + name)) {
      twice.add(kind + " " + name);
    }
  }

  private void use(String kind, Suboptions pairs, String key) {
    pairs.get(key).ifPresent(name -> use(kind, name));
  }

  private void use(String kind, String name) {
    if (!name.isEmpty()) {
      used.add(kind + " " + name);
    }
  }
}
