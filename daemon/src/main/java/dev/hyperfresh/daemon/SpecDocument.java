package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
  }
}
