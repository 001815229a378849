package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// The memories of a machine, as a QEMU describes them.
class LiveMemoryTest {
  private static final String MEMORIES =
      """
      [{"id": "ram-node1", "size": 268435456, "policy": "bind", "host-nodes": [0, 1],
        "merge": true, "dump": true, "prealloc": false, "share": true},
       {"id": "ram-node0", "size": 134217728, "policy": "default", "host-nodes": [],
        "merge": true, "dump": true, "prealloc": false, "share": true},
       {"id": "spare", "size": 4096, "policy": "default", "host-nodes": []}]
      """;

  /// Two address spaces: what a device behind an IOMMU sees is not where the guest has it.
  private static final String TREES =
      """
      FlatView #0
       AS "I/O", root: io
       Root memory region: io
        0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

      FlatView #1
       AS "vtd-00.0", root: vtd
       Root memory region: vtd
        0000000000001000-0000000000001fff (prio 0, ram): ram-node0

      FlatView #2
       AS "memory", root: system
       AS "cpu-memory-0", root: system
       Root memory region: system
        0000000000000000-000000000009ffff (prio 0, ram): ram-node0 KVM
        00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem
        00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
        0000000000100000-0000000007ffffff (prio 0, ram): ram-node0 @0000000000100000 KVM
        0000000009000000-0000000017ffffff (prio -1, ram): /objects/ram-node1 @0000000001000000
      """;

  private static JsonNode answer(String command, Map<String, ?> arguments) {
    String text =
        switch (command) {
          case "query-memdev" -> MEMORIES;
          case "query-memory-size-summary" -> "{\"base-memory\": 402653184}";
          case "human-monitor-command" ->
              QmpMessage.JSON.writeValueAsString(
                  said(String.valueOf(arguments.get("command-line"))).replace("\n", "\r\n"));
          default -> throw new AssertionError(command);
        };
    return QmpMessage.JSON.readTree(text);
  }

  private static String said(String command) {
    return switch (command) {
      case "info mtree -f" -> TREES;
      case "gpa2hva 0x0" -> "Host virtual address for 0x0 (ram-node0) is 0x7f0000000000\n";
      case "gpa2hva 0x9000000" ->
          "Host virtual address for 0x9000000 (/objects/ram-node1) is 0x7f1001000000\n";
      default -> "Memory at address is not RAM\n";
    };
  }

  @Test
  void eachMemoryIsFoundWhereTheProcessHasIt() {
    LiveMemory memory = LiveMemory.ask(LiveMemoryTest::answer);

    assertThat(memory.bytes()).isEqualTo(384L << 20);
    assertThat(memory.backends())
        .containsOnly(
            Map.entry(
                "ram-node0",
                new LiveMemory.Backend(
                    128L << 20, OptionalLong.of(0x7f0000000000L), "default", List.of())),
            Map.entry(
                "ram-node1",
                new LiveMemory.Backend(
                    256L << 20, OptionalLong.of(0x7f1000000000L), "bind", List.of(0, 1))),
            Map.entry(
                "spare", new LiveMemory.Backend(4096, OptionalLong.empty(), "default", List.of())));
  }

  @Test
  void anAddressOfAnotherMemoryIsNone() {
    LiveMemory memory =
        LiveMemory.ask((command, arguments) ->
            String.valueOf(arguments.get("command-line")).startsWith("gpa2hva")
                ? QmpMessage.JSON.readTree("\"Host virtual address for 0x0 (other) is 0x7f00\"")
                : answer(command, arguments));

    assertThat(memory.backends().values()).allMatch(backend -> backend.address().isEmpty());
  }

  @Test
  void moreThanAnyGuestHasIsNotReadOn() {
    String many = "[" + "{},".repeat(200) + "{}]";

    assertThatThrownBy(() -> LiveMemory.ask((_, _) -> QmpMessage.JSON.readTree(many)))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessageContaining("more than 200");
  }
}
