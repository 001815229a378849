package dev.hyperfresh.daemon;

import dev.hyperfresh.daemon.SpecField.Group;
import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.UserMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/// A guest spec as a person writes it, in YAML. All faults of a document are found in one reading.
///
/// @param spec the guest
/// @param release the release to start with, or empty for the newest that knows the machine
public record SpecDocument(GuestSpec spec, Optional<String> release) {
  /// The longest document that is read.
  public static final int MAX_BYTES = YamlReader.MAX_BYTES;

  private static final Pattern SIZE = Pattern.compile("([0-9]{1,6})\\s*(M|MiB|G|GiB)");
  private static final Set<String> UNSTEADY_CPUS = Set.of("host", "max", "base");
  private static final Pattern RANGE = Pattern.compile("([0-9]{1,4})(?:-([0-9]{1,4}))?");
  private static final int MOST_NUMBERS = 1024;
  private static final Pattern FORWARD =
      Pattern.compile(
          "(?:([0-9]{1,3}(?:\\.[0-9]{1,3}){3}):)?([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp))?");
  private static final String LOOPBACK = "127.0.0.1";
  private static final Pattern ADDRESS = Pattern.compile("(.{1,64}):([0-9]{1,5})");

  /// Reads `text`; relative paths in it start at `base`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_MALFORMED] or
  ///   [Problem#SPEC_INVALID], the latter with every fault
  public static SpecDocument parse(String text, Path base) {
    JsonNode root = YamlReader.tree(text, Problem.SPEC_MALFORMED);
    if (!root.isObject()) {
      throw Problem.SPEC_MALFORMED.because("The document is not a mapping of fields to values.");
    }
    return new Reader(root, base).read();
  }

  /// One reading of one document.
  private static final class Reader extends YamlReader {
    Reader(JsonNode root, Path base) {
      super(root, base);
    }

    SpecDocument read() {
      unknownKeys(root, Group.GUEST.keys(), "");
      String name = text(root, "name", "");
      GuestSpec spec =
          new GuestSpec(
              name,
              integer(root, "vcpus").orElse(1),
              memory(root, "512M"),
              text(root, "machine", "pc-q35-7.2"),
              cpu(),
              choice(AcceleratorWish.values(), root, "accelerator", AcceleratorWish.AUTO),
              boot(),
              disks(),
              nics(name),
              flag(root, "agent"),
              choice(ClockPolicy.values(), root, "clock", ClockPolicy.KEEP),
              new EndPolicy(
                  then("on-crash", EndPolicy.DEFAULT.onCrash()),
                  then("on-reboot", EndPolicy.DEFAULT.onReboot()),
                  then("on-poweroff", EndPolicy.DEFAULT.onPoweroff())),
              new MemoryLayout(hugePages(), nodes()),
              new Devices(flag(root, "rng"), flag(root, "balloon"), cloudInit(), screen()),
              new Firmware(
                  choice(
                      Firmware.Kind.values(),
                      Firmware.Kind::label,
                      root,
                      "firmware",
                      Firmware.DEFAULT.kind()),
                  flag(root, "tpm")));
      faults.addAll(spec.faults());
      if (!faults.isEmpty()) {
        throw Problem.SPEC_INVALID.because(String.join("; ", faults) + ".");
      }
      return new SpecDocument(spec, optionalText(root, "release"));
    }

    private EndPolicy.Then then(String key, EndPolicy.Then otherwise) {
      return choice(EndPolicy.Then.values(), root, key, otherwise);
    }

    private OptionalInt integer(JsonNode node, String key) {
      JsonNode value = node.path(key);
      if (value.isMissingNode() || value.isNull()) {
        return OptionalInt.empty();
      }
      if (!value.isInt()) {
        faults.add(at + key + ": '" + value.asString("") + "' is not a whole number");
        return OptionalInt.empty();
      }
      return OptionalInt.of(value.intValue());
    }

    /// A model that is another processor on each release would keep the guest where it started.
    private String cpu() {
      String cpu = text(root, "cpu", "qemu64");
      String model = cpu.split(",", 2)[0];
      if (UNSTEADY_CPUS.contains(model)) {
        faults.add(
            "cpu: '"
                + model
                + "' is another processor on each release; name one such as qemu64 or EPYC");
      }
      return cpu;
    }

    private long memory(JsonNode node, String otherwise) {
      String text = node.hasNonNull("memory") ? node.path("memory").asString("") : otherwise;
      OptionalLong size = size(text);
      if (size.isEmpty()) {
        faults.add(at + "memory: '" + text + "' is not a size such as 512M or 2G");
      }
      return size.orElse(GuestSpec.MIN_MEMORY_BYTES);
    }

    private static OptionalLong size(String text) {
      Matcher size = SIZE.matcher(text);
      return size.matches()
          ? OptionalLong.of(
              Long.parseLong(size.group(1)) << (size.group(2).startsWith("M") ? 20 : 30))
          : OptionalLong.empty();
    }

    private OptionalLong hugePages() {
      Optional<String> text = optionalText(root, "huge-pages");
      OptionalLong size = text.map(Reader::size).orElse(OptionalLong.empty());
      if (text.isPresent() && size.isEmpty()) {
        faults.add("huge-pages: '" + text.get() + "' is not a size such as 2M or 1G");
      }
      return size;
    }

    private List<MemoryLayout.Node> nodes() {
      return each(
          "numa",
          Group.NODE,
          (item, _) ->
              new MemoryLayout.Node(
                  memory(item, ""), numbers(item, "vcpus"), numbers(item, "host-nodes")));
    }

    /// Numbers and ranges of them with commas between.
    private List<Integer> numbers(JsonNode node, String key) {
      if (!node.hasNonNull(key)) {
        return List.of();
      }
      String text = node.path(key).asString("");
      List<Integer> numbers = new ArrayList<>();
      for (String piece : text.split(",", -1)) {
        Matcher range = RANGE.matcher(piece.strip());
        if (!range.matches()) {
          faults.add(at + key + ": '" + text + "' is not numbers such as 0-3,8");
          return List.of();
        }
        int from = Integer.parseInt(range.group(1));
        int to = range.group(2) == null ? from : Integer.parseInt(range.group(2));
        IntStream.rangeClosed(from, to).forEach(numbers::add);
        if (numbers.size() > MOST_NUMBERS) {
          faults.add(at + key + ": more than " + MOST_NUMBERS + " numbers");
          return List.of();
        }
      }
      return numbers;
    }

    private Optional<KernelBoot> boot() {
      Optional<Path> kernel = path(root, "kernel");
      if (kernel.isEmpty() && (root.has("initrd") || root.has("cmdline"))) {
        faults.add("kernel: initrd and cmdline need one");
      }
      return kernel.map(
          file -> new KernelBoot(file, path(root, "initrd"), text(root, "cmdline", "")));
    }

    private List<Disk> disks() {
      return each("disks", Group.DISK, (item, _) -> disk(item));
    }

    private Disk disk(JsonNode item) {
      Optional<Path> path = path(item, "path");
      if (!item.hasNonNull("path")) {
        faults.add(at + "path: a disk has no path");
      }
      if (!item.hasNonNull("format")) {
        // Taken for raw, a guest could turn its image into another format and read other files.
        String named = path.map(Path::toString).orElse("a disk");
        faults.add(at + "format: " + named + " has no format; write raw or qcow2");
      }
      boolean cdrom = flag(item, "cdrom");
      return new Disk(
          path.orElse(base),
          choice(Disk.Format.values(), item, "format", Disk.Format.RAW),
          flag(item, "readonly") || cdrom,
          new DiskDrive(
              choice(
                  DiskDrive.Bus.values(),
                  item,
                  "bus",
                  cdrom ? DiskDrive.Bus.SATA : DiskDrive.Bus.VIRTIO),
              cdrom,
              optionalText(item, "serial"),
              integer(item, "boot")),
          new DiskAccess(
              choice(DiskAccess.Cache.values(), item, "cache", DiskAccess.PLAIN.cache()),
              choice(DiskAccess.Aio.values(), item, "aio", DiskAccess.PLAIN.aio()),
              flag(item, "discard"),
              flag(item, "iothread")));
    }

    private List<Nic> nics(String guest) {
      return each("nics", Group.NIC, (item, index) -> nic(item, (guest + "/" + index).hashCode()));
    }

    /// Names and addresses that are not given follow from the guest's name, so that the same
    /// document always makes the same network.
    private Nic nic(JsonNode item, int hash) {
      String mac =
          text(
              item,
              "mac",
              String.format(
                  Locale.ROOT,
                  "52:54:00:%02x:%02x:%02x",
                  hash & 255,
                  hash >> 8 & 255,
                  hash >> 16 & 255));
      Card card =
          new Card(
              choice(Card.Model.values(), item, "model", Card.PLAIN.model()),
              integer(item, "mtu"),
              integer(item, "queues").orElse(1),
              flag(item, "vhost"));
      if (flag(item, "user")) {
        if (item.hasNonNull("tap") || item.hasNonNull("bridge") || item.hasNonNull("macvtap")) {
          faults.add(at + "user: a card on a user-mode network has no tap, bridge or macvtap");
        }
        return new Nic("", Optional.empty(), mac, card, Optional.of(new UserMode(forwards(item))));
      }
      if (item.hasNonNull("forward")) {
        faults.add(at + "forward: needs user: true");
      }
      Optional<String> macvtap = optionalText(item, "macvtap");
      if (macvtap.isPresent() && item.hasNonNull("tap")) {
        faults.add(at + "macvtap: a card on a macvtap has no tap");
      }
      return new Nic(
          macvtap.orElseGet(() -> text(item, "tap", String.format(Locale.ROOT, "hf%08x", hash))),
          optionalText(item, "bridge"),
          mac,
          card,
          Optional.empty(),
          macvtap.isPresent());
    }

    private List<UserMode.Forward> forwards(JsonNode item) {
      List<UserMode.Forward> forwards = new ArrayList<>();
      JsonNode list = item.path("forward");
      if (list.isMissingNode() || list.isNull()) {
        return forwards;
      }
      if (!list.isArray()) {
        faults.add(at + "forward: is not a list");
      }
      for (JsonNode entry : list) {
        Matcher ports = FORWARD.matcher(entry.asString(""));
        if (!entry.isString() || !ports.matches()) {
          faults.add(
              at
                  + "forward: '"
                  + entry.asString("")
                  + "' is not ports such as 2222:22 or 127.0.0.1:5353:53/udp; put it in quotes");
          continue;
        }
        forwards.add(
            new UserMode.Forward(
                "udp".equals(ports.group(4)),
                Optional.ofNullable(ports.group(1)).orElse(LOOPBACK),
                Integer.parseInt(ports.group(2)),
                Integer.parseInt(ports.group(3))));
      }
      return forwards;
    }

    private Optional<Devices.CloudInit> cloudInit() {
      Optional<JsonNode> seed = mapping("cloud-init", Group.CLOUD_INIT);
      Optional<Devices.CloudInit> read =
          seed.map(node -> {
            if (!node.hasNonNull("user-data")) {
              faults.add(at + "user-data: is missing");
            }
            return new Devices.CloudInit(
                path(node, "user-data").orElse(base),
                path(node, "meta-data"),
                path(node, "network-config"));
          });
      at = "";
      return read;
    }

    private Optional<Devices.Screen> screen() {
      if (root.path("display").asString("").equals("none")) {
        return Optional.empty();
      }
      Optional<JsonNode> display = mapping("display", Group.DISPLAY);
      Optional<Devices.Screen> read =
          display.map(node -> {
            if (!node.hasNonNull("vnc")) {
              faults.add(at + "vnc: is missing");
            }
            return new Devices.Screen(
                address(text(node, "vnc", Devices.Address.Socket.WORD)),
                path(node, "password-file"));
          });
      at = "";
      return read;
    }

    private Devices.Address address(String text) {
      Matcher address = ADDRESS.matcher(text);
      if (address.matches()) {
        return new Devices.Address.Port(address.group(1), Integer.parseInt(address.group(2)));
      }
      if (!text.equals(Devices.Address.Socket.WORD)) {
        faults.add(at + "vnc: '" + text + "' is neither unix nor an address and a port");
      }
      return new Devices.Address.Socket();
    }

    /// The mapping of a key; the caller sets [#at] back.
    private Optional<JsonNode> mapping(String key, Group group) {
      JsonNode node = root.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return Optional.empty();
      }
      if (!node.isObject()) {
        faults.add(key + ": is not a mapping");
        return Optional.empty();
      }
      unknownKeys(node, group.keys(), key + ": ");
      at = key + ".";
      return Optional.of(node);
    }

    /// Reads each mapping of a list.
    private <T> List<T> each(String key, Group group, BiFunction<JsonNode, Integer, T> read) {
      JsonNode list = root.path(key);
      if (list.isMissingNode() || list.isNull()) {
        return List.of();
      }
      if (!list.isArray() || list.valueStream().anyMatch(item -> !item.isObject())) {
        faults.add(key + ": is not a list of mappings");
        return List.of();
      }
      List<T> all = new ArrayList<>();
      for (JsonNode item : list) {
        String where = key + "[" + all.size() + "]";
        unknownKeys(item, group.keys(), where + ": ");
        at = where + ".";
        all.add(read.apply(item, all.size()));
        at = "";
      }
      return all;
    }
  }
}
