package dev.hyperfresh.qemu;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/// The block nodes and drives of a running QEMU, as it says.
///
/// @param nodes by their names
/// @param children the names of the nodes below each node, by what they are to it, such as `file`
///   and `backing`
/// @param drives those with a name of their own, by it, with what is in them
/// @param discarding the nodes that have passed on a discard, so that they were told to
record BlockGraph(
    Map<String, JsonNode> nodes,
    Map<String, Map<String, String>> children,
    Map<String, JsonNode> drives,
    Set<String> discarding) {
  /// More than any machine here has.
  private static final int MAX_NODES = 5000;

  /// Asks.
  ///
  /// @throws Qmp.QmpException when it does not say
  static BlockGraph ask(MachineIdentity.Respondent qemu) {
    Map<String, JsonNode> nodes = new HashMap<>();
    JsonNode all = qemu.execute("query-named-block-nodes", Map.of("flat", true));
    if (all.size() > MAX_NODES) {
      throw new Qmp.QmpException("it has more than " + MAX_NODES + " block nodes");
    }
    all.forEach(node -> nodes.put(node.path("node-name").asString(""), node));
    Map<String, JsonNode> drives = new HashMap<>();
    qemu.execute("query-block", Map.of())
        .forEach(drive -> drives.put(drive.path("device").asString(""), drive));
    drives.remove("");
    return new BlockGraph(
        nodes,
        // Of no use to anybody but debuggers, QEMU says; all its releases have it.
        qemu.asked("x-debug-query-block-graph", Map.of())
            .map(BlockGraph::children)
            .orElse(Map.of()),
        drives,
        qemu.asked("query-blockstats", Map.of("query-nodes", true))
            .map(BlockGraph::discarding)
            .orElse(Set.of()));
  }

  private static Map<String, Map<String, String>> children(JsonNode graph) {
    Map<Long, String> names = new HashMap<>();
    graph
        .path("nodes")
        .valueStream()
        .filter(node -> node.path("type").asString("").equals("block-driver"))
        .forEach(node -> names.put(node.path("id").asLong(0), node.path("name").asString("")));
    Map<String, Map<String, String>> children = new HashMap<>();
    for (JsonNode edge : graph.path("edges")) {
      Optional<String> parent = Optional.ofNullable(names.get(edge.path("parent").asLong(0)));
      Optional<String> child = Optional.ofNullable(names.get(edge.path("child").asLong(0)));
      if (parent.isPresent() && child.isPresent()) {
        children
            .computeIfAbsent(parent.get(), _ -> new HashMap<>())
            .put(edge.path("name").asString(""), child.get());
      }
    }
    return children;
  }

  private static Set<String> discarding(JsonNode statistics) {
    Set<String> discarding = new HashSet<>();
    statistics
        .valueStream()
        .filter(node -> node.path("driver-specific").path("discard-nb-ok").asLong(0) > 0)
        .forEach(node -> discarding.add(node.path("node-name").asString("")));
    return discarding;
  }

  /// The nodes below one, by what they are to it.
  Map<String, String> below(String node) {
    return children.getOrDefault(node, Map.of());
  }

  /// Whether discards of the guest reach the file below a node.
  boolean discards(String node) {
    String at = node;
    for (int depth = 0; depth < 8; depth++) {
      Optional<JsonNode> is = Optional.ofNullable(nodes.get(at));
      boolean isTold =
          is.filter(n -> n.path("detect_zeroes").asString("").equals("unmap")).isPresent();
      if (isTold || discarding.contains(at)) {
        return true;
      }
      String below = below(at).getOrDefault("file", "");
      if (below.isEmpty()) {
        return false;
      }
      at = below;
    }
    return false;
  }
}
