package dev.hyperfresh.qemu;

import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// The guest's memory on a foreign command line: its backend, who uses it, and what is placed on
/// which node. The backend of later instances is the memory that was taken over.
final class ForeignMemory implements ForeignSubject {
  private static final String MEMFD = "memory-backend-memfd";
  private static final String FILE = "memory-backend-file";
  private static final String PRIVATE = "memory-backend-ram";

  private static final String MEMFD_COPIED =
      "QEMU from 8.1 on does not leave a memfd out of a migration";

  private static final String NO_BACKEND =
      "Its memory is private to the process, so no other one can map it";

  /// Those that change nothing for memory whose pages are there already.
  private static final Set<String> KEYS =
      Set.of(
          "qom-type",
          "id",
          "size",
          "share",
          "mem-path",
          "seal",
          "hugetlb",
          "prealloc",
          "prealloc-threads",
          "merge",
          "dump",
          "reserve",
          "discard-data",
          "pmem",
          "readonly",
          "host-nodes",
          "policy",
          "x-use-canonical-path-for-ramblock-id");

  /// Those that later instances get.
  private static final List<String> KEPT = List.of("dump", "x-use-canonical-path-for-ramblock-id");

  private final ForeignPieces pieces;
  private final LiveMachine live;
  private final Set<String> backends = new LinkedHashSet<>();

  /// Those behind devices that cannot move, which are refused for a reason of their own.
  private final Set<String> elsewhere;

  private boolean needsCopy;

  /// Whether a node has memory without a backend, which is refused by name.
  private boolean bySize;

  ForeignMemory(ForeignPieces pieces, LiveMachine live) {
    this.pieces = pieces;
    this.live = live;
    this.elsewhere =
        pieces
            .of(ForeignOption.DEVICE)
            .map(piece -> piece.pairs("driver"))
            .filter(device -> !ForeignDevices.isKnown(device))
            .flatMap(device -> device.get("memdev").stream())
            .collect(Collectors.toSet());
  }

  /// Whether another process can have the memory only if it is copied.
  boolean needsCopy() {
    return needsCopy;
  }

  /// Whether an object is memory.
  static boolean isBackend(ForeignPiece object) {
    return Set.of(MEMFD, FILE, PRIVATE).contains(object.pairs("qom-type").get("qom-type", ""));
  }

  private static boolean isShared(Suboptions object) {
    return switch (object.get("qom-type", "")) {
      case FILE -> object.isOn("share");
      case MEMFD -> object.isOn("share") || object.get("share").isEmpty();
      default -> false;
    };
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    if (piece.option() == ForeignOption.NUMA) {
      return node(piece);
    }
    Suboptions object = piece.pairs("qom-type");
    String id = object.get("id", "");
    String type = object.get("qom-type", "");
    if (elsewhere.contains(id)) {
      return ForeignVerdict.of(piece);
    }
    if (type.equals(PRIVATE)) {
      backends.add(id);
      needsCopy = true;
      return ForeignVerdict.refused(
          piece, "its memory is private to the process", "use memory-backend-file,share=on");
    }
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    if (!backends.add(id) || backends.size() > 1) {
      verdict.refuse("a guest with several memories cannot be taken over yet");
    }
    check(object, type.equals(FILE), verdict);
    return verdict.words("-object", ours(id, object));
  }

  private void check(Suboptions object, boolean named, ForeignVerdict verdict) {
    // A list, in JSON or with its places counted.
    verdict.refuseUnknown(
        object.values().keySet().stream()
            .map(key -> key.replaceFirst("^host-nodes\\.[0-9]{1,3}$", "host-nodes"))
            .collect(Collectors.toCollection(LinkedHashSet::new)),
        KEYS);
    if (!isShared(object)) {
      needsCopy = true;
      verdict.refuse("its memory is private to the process", "start the guest with share=on");
    }
    if (object.isOn("discard-data")) {
      verdict.refuse("the process would empty the memory when it ends (discard-data)");
    }
    if (object.isOn("hugetlb") || object.isOn("pmem") || object.isOn("readonly")) {
      verdict.refuse("memory of this kind cannot be taken over yet");
    }
    if (!named && isShared(object)) {
      checkMemFd(verdict);
    }
    if (!live.isSeen() && object.get("mem-path", "").contains("huge")) {
      verdict.unknown(
          "whether its memory has huge pages, which cannot be taken over yet, only its process can"
              + " tell",
          "");
    }
  }

  private void checkMemFd(ForeignVerdict verdict) {
    Optional<Boolean> copied = live.copiesMemFds();
    if (copied.isEmpty()) {
      verdict.unknown(MEMFD_COPIED + ", and which one this is, only its process can tell", "");
    } else if (copied.get()) {
      needsCopy = true;
      verdict.refuse(
          MEMFD_COPIED, "start the guest with memory-backend-file,mem-path=/dev/shm/NAME,share=on");
    }
  }

  private String ours(String id, Suboptions object) {
    StringBuilder ours =
        new StringBuilder("memory-backend-file,id=" + id.replace(",", ",,"))
            .append(",size=" + live.memoryBytes())
            .append(",mem-path=/proc/self/fd/" + Descriptors.MEMORY + ",share=on");
    for (String key : KEPT) {
      object.get(key).ifPresent(value -> ours.append("," + key + "=" + value.replace(",", ",,")));
    }
    return ours.toString();
  }

  private ForeignVerdict node(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    if (verdict.pairs(piece, "type").get("mem").isEmpty()) {
      return verdict.keep(piece);
    }
    bySize = true;
    needsCopy = true;
    return verdict.refuse("memory given by size is private to the process", "use memdev=");
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    if (backends.isEmpty() && pieces.has(ForeignOption.READCONFIG)) {
      // It may be in the file, which is not read.
      return verdict;
    }
    if (backends.isEmpty() && (bySize || pieces.has(ForeignOption.MEM_PATH))) {
      needsCopy = true;
    } else if (backends.isEmpty()) {
      needsCopy = true;
      verdict.speaksAgainst(
          "memory",
          NO_BACKEND,
          "start the guest with -object"
              + " memory-backend-file,id=ram,size=SIZE,mem-path=/dev/shm/NAME,share=on and"
              + " -machine memory-backend=ram");
    } else if (!users().equals(backends)) {
      verdict.speaksAgainst(
          "memory", "Its RAM is not, or not only, the memory backend that is given", "");
    }
    return verdict;
  }

  /// The backends that the machine and its nodes are given.
  private Set<String> users() {
    Set<String> users = new HashSet<>();
    pieces
        .of(ForeignOption.MACHINE, ForeignOption.M_MACHINE)
        .forEach(piece -> piece.pairs("type").get("memory-backend").ifPresent(users::add));
    pieces
        .of(ForeignOption.NUMA)
        .forEach(piece -> piece.pairs("type").get("memdev").ifPresent(users::add));
    return users;
  }
}
