package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.BooleanNode;
import tools.jackson.databind.node.NullNode;
import tools.jackson.databind.node.ObjectNode;

/// The drives and block nodes of a foreign command line beside those that its QEMU has by now:
/// nodes that are gone leave the line, drives have the image that is in them, and what a device
/// that was plugged has below it is added.
final class PluggedNodes {
  private static final int DEEPEST = 32;
  private static final String FILE = "file";
  private static final String BACKING = "backing";
  private static final String FORMAT = "format";
  private static final String NODE = "node-name";
  private static final String DRIVER = "driver";
  private static final String NAME_OF_FILE = "filename";
  private static final String QCOW2 = "qcow2";
  private static final String ZEROES = "detect-zeroes";
  private static final String UNMAP = "unmap";

  /// QEMU's own names, such as `#block123`, cannot be given to it.
  private static final String MADE_UP = "#";

  private static final Set<String> PROTOCOLS = Set.of(FILE, "host_device");

  /// What a node's file tells of its options, where it tells any.
  private static final Set<String> TOLD_BY_FILE = Set.of("offset", "size", "throttle-group");

  private static final Pattern BUILT_IN_CD =
      Pattern.compile("(ide|scsi|sata)[0-9]{1,3}-cd[0-9]{1,3}");

  /// Limits of a drive, as it says them, and as an option says them behind `throttling.`.
  private static final List<Map.Entry<String, String>> LIMITS =
      List.of(
          Map.entry("bps", "bps-total"),
          Map.entry("bps_rd", "bps-read"),
          Map.entry("bps_wr", "bps-write"),
          Map.entry("iops", "iops-total"),
          Map.entry("iops_rd", "iops-read"),
          Map.entry("iops_wr", "iops-write"));

  private final ChangedLine line;
  private final BlockGraph graph;
  private final Map<String, Path> sets;

  /// The nodes that the line makes, by their names.
  private final Map<String, ChangedLine.Item> ofLine = new LinkedHashMap<>();

  private final Set<String> drives = new LinkedHashSet<>();
  private final Map<String, Map<String, JsonNode>> plugged = new LinkedHashMap<>();
  private final Set<String> guessed = new TreeSet<>();
  private final List<String> rebuilt = new ArrayList<>();
  private boolean isReordered;

  private PluggedNodes(ChangedLine line, Map<String, Path> sets, BlockGraph graph) {
    this.line = line;
    this.sets = sets;
    this.graph = graph;
  }

  static PluggedNodes ask(
      ChangedLine line, Map<String, Path> sets, MachineIdentity.Respondent qemu) {
    return new PluggedNodes(line, sets, BlockGraph.ask(qemu));
  }

  /// What a node is called on a command line.
  static String name(String node) {
    return node.startsWith(MADE_UP) ? "hf-" + node.substring(MADE_UP.length()) : node;
  }

  /// Has the line say of its own drives and nodes what they are by now.
  void match() {
    line.of(ForeignOption.DRIVE).forEach(this::drive);
    builtInCd();
    line.of(ForeignOption.BLOCKDEV).forEach(this::node);
    rebuilt.forEach(name -> make(name, 0));
  }

  // ---- drives of the line ----

  private void drive(ChangedLine.Item item) {
    Suboptions drive = item.pairs(FILE);
    Optional<String> id = drive.get("id");
    if (id.isEmpty()) {
      return;
    }
    Optional<JsonNode> now = Optional.ofNullable(graph.drives().get(id.get()));
    if (now.isEmpty()) {
      // It goes with its device.
      if (drive.get("if", "").equals("none")) {
        line.remove(item);
      }
      return;
    }
    drives.add(id.get());
    follow(item, id.get(), image(now.get()));
  }

  private static Optional<LiveMachine.Image> image(JsonNode drive) {
    JsonNode inserted = drive.path("inserted");
    return inserted.isObject()
        ? Optional.of(
            LiveMachine.Image.reported(
                inserted.path(FILE).asString(""),
                inserted.path("drv").asString(""),
                inserted.path("ro").asBoolean(false)))
        : Optional.empty();
  }

  private void follow(ChangedLine.Item item, String id, Optional<LiveMachine.Image> now) {
    Suboptions drive = item.pairs(FILE);
    Optional<String> given =
        drive.get(FILE).or(() -> drive.get("file.filename")).filter(file -> !file.isEmpty());
    if (now.isEmpty()) {
      if (given.isPresent()) {
        line.edit(item, FILE, Map.of(), Set.of(FILE, FORMAT, DRIVER));
        line.remark("The drive " + id + " is empty by now");
      }
      return;
    }
    LiveMachine.Image image = now.get();
    boolean isNoFile =
        given
            .map(file -> !file.startsWith("/") && file.contains(":"))
            .orElse(drive.get(DRIVER).isPresent() || drive.get("file.driver").isPresent());
    if (isNoFile || given.filter(file -> isSame(file, image.file())).isPresent()) {
      return;
    }
    Map<String, JsonNode> puts = new LinkedHashMap<>();
    puts.put(FILE, LiveDevice.string(image.file()));
    puts.put(FORMAT, LiveDevice.string(image.format()));
    if (image.readOnly() && !drive.get("media", "").equals("cdrom")) {
      puts.put("readonly", LiveDevice.string("on"));
    }
    line.edit(item, FILE, Map.of(), Set.of(FILE, FORMAT, DRIVER));
    line.edit(item, FILE, puts, Set.of());
    line.remark("The drive " + id + " has another image than at its start: " + image.file());
  }

  /// The process and its command line may name one file by a relative and an absolute path.
  private static boolean isSame(String given, String now) {
    return given.equals(now)
        || (!given.startsWith("/") && now.endsWith("/" + given.replaceFirst("^(\\./)+", "")));
  }

  /// The one drive for CDs that has no name on the line, if it is one.
  private void builtInCd() {
    List<ChangedLine.Item> lost =
        line.of(ForeignOption.CDROM, ForeignOption.DRIVE).stream()
            .filter(this::isNamelessCd)
            .filter(item -> graph.drives().values().stream().noneMatch(d -> isIn(item, d)))
            .toList();
    List<JsonNode> changed =
        graph.drives().values().stream()
            .filter(d -> BUILT_IN_CD.matcher(d.path("device").asString("")).matches())
            .filter(d ->
                line.of(ForeignOption.CDROM, ForeignOption.DRIVE).stream()
                    .noneMatch(item -> isIn(item, d)))
            .toList();
    if (lost.size() > 1 || changed.size() != 1) {
      return;
    }
    Optional<LiveMachine.Image> now = image(changed.getFirst());
    String id = changed.getFirst().path("device").asString("");
    if (lost.stream().anyMatch(item -> item.pairs(FILE).get("media").isPresent())) {
      follow(lost.getFirst(), id, now);
      return;
    }
    // QEMU has a drive for CDs there also when no option says so.
    lost.forEach(line::remove);
    if (now.isPresent()) {
      follow(line.add(ForeignOption.DRIVE, "index=2,media=cdrom"), id, now);
    } else if (!lost.isEmpty()) {
      line.remark("The drive " + id + " is empty by now");
    }
  }

  private boolean isNamelessCd(ChangedLine.Item item) {
    Suboptions drive = item.pairs(FILE);
    return line.of(ForeignOption.CDROM).contains(item)
        || (drive.get("id").isEmpty() && drive.get("media", "").equals("cdrom"));
  }

  private boolean isIn(ChangedLine.Item item, JsonNode drive) {
    String file =
        line.of(ForeignOption.CDROM).contains(item) ? item.value() : item.pairs(FILE).get(FILE, "");
    return image(drive).filter(image -> !file.isEmpty() && isSame(file, image.file())).isPresent();
  }

  // ---- nodes of the line ----

  private void node(ChangedLine.Item item) {
    Suboptions node = item.pairs(DRIVER);
    String name = node.get(NODE, "");
    if (name.isEmpty()) {
      return;
    }
    if (!graph.nodes().containsKey(name)) {
      line.remove(item);
      return;
    }
    openByPath(item, node);
    ofLine.put(name, item);
    if (graph.children().isEmpty()) {
      return;
    }
    refuseAnotherFile(name, node);
    String now = graph.below(name).getOrDefault(BACKING, "");
    Optional<String> given = node.get(BACKING);
    if (given.isPresent() && !given.get().equals(now)) {
      line.edit(item, DRIVER, Map.of(BACKING, reference(now)), Set.of());
      isReordered = true;
      if (!now.isEmpty()) {
        rebuilt.add(now);
      }
      line.remark("The image below the block node " + name + " is another one than at its start");
    } else if (backingFile(node).filter(file -> !isSame(file, file(bottom(now)))).isPresent()) {
      line.remove(item);
      ofLine.remove(name);
      rebuilt.add(name);
      line.remark("The images below the block node " + name + " are others than at its start");
    }
  }

  /// A node may have been put between two of the line, or been taken away from there.
  private void refuseAnotherFile(String name, Suboptions node) {
    String now = graph.below(name).getOrDefault(FILE, "");
    node.get(FILE)
        .or(() -> node.get(FILE + "." + NODE))
        .filter(given -> !given.equals(now))
        .ifPresent(given ->
            line.refuse(
                "The block node "
                    + name
                    + " has "
                    + (now.isEmpty() ? "no node" : "the node " + now)
                    + " below it, and at its start it had "
                    + given));
  }

  private static Optional<String> backingFile(Suboptions node) {
    return node.get("backing.file.filename").or(() -> node.get("backing.filename"));
  }

  private String bottom(String node) {
    String at = node;
    for (int depth = 0; depth < DEEPEST && graph.below(at).containsKey(FILE); depth++) {
      at = graph.below(at).getOrDefault(FILE, "");
    }
    return at;
  }

  private String file(String node) {
    return Optional.ofNullable(graph.nodes().get(node))
        .map(is -> is.path(FILE).asString(""))
        .orElse("");
  }

  private static JsonNode reference(String node) {
    return node.isEmpty() ? NullNode.getInstance() : LiveDevice.string(name(node));
  }

  /// The image behind a descriptor that it was passed.
  private void openByPath(ChangedLine.Item item, Suboptions node) {
    Map<String, JsonNode> puts = new HashMap<>();
    node.values()
        .forEach((key, value) -> {
          if (key.equals(NAME_OF_FILE) || key.endsWith("." + NAME_OF_FILE)) {
            Optional.ofNullable(sets.get(value))
                .ifPresent(path -> puts.put(key, LiveDevice.string(path.toString())));
          }
        });
    if (puts.isEmpty()) {
      return;
    }
    if (item.isJson()) {
      ObjectNode root = (ObjectNode) QmpMessage.JSON.readTree(item.value());
      puts.forEach((key, path) -> place(root, key.split("\\."), path));
      Map<String, JsonNode> whole = new LinkedHashMap<>();
      root.forEachEntry(whole::put);
      line.edit(item, DRIVER, whole, Set.of());
    } else {
      line.edit(item, DRIVER, puts, Set.of());
    }
  }

  private static void place(ObjectNode root, String[] keys, JsonNode path) {
    JsonNode at = root;
    for (int i = 0; i + 1 < keys.length; i++) {
      at = at.path(keys[i]);
    }
    if (at instanceof ObjectNode holder) {
      holder.set(keys[keys.length - 1], path);
    }
  }

  // ---- what was plugged ----

  /// Has the line make a drive or node that a device has, unless it does so already.
  void need(String name) {
    Optional<JsonNode> drive = Optional.ofNullable(graph.drives().get(name));
    if (drive.isPresent()) {
      if (drives.add(name)) {
        pluggedDrive(name, drive.get());
      }
    } else {
      make(name, 0);
    }
  }

  private void pluggedDrive(String name, JsonNode drive) {
    Map<String, JsonNode> pairs = new LinkedHashMap<>();
    pairs.put("if", LiveDevice.string("none"));
    pairs.put("id", LiveDevice.string(name));
    Optional<LiveMachine.Image> image = image(drive);
    JsonNode inserted = drive.path("inserted");
    if (image.isPresent()) {
      pairs.put(FILE, LiveDevice.string(image.get().file()));
      pairs.put(FORMAT, LiveDevice.string(image.get().format()));
      if (image.get().readOnly()) {
        pairs.put("readonly", LiveDevice.string("on"));
      }
      pairs.putAll(caches(inserted, "cache."));
      zeroes(inserted).ifPresent(zeroes -> pairs.put(ZEROES, zeroes));
      boolean isTold =
          pairs.getOrDefault(ZEROES, NullNode.getInstance()).asString("").equals(UNMAP);
      if (isTold || graph.discards(inserted.path(NODE).asString(""))) {
        pairs.put("discard", LiveDevice.string(UNMAP));
      }
      LIMITS.forEach(limit -> limit(inserted, limit.getKey(), limit.getValue(), pairs));
      guessed.add(image.get().file());
    }
    if (drive.path("inserted").path("encrypted").asBoolean(false)) {
      line.refuse("The image of the drive " + name + " is encrypted, which cannot be taken over");
    }
    line.add(ForeignOption.DRIVE, ChangedLine.written(pairs, false));
  }

  private static void limit(
      JsonNode inserted, String said, String option, Map<String, JsonNode> pairs) {
    for (String kind : List.of("", "_max", "_max_length")) {
      JsonNode limit = inserted.path(said + kind);
      if (limit.isIntegralNumber() && limit.asLong(0) > 0) {
        pairs.put("throttling." + option + kind.replace('_', '-'), limit);
      }
    }
  }

  private static Map<String, JsonNode> caches(JsonNode node, String prefix) {
    Map<String, JsonNode> caches = new LinkedHashMap<>();
    for (String key : List.of("direct", "no-flush")) {
      if (node.path("cache").path(key).asBoolean(false)) {
        caches.put(prefix + key, BooleanNode.TRUE);
      }
    }
    return caches;
  }

  private static Optional<JsonNode> zeroes(JsonNode node) {
    return Optional.of(node.path("detect_zeroes").asString("off"))
        .filter(zeroes -> Set.of("on", UNMAP).contains(zeroes))
        .map(LiveDevice::string);
  }

  private void make(String name, int depth) {
    if (ofLine.containsKey(name) || plugged.containsKey(name)) {
      return;
    }
    Optional<JsonNode> node = Optional.ofNullable(graph.nodes().get(name));
    if (node.isEmpty() || depth > DEEPEST) {
      line.refuse("QEMU does not say what its block node " + name + " is made of");
      return;
    }
    Map<String, JsonNode> pairs = described(name, node.get());
    plugged.put(name, pairs);
    isReordered = true;
    Map<String, String> below = graph.below(name);
    below.forEach((role, child) -> {
      make(child, depth + 1);
      pairs.put(role, reference(child));
    });
    boolean isProtocol = PROTOCOLS.contains(node.get().path("drv").asString(""));
    if (!isProtocol && below.isEmpty()) {
      line.refuse("QEMU does not say what is below its block node " + name);
    }
  }

  private Map<String, JsonNode> described(String name, JsonNode node) {
    String driver = node.path("drv").asString("");
    String file = node.path(FILE).asString("");
    Map<String, JsonNode> pairs = new LinkedHashMap<>();
    pairs.put(DRIVER, LiveDevice.string(driver));
    pairs.put(NODE, LiveDevice.string(name(name)));
    if (PROTOCOLS.contains(driver)) {
      String path = Optional.ofNullable(sets.get(file)).map(Path::toString).orElse(file);
      pairs.put(NAME_OF_FILE, LiveDevice.string(path));
      guessed.add(path);
    } else {
      toldByFile(file).forEach(pairs::put);
    }
    pairs.put("read-only", BooleanNode.valueOf(node.path("ro").asBoolean(false)));
    Map<String, JsonNode> caches = caches(node, "");
    if (!caches.isEmpty()) {
      ObjectNode cache = QmpMessage.JSON.createObjectNode();
      caches.forEach(cache::set);
      pairs.put("cache", cache);
    }
    zeroes(node).ifPresent(zeroes -> pairs.put(ZEROES, zeroes));
    if (graph.discards(name)) {
      pairs.put("discard", LiveDevice.string(UNMAP));
    }
    if (driver.equals(QCOW2)) {
      // What the image says of one since is not what it has.
      pairs.put(BACKING, NullNode.getInstance());
    }
    if (node.path("encrypted").asBoolean(false)) {
      line.refuse(
          "The image of the block node " + name + " is encrypted, which cannot be taken over");
    }
    return pairs;
  }

  /// QEMU reports a node with such options as JSON in the place of a file.
  private static Map<String, JsonNode> toldByFile(String file) {
    Map<String, JsonNode> told = new LinkedHashMap<>();
    String json = "json:";
    if (file.startsWith(json)) {
      try {
        QmpMessage.JSON
            .readTree(file.substring(json.length()))
            .forEachEntry((key, value) -> {
              if (TOLD_BY_FILE.contains(key)) {
                told.put(key, value);
              }
            });
      } catch (JacksonException e) {
        return told;
      }
    }
    return told;
  }

  /// Adds the nodes, each behind those that it is made of.
  void write() {
    plugged.forEach((name, pairs) ->
        ofLine.put(name(name), line.add(ForeignOption.BLOCKDEV, ChangedLine.written(pairs, true))));
    if (isReordered) {
      Set<ChangedLine.Item> order = new LinkedHashSet<>();
      Set<ChangedLine.Item> begun = new HashSet<>();
      ofLine.values().forEach(item -> put(item, order, begun));
      line.moveToEnd(List.copyOf(order));
    }
    if (!guessed.isEmpty()) {
      line.remark(
          "QEMU does not tell how it opened what was plugged ("
              + String.join(", ", guessed)
              + "), so aio= and, before a first discard, discard= have their defaults there");
    }
  }

  private void put(
      ChangedLine.Item item, Set<ChangedLine.Item> order, Set<ChangedLine.Item> begun) {
    if (!begun.add(item)) {
      return;
    }
    List<ChangedLine.Item> below = new ArrayList<>();
    item.pairs(DRIVER)
        .values()
        .forEach((key, value) -> {
          String role = key.substring(key.lastIndexOf('.') + 1);
          if (role.equals(FILE) || role.equals(BACKING)) {
            Optional.ofNullable(ofLine.get(value)).ifPresent(below::add);
          }
        });
    below.forEach(child -> put(child, order, begun));
    order.add(item);
  }
}
