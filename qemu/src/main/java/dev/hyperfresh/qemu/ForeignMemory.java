package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// The guest's memory on a foreign command line: its backends, who uses them, and what is placed on
/// which node. The backends of later instances are the memories that were taken over, or, when one
/// of them is private to the process and may be copied, new ones that all of them are copied into.
final class ForeignMemory implements ForeignSubject {
  private static final String MEMFD = "memory-backend-memfd";
  private static final String FILE = "memory-backend-file";
  private static final String PRIVATE = "memory-backend-ram";

  private static final String MEMFD_COPIED =
      "QEMU from 8.1 on does not leave a memfd out of a migration";

  /// The host chooses the nodes for it as for any other memory.
  private static final String ANYWHERE = "default";

  private static final String NO_BACKEND =
      "Its memory is private to the process, so no other one can map it";

  private static final String IS_PRIVATE = "its memory is private to the process";
  private static final String COPY = "copy it once with `guest adopt --copy`";
  private static final String IS_COPIED = "; it is copied once: `guest adopt --copy`";

  /// What the machines of a PC call the memory that no backend was given for, and with it the block
  /// in a migration.
  private static final String DEFAULT_ID = "pc.ram";

  private static final String CANONICAL = "x-use-canonical-path-for-ramblock-id";

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
          "hugetlbsize",
          "offset",
          "align",
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
          CANONICAL);

  /// Those that later instances get.
  private static final List<String> KEPT =
      List.of("offset", "align", "merge", "dump", "reserve", CANONICAL);

  private final ForeignPieces pieces;
  private final LiveMachine live;
  private final boolean copy;
  private final Set<String> backends = new LinkedHashSet<>();

  /// Those that later instances get, in their order.
  private final List<String> taken = new ArrayList<>();

  /// Those behind devices that cannot move, which are refused for a reason of their own.
  private final Set<String> elsewhere;

  private boolean needsCopy;

  /// Whether shared memory is only a part of its file.
  private boolean isPart;

  /// Whether a node has memory without a backend, which is refused by name.
  private boolean bySize;

  /// @param copy whether memory that no other process can have may be copied
  ForeignMemory(ForeignPieces pieces, LiveMachine live, boolean copy) {
    this.pieces = pieces;
    this.live = live;
    this.copy = copy;
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
    if (piece.option() == ForeignOption.MEM_PATH) {
      ForeignVerdict verdict = ForeignVerdict.of(piece);
      onlyCopied(verdict, IS_PRIVATE, "use a shared memory backend");
      return verdict;
    }
    Suboptions object = piece.pairs("qom-type");
    String id = object.get("id", "");
    String type = object.get("qom-type", "");
    if (elsewhere.contains(id)) {
      return ForeignVerdict.of(piece);
    }
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    if (!backends.add(id)) {
      verdict.refuse("another memory has the same name");
    }
    if (taken.size() == Descriptors.MOST_MEMORIES) {
      verdict.refuse(
          "a guest with more than "
              + Descriptors.MOST_MEMORIES
              + " memories cannot be taken over yet");
    }
    if (live.isSeen() && !live.memory().backends().containsKey(id)) {
      verdict.refuse("the running QEMU does not know it");
    }
    check(object, type, verdict);
    return verdict.words("-object", backend(id, object));
  }

  /// The arguments of the next one of later instances' memories.
  private String backend(String id, Suboptions object) {
    int index = taken.size();
    if (isShared(object)) {
      isPart |= object.get("offset").isPresent();
      taken.add(id);
      return ours(id, object, index);
    }
    if (copy) {
      taken.add(id);
    }
    // A block of such memory has the plain name also in the oldest machines, where one in a file
    // has not.
    Suboptions named = object.get("qom-type", "").equals(PRIVATE) ? plain(object) : object;
    // They are of the file that it is copied from.
    return ours(id, named.without("offset").without("align"), index);
  }

  /// The ids of the memories that later instances get, in the order of their descriptors.
  List<String> memories() {
    return taken;
  }

  private static Suboptions plain(Suboptions object) {
    return object.without(CANONICAL).with(CANONICAL, "off");
  }

  /// Of memory that another process can have only as a copy.
  ///
  /// @param action what to do to have it moved without one
  private void onlyCopied(ForeignVerdict verdict, String why, String action) {
    needsCopy = true;
    if (!copy) {
      verdict.refuse(why, action + ", or " + COPY);
    } else if (!live.isSeen()) {
      verdict.remark(
          why.substring(0, 1).toUpperCase(Locale.ROOT) + why.substring(1) + IS_COPIED + ".");
    }
  }

  private void check(Suboptions object, String type, ForeignVerdict verdict) {
    // A list, in JSON or with its places counted.
    verdict.refuseUnknown(
        object.values().keySet().stream()
            .map(key -> key.replaceFirst("^host-nodes\\.[0-9]{1,3}$", "host-nodes"))
            .collect(Collectors.toCollection(LinkedHashSet::new)),
        KEYS);
    if (type.equals(PRIVATE)) {
      onlyCopied(verdict, IS_PRIVATE, "use memory-backend-file,share=on");
    } else if (!isShared(object)) {
      onlyCopied(verdict, IS_PRIVATE, "start the guest with share=on");
    }
    if (object.isOn("discard-data")) {
      verdict.refuse("the process would empty the memory when it ends (discard-data)");
    }
    if (object.isOn("pmem") || object.isOn("readonly")) {
      verdict.refuse("memory of this kind cannot be taken over yet");
    }
    if (type.equals(MEMFD) && isShared(object)) {
      checkMemFd(verdict);
    }
  }

  private void checkMemFd(ForeignVerdict verdict) {
    Optional<Boolean> copied = live.copiesMemFds();
    if (copied.isEmpty()) {
      verdict.unknown(MEMFD_COPIED + ", and which one this is, only its process can tell", "");
    } else if (copied.get()) {
      onlyCopied(
          verdict,
          MEMFD_COPIED,
          "start the guest with memory-backend-file,mem-path=/dev/shm/NAME,share=on");
    }
  }

  /// Its size, and on which nodes of the host it may be, is what it is in the running QEMU.
  private String ours(String id, Suboptions object, int index) {
    StringBuilder ours =
        new StringBuilder("memory-backend-file,id=" + id.replace(",", ",,"))
            .append(",size=" + live.memory().bytes(id))
            .append(",mem-path=" + Descriptors.own(Descriptors.memory(index)) + ",share=on");
    for (String key : KEPT) {
      object.get(key).ifPresent(value -> ours.append("," + key + "=" + value.replace(",", ",,")));
    }
    Optional.ofNullable(live.memory().backends().get(id))
        .filter(backend -> !backend.policy().equals(ANYWHERE))
        .ifPresent(backend -> {
          ours.append(",policy=" + backend.policy());
          backend.nodes().forEach(node -> ours.append(",host-nodes=" + node));
        });
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
    if (backends.isEmpty()) {
      withoutBackend(verdict);
    } else if (!users().equals(backends)) {
      verdict.speaksAgainst(
          "memory", "Its RAM is not, or not only, the memory backend that is given", "");
    } else if (copy && needsCopy && isPart) {
      verdict.speaksAgainst("memory", "Memory that is a part of a file cannot be copied yet", "");
    }
    return verdict;
  }

  /// The machine has made the memory by itself. What names it has been judged.
  private void withoutBackend(ForeignVerdict verdict) {
    needsCopy = true;
    boolean isNamed = bySize || pieces.has(ForeignOption.MEM_PATH);
    if (!copy && isNamed) {
      return;
    }
    if (!copy) {
      verdict.speaksAgainst(
          "memory",
          NO_BACKEND,
          "start the guest with -object"
              + " memory-backend-file,id=ram,size=SIZE,mem-path=/dev/shm/NAME,share=on and"
              + " -machine memory-backend=ram, or "
              + COPY);
      return;
    }
    if (!live.isSeen() && !isNamed) {
      verdict.remarkOn("memory", NO_BACKEND + IS_COPIED);
    }
    verdict.words("-object", ours(DEFAULT_ID, plain(ForeignPiece.none()), taken.size()));
    taken.add(DEFAULT_ID);
    verdict.words("-machine", "memory-backend=" + DEFAULT_ID);
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
