package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// A QEMU that answers as none would.
class LiveChangesRandomTest {
  private static final long SEED = Long.getLong("hyperfresh.fuzz.seed", 20_261_130L);
  private static final int ROUNDS = Integer.getInteger("hyperfresh.fuzz.lines", 4000);

  private static final List<String> LINE =
      List.of(
          "-device",
          "pcie-root-port,id=rp0",
          "-blockdev",
          "{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"backing\":\"n1\",\"file\":{\"driver\":\"file\","
              + "\"filename\":\"/dev/fdset/1\"}}",
          "-blockdev",
          "driver=raw,node-name=n1,file=n2",
          "-device",
          "{\"driver\":\"virtio-blk-pci\",\"id\":\"blk\",\"drive\":\"n0\"}",
          "-device",
          "e1000,mac=52:54:00:00:00:01",
          "-drive",
          "if=none,id=d0,file=/a.img",
          "-cdrom",
          "/a.iso",
          "-netdev",
          "tap,id=t0,fd=3",
          "-chardev",
          "null,id=c0",
          "-object",
          "rng-builtin,id=r0",
          "-smp",
          "2");

  /// Strings that mean something somewhere, and some that mean nothing.
  private static final List<String> WORDS =
      List.of(
          "",
          "n0",
          "n1",
          "#block1",
          "late",
          "rp0",
          "/objects/r0",
          "/machine/peripheral/late",
          "file",
          "backing",
          "raw",
          "qcow2",
          "json:{\"offset\":1}",
          "json:{",
          "/dev/fdset/1",
          "a,b=c",
          "\u0000",
          "\u001b[31m",
          "x".repeat(3000),
          "child<virtio-blk-pci>",
          "usb-storage",
          "-1",
          "§");

  private static AnsweringQemu qemu() {
    return new AnsweringQemu()
        .device("rp0", "pcie-root-port", "/machine/q35/pcie.0", "addr=16")
        .device("blk", "virtio-blk-pci", "/machine/q35/pcie.0", "addr=24", "drive=\"top\"")
        .device("late", "virtio-net-pci", "/machine/peripheral/rp0/rp0", "netdev=\"t1\"", "addr=0")
        .device("disk", "virtio-blk-pci", "/machine/peripheral/late/rp0", "drive=\"d1\"")
        .device("tab", "usb-tablet", "/machine/peripheral/late/x.0", "port=\"1\"")
        .device("cpu", "qemu64-x86_64-cpu", "")
        .device("port", "virtserialport", "/machine/peripheral/disk/v.0", "chardev=\"c1\"")
        .nameless(0, "e1000", "/machine/q35/pcie.0", "addr=32")
        .nameless(1, "virtio-rng-pci", "/machine/q35/pcie.0", "rng=\"/objects/r1\"")
        .settable("virtio-net-pci", "netdev str", "mac str", "addr int32 -1", "mq bool false")
        .settable("virtio-blk-pci", "drive str", "num-queues uint16 65535")
        .settable("usb-tablet", "port str")
        .settable("virtserialport", "chardev str")
        .settable("virtio-rng-pci", "rng link<rng-backend>")
        .has("/objects", "r0", "rng-builtin")
        .has("/objects", "r1", "throttle-group")
        .set("/objects/r1", "limits={\"iops-total\":5,\"iops-total-max-length\":1}")
        .says(
            "query-chardev",
            "[{\"label\":\"c0\",\"filename\":\"null\"},"
                + "{\"label\":\"c1\",\"filename\":\"unix:/s,server=on\"}]")
        .says(
            "query-block",
            "[{\"device\":\"d0\",\"inserted\":{\"file\":\"/b.img\",\"drv\":\"raw\",\"ro\":true}},"
                + "{\"device\":\"d1\",\"inserted\":{\"file\":\"/c.img\",\"drv\":\"raw\",\"bps\":7}},"
                + "{\"device\":\"ide1-cd0\"}]")
        .says(
            "query-named-block-nodes",
            "[{\"node-name\":\"n0\",\"drv\":\"qcow2\",\"file\":\"/0\"},"
                + "{\"node-name\":\"n1\",\"drv\":\"raw\",\"file\":\"/1\"},"
                + "{\"node-name\":\"top\",\"drv\":\"qcow2\",\"file\":\"json:{}\"},"
                + "{\"node-name\":\"#block1\",\"drv\":\"file\",\"file\":\"/2\"}]")
        .says(
            "x-debug-query-block-graph",
            "{\"nodes\":[{\"id\":1,\"type\":\"block-driver\",\"name\":\"top\"},"
                + "{\"id\":2,\"type\":\"block-driver\",\"name\":\"n0\"},"
                + "{\"id\":3,\"type\":\"block-driver\",\"name\":\"#block1\"}],"
                + "\"edges\":[{\"parent\":1,\"child\":2,\"name\":\"backing\"},"
                + "{\"parent\":1,\"child\":3,\"name\":\"file\"},"
                + "{\"parent\":2,\"child\":3,\"name\":\"file\"}]}")
        .says(
            "query-hotpluggable-cpus",
            "[{\"qom-path\":\"/machine/peripheral/cpu\",\"props\":{\"socket-id\":1}},"
                + "{\"qom-path\":\"/machine/unattached/device[0]\",\"vcpus-count\":1}]")
        .tells(
            "info network",
            "late: index=0,type=nic,model=x",
            " \\ t1: index=0,type=user,net=10.0.2.0,restrict=on",
            "t0: index=0,type=tap,fd=3")
        .tells("info usernet", "Hub -1 (t1):")
        .tells("info usb", "  Device 0.1, Port 1, Speed 12 Mb/s, Product X, ID: tab");
  }

  /// Whatever it answers, the outcome is a line that a process can be given, or a reason, or that
  /// it does not answer like a QEMU.
  @Test
  void randomAnswersNeverBreakIt() {
    AnsweringQemu qemu = qemu();
    assertThat(LiveChanges.ask(LINE, Map.of(), qemu).remarks()).isNotEmpty();
    int answered = 0;
    for (int round = 0; round < ROUNDS; round++) {
      Random random = new Random(SEED + round);
      int rarity = 1 + random.nextInt(60);
      LiveChanges changes;
      try {
        changes =
            LiveChanges.ask(
                LINE,
                Map.of("/dev/fdset/1", Path.of("/img/one")),
                (command, arguments) ->
                    qemu.execute(command, arguments, answer -> changed(answer, rarity, random)));
      } catch (Qmp.QmpException e) {
        continue;
      }
      answered++;
      assertThat(changes.arguments()).as("round %d", round).hasSizeLessThan(500);
      assertThat(changes.remarks()).allMatch(LiveChangesRandomTest::isPlain);
      assertThat(changes.reasons()).allMatch(LiveChangesRandomTest::isPlain);
      if (changes.reasons().isEmpty()) {
        assertThat(changes.arguments())
            .as("round %d", round)
            .noneMatch(word -> word.chars().anyMatch(c -> c < ' '));
      }
      // It is read like any other line.
      assertThat(ForeignCommandLine.unseen(changes.arguments(), "").verdicts()).isNotEmpty();
    }
    System.out.println("  " + answered + " of " + ROUNDS + " random QEMUs were understood");
    assertThat(answered).isGreaterThan(ROUNDS / 4);
  }

  private static boolean isPlain(String sentence) {
    return sentence.length() < 500 && sentence.chars().allMatch(c -> c >= ' ');
  }

  private static String changed(String answer, int rarity, Random random) {
    return QmpMessage.JSON.writeValueAsString(
        changed(QmpMessage.JSON.readTree(answer), rarity, random, 0));
  }

  private static JsonNode changed(JsonNode node, int rarity, Random random, int depth) {
    if (random.nextInt(rarity) == 0) {
      return anything(random, depth);
    }
    if (node instanceof ObjectNode object) {
      ObjectNode copy = QmpMessage.JSON.createObjectNode();
      object.forEachEntry((key, value) -> copy.set(key, changed(value, rarity, random, depth + 1)));
      return copy;
    }
    if (node instanceof ArrayNode array) {
      ArrayNode copy = QmpMessage.JSON.createArrayNode();
      array.forEach(value -> copy.add(changed(value, rarity, random, depth + 1)));
      return copy;
    }
    return node;
  }

  private static JsonNode anything(Random random, int depth) {
    return switch (random.nextInt(depth > 3 ? 4 : 6)) {
      case 0, 1 -> LiveDevice.string(WORDS.get(random.nextInt(WORDS.size())));
      case 2 -> QmpMessage.JSON.readTree(Long.toString(random.nextLong() >> random.nextInt(64)));
      case 3 -> QmpMessage.JSON.readTree(random.nextBoolean() ? "null" : "true");
      case 4 -> {
        ArrayNode list = QmpMessage.JSON.createArrayNode();
        for (int i = random.nextInt(4); i > 0; i--) {
          list.add(anything(random, depth + 1));
        }
        yield list;
      }
      default -> {
        ObjectNode object = QmpMessage.JSON.createObjectNode();
        object.set(WORDS.get(random.nextInt(WORDS.size())), anything(random, depth + 1));
        yield object;
      }
    };
  }
}
