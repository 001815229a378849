package dev.hyperfresh.daemon;

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
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
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
  private static final Set<String> KEYS =
      Set.of(
          "name",
          "vcpus",
          "memory",
          "huge-pages",
          "numa",
          "machine",
          "cpu",
          "accelerator",
          "release",
          "kernel",
          "initrd",
          "cmdline",
          "disks",
          "nics",
          "agent",
          "clock",
          "firmware",
          "tpm",
          "on-crash",
          "on-reboot",
          "on-poweroff");
  private static final Set<String> UNSTEADY_CPUS = Set.of("host", "max", "base");
  private static final Pattern RANGE = Pattern.compile("([0-9]{1,4})(?:-([0-9]{1,4}))?");
  private static final int MOST_NUMBERS = 1024;
  private static final Set<String> NODE_KEYS = Set.of("memory", "vcpus", "host-nodes");
  private static final Set<String> DISK_KEYS = Set.of("path", "format", "readonly");
  private static final Set<String> NIC_KEYS = Set.of("tap", "bridge", "mac");

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
      unknownKeys(root, KEYS, "");
      String name = text(root, "name", "");
      GuestSpec spec =
          new GuestSpec(
              name,
              vcpus(),
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
              new Firmware(
                  choice(Firmware.Kind.values(), root, "firmware", Firmware.DEFAULT.kind()),
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

    private int vcpus() {
      JsonNode vcpus = root.path("vcpus");
      if (vcpus.isMissingNode() || vcpus.isNull()) {
        return 1;
      }
      if (!vcpus.isInt()) {
        faults.add("vcpus: '" + vcpus.asString("") + "' is not a whole number");
        return 1;
      }
      return vcpus.intValue();
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
        faults.add("memory: '" + text + "' is not a size such as 512M or 2G");
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
      List<MemoryLayout.Node> nodes = new ArrayList<>();
      for (JsonNode item : items("numa")) {
        unknownKeys(item, NODE_KEYS, "numa: ");
        nodes.add(
            new MemoryLayout.Node(
                memory(item, ""), numbers(item, "vcpus"), numbers(item, "host-nodes")));
      }
      return nodes;
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
          faults.add("numa: " + key + ": '" + text + "' is not numbers such as 0-3,8");
          return List.of();
        }
        int from = Integer.parseInt(range.group(1));
        int to = range.group(2) == null ? from : Integer.parseInt(range.group(2));
        IntStream.rangeClosed(from, to).forEach(numbers::add);
        if (numbers.size() > MOST_NUMBERS) {
          faults.add("numa: " + key + ": more than " + MOST_NUMBERS + " numbers");
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
      List<Disk> disks = new ArrayList<>();
      for (JsonNode item : items("disks")) {
        unknownKeys(item, DISK_KEYS, "disks: ");
        Optional<Path> path = path(item, "path");
        if (path.isEmpty()) {
          faults.add("disks: a disk has no path");
          continue;
        }
        if (!item.hasNonNull("format")) {
          // Taken for raw, a guest could turn its image into another format and read other files.
          faults.add("disks: " + path.get() + " has no format; write raw or qcow2");
        }
        disks.add(
            new Disk(
                path.get(),
                choice(Disk.Format.values(), item, "format", Disk.Format.RAW),
                flag(item, "readonly")));
      }
      return disks;
    }

    private List<Nic> nics(String guest) {
      List<Nic> nics = new ArrayList<>();
      for (JsonNode item : items("nics")) {
        unknownKeys(item, NIC_KEYS, "nics: ");
        // Names and addresses that are not given follow from the guest's name, so that the same
        // document always makes the same network.
        int hash = (guest + "/" + nics.size()).hashCode();
        nics.add(
            new Nic(
                text(item, "tap", String.format(Locale.ROOT, "hf%08x", hash)),
                optionalText(item, "bridge"),
                text(
                    item,
                    "mac",
                    String.format(
                        Locale.ROOT,
                        "52:54:00:%02x:%02x:%02x",
                        hash & 255,
                        hash >> 8 & 255,
                        hash >> 16 & 255))));
      }
      return nics;
    }

    private List<JsonNode> items(String key) {
      JsonNode list = root.path(key);
      if (list.isMissingNode() || list.isNull()) {
        return List.of();
      }
      if (!list.isArray() || list.valueStream().anyMatch(item -> !item.isObject())) {
        faults.add(key + ": is not a list of mappings");
        return List.of();
      }
      return list.valueStream().toList();
    }
  }
}
