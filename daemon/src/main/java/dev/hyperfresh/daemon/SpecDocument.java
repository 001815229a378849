package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.dataformat.yaml.YAMLMapper;
import tools.jackson.dataformat.yaml.YAMLParser;

/// A guest spec as a person writes it, in YAML. All faults of a document are found in one reading.
///
/// @param spec the guest
/// @param release the release to start with, or empty for the newest that knows the machine
public record SpecDocument(GuestSpec spec, Optional<String> release) {
  /// The longest document that is read.
  public static final int MAX_BYTES = 64 * 1024;

  private static final ObjectMapper YAML =
      YAMLMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();
  private static final Pattern SIZE = Pattern.compile("([0-9]{1,6})\\s*(M|MiB|G|GiB)");
  private static final Set<String> KEYS =
      Set.of(
          "name",
          "vcpus",
          "memory",
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
          "on-crash",
          "on-reboot",
          "on-poweroff");
  private static final Set<String> UNSTEADY_CPUS = Set.of("host", "max", "base");
  private static final Set<String> DISK_KEYS = Set.of("path", "format", "readonly");
  private static final Set<String> NIC_KEYS = Set.of("tap", "bridge", "mac");

  /// Reads `text`; relative paths in it start at `base`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_MALFORMED] or
  ///   [Problem#SPEC_INVALID], the latter with every fault
  public static SpecDocument parse(String text, Path base) {
    if (text.getBytes(StandardCharsets.UTF_8).length > MAX_BYTES) {
      throw Problem.SPEC_MALFORMED.because("The document is longer than 64 KiB.");
    }
    JsonNode root;
    try {
      refuseAliases(text);
      root = YAML.readTree(text);
    } catch (JacksonException e) {
      var at = e.getLocation();
      throw Problem.SPEC_MALFORMED.because(
          (at == null ? "" : "Line " + at.getLineNr() + ": ") + e.getOriginalMessage(), e);
    }
    if (root == null || !root.isObject()) {
      throw Problem.SPEC_MALFORMED.because("The document is not a mapping of fields to values.");
    }
    return new Reader(root, base).read();
  }

  // The tree would hold the name of the anchor in the place of what it stands for.
  private static void refuseAliases(String text) {
    try (YAMLParser parser = (YAMLParser) YAML.createParser(text)) {
      while (parser.nextToken() != null) {
        if (parser.isCurrentAlias()) {
          throw Problem.SPEC_MALFORMED.because(
              "Line "
                  + parser.currentTokenLocation().getLineNr()
                  + ": aliases are not supported; write the value out.");
        }
      }
    }
  }

  /// One reading of one document.
  private static final class Reader {
    private final JsonNode root;
    private final Path base;
    private final List<String> faults = new ArrayList<>();

    Reader(JsonNode root, Path base) {
      this.root = root;
      this.base = base;
    }

    SpecDocument read() {
      unknownKeys(root, KEYS, "");
      String name = text(root, "name", "");
      GuestSpec spec =
          new GuestSpec(
              name,
              vcpus(),
              memory(),
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
                  then("on-poweroff", EndPolicy.DEFAULT.onPoweroff())));
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

    private boolean flag(JsonNode node, String key) {
      JsonNode value = node.path(key);
      if (!value.isMissingNode() && !value.isNull() && !value.isBoolean()) {
        faults.add(key + ": is neither true nor false");
      }
      return value.asBoolean(false);
    }

    private long memory() {
      String text = root.hasNonNull("memory") ? root.path("memory").asString("") : "512M";
      Matcher size = SIZE.matcher(text);
      if (!size.matches()) {
        faults.add("memory: '" + text + "' is not a size such as 512M or 2G");
        return GuestSpec.MIN_MEMORY_BYTES;
      }
      return Long.parseLong(size.group(1)) << (size.group(2).startsWith("M") ? 20 : 30);
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

    private void unknownKeys(JsonNode node, Set<String> known, String where) {
      node.propertyNames().stream()
          .filter(key -> !known.contains(key))
          .forEach(key -> faults.add(where + "'" + key + "' is not a field"));
    }

    private String text(JsonNode node, String key, String otherwise) {
      return optionalText(node, key).orElse(otherwise);
    }

    private Optional<String> optionalText(JsonNode node, String key) {
      JsonNode value = node.path(key);
      if (value.isMissingNode() || value.isNull()) {
        return Optional.empty();
      }
      if (!value.isValueNode()) {
        faults.add(key + ": is not a plain value");
        return Optional.empty();
      }
      if (!value.isString()) {
        faults.add(key + ": is not a string; put it in quotes");
        return Optional.empty();
      }
      if (value.asString().isBlank() && !key.equals("cmdline")) {
        faults.add(key + ": is empty");
        return Optional.empty();
      }
      return Optional.of(value.asString());
    }

    private Optional<Path> path(JsonNode node, String key) {
      try {
        return optionalText(node, key).map(text -> base.resolve(text).normalize());
      } catch (InvalidPathException e) {
        faults.add(key + ": is not a path: " + e.getMessage());
        return Optional.empty();
      }
    }

    private <E extends Enum<E>> E choice(E[] values, JsonNode node, String key, E otherwise) {
      Optional<String> wanted = optionalText(node, key);
      if (wanted.isEmpty()) {
        return otherwise;
      }
      for (E value : values) {
        if (value.name().toLowerCase(Locale.ROOT).equals(wanted.get())) {
          return value;
        }
      }
      faults.add(
          key
              + ": '"
              + wanted.get()
              + "' is not one of "
              + String.join(
                  ", ",
                  List.of(values).stream().map(v -> v.name().toLowerCase(Locale.ROOT)).toList()));
      return otherwise;
    }
  }
}
