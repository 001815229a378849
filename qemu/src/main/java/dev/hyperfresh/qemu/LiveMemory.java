package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/// The RAM of a running machine: what its backends are, and where in the process each of them is.
///
/// Two memories of one size and one kind look alike from outside, so QEMU is asked at which address
/// it has each of them.
///
/// @param bytes of all, without what was plugged
/// @param backends by their ids
record LiveMemory(long bytes, Map<String, Backend> backends) {
  /// Of a machine that is not asked.
  static final LiveMemory UNSEEN = new LiveMemory(0, Map.of());

  /// More than any guest has that is taken over.
  private static final int MAX_BACKENDS = 200;

  private static final String SYSTEM = " AS \"memory\", root: system";

  /// HMP `info mtree -f`: from where to where the guest has it, and from where on in the memory.
  private static final Pattern RANGE =
      Pattern.compile(
          " *([0-9a-f]{16})-[0-9a-f]{16} \\(prio -?[0-9]{1,9}, ram\\): (\\S{1,200})"
              + "(?: @([0-9a-f]{16}))?(?: .*)?");

  /// HMP `gpa2hva`: the name of the memory, and the address in the process.
  private static final Pattern ADDRESS =
      Pattern.compile("Host virtual address for 0x[0-9a-f]{1,16} \\((.*)\\) is 0x([0-9a-f]{1,16})");

  /// One backend.
  ///
  /// @param bytes its size
  /// @param address where it begins in the process; empty when the guest does not have it, or QEMU
  ///   does not say
  /// @param policy how the host chooses the nodes for it: `default`, or such as `bind`
  /// @param nodes of the host, of which it chooses
  record Backend(long bytes, OptionalLong address, String policy, List<Integer> nodes) {
    Backend {
      nodes = List.copyOf(nodes);
    }
  }

  /// Where a guest has a part of a memory.
  ///
  /// @param start the address as the guest sees it
  /// @param offset where the part begins in the memory
  private record Place(long start, long offset) {}

  LiveMemory {
    backends = Map.copyOf(backends);
  }

  /// Asks a running QEMU.
  ///
  /// @throws Qmp.QmpException when a question is not answered
  static LiveMemory ask(MachineIdentity.Respondent qemu) {
    JsonNode all = qemu.execute("query-memdev", Map.of());
    if (all.size() > MAX_BACKENDS) {
      throw new Qmp.QmpException("it has more than " + MAX_BACKENDS + " memories");
    }
    Map<String, Place> places = places(MachineIdentity.monitor(qemu, "info mtree -f"));
    Map<String, Backend> backends = new HashMap<>();
    for (JsonNode one : all) {
      String id = one.path("id").asString("");
      List<Integer> nodes = new ArrayList<>();
      one.path("host-nodes").forEach(node -> nodes.add(node.asInt(-1)));
      backends.put(
          id,
          new Backend(
              one.path("size").asLong(0),
              address(qemu, id, places),
              one.path("policy").asString("default"),
              nodes));
    }
    JsonNode size = qemu.execute("query-memory-size-summary", Map.of());
    return new LiveMemory(size.path("base-memory").asLong(0), backends);
  }

  /// How large a memory is: all of it, when it is one that the machine has made by itself and that
  /// has no backend.
  long bytes(String id) {
    Backend backend = backends.get(id);
    return backend == null ? bytes : backend.bytes();
  }

  /// The first place where the guest has a part of each memory, by the memory's name.
  ///
  /// @param trees what is where in each address space
  private static Map<String, Place> places(String trees) {
    Map<String, Place> places = new HashMap<>();
    for (String tree : trees.split("FlatView #")) {
      if (tree.contains(SYSTEM)) {
        tree.lines()
            .map(RANGE::matcher)
            .filter(Matcher::matches)
            .forEach(range ->
                places.putIfAbsent(
                    range.group(2),
                    new Place(
                        Long.parseUnsignedLong(range.group(1), 16),
                        range.group(3) == null ? 0 : Long.parseUnsignedLong(range.group(3), 16))));
      }
    }
    return places;
  }

  /// A memory is called by its id, or by its path.
  private static OptionalLong address(
      MachineIdentity.Respondent qemu, String id, Map<String, Place> places) {
    for (String name : List.of(id, "/objects/" + id)) {
      Place place = places.get(name);
      if (place != null) {
        String question = "gpa2hva 0x" + Long.toHexString(place.start());
        Matcher answer = ADDRESS.matcher(MachineIdentity.monitor(qemu, question).strip());
        if (answer.matches() && answer.group(1).equals(name)) {
          return OptionalLong.of(Long.parseUnsignedLong(answer.group(2), 16) - place.offset());
        }
      }
    }
    return OptionalLong.empty();
  }
}
