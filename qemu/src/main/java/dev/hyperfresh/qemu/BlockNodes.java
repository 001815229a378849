package dev.hyperfresh.qemu;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/// The images that a running QEMU has open, as it says.
///
/// @param qmp its control channel
record BlockNodes(Qmp qmp) {
  /// How many bytes the guest sees of each of its first `disks` disks.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  List<Long> diskBytes(int disks) {
    // Not flat, each node would hold all nodes below it.
    JsonNode nodes = qmp.execute("query-named-block-nodes", Map.of("flat", true));
    return IntStream.range(0, disks).mapToObj(index -> bytes(nodes, "disk" + index)).toList();
  }

  private static long bytes(JsonNode nodes, String name) {
    for (JsonNode node : nodes) {
      if (node.path("node-name").asString("").equals(name)) {
        return node.path("image").path("virtual-size").asLong(0);
      }
    }
    throw new Qmp.QmpException("there is no block node " + name);
  }

  /// All images, with absolute paths.
  ///
  /// @param pid the QEMU, a process of this host
  /// @throws Qmp.QmpException when QEMU does not say
  /// @throws IOException when the process cannot be looked at
  List<AdoptedWords.OpenImage> images(int pid) throws IOException {
    Path folder = new ForeignProcess(pid).folder();
    List<AdoptedWords.OpenImage> images = new ArrayList<>();
    qmp.execute("query-named-block-nodes", Map.of())
        .forEach(node ->
            images.add(
                new AdoptedWords.OpenImage(
                    node.path("node-name").asString(""),
                    node.path("drv").asString(""),
                    folder.resolve(node.path("file").asString("")).normalize(),
                    node.path("image").path("virtual-size").asLong(0))));
    return images;
  }
}
