package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.MemoryLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The part of a [GuestFile] that is a guest's spec.
final class SpecProperties {
  private final Properties p;

  /// Begins the name of each property.
  private final String prefix;

  private SpecProperties(Properties p, String prefix) {
    this.p = p;
    this.prefix = prefix;
  }

  /// Writes `spec` under names that begin with `prefix`.
  static void put(Properties p, String prefix, GuestSpec spec) {
    new SpecProperties(p, prefix).put(spec);
  }

  /// Reads what [#put] wrote.
  ///
  /// @throws IllegalArgumentException when a property is missing or not understood
  static GuestSpec read(Properties p, String prefix) {
    return new SpecProperties(p, prefix).spec();
  }

  private void put(GuestSpec spec) {
    set("name", spec.name());
    set("vcpus", Integer.toString(spec.vcpus()));
    set("memory", Long.toString(spec.memoryBytes()));
    set("machine", spec.machine());
    set("cpu", spec.cpu());
    set("wish", spec.accelerator().name());
    set("agent", Boolean.toString(spec.agent()));
    set("clock", spec.clock().name());
    set("on-crash", spec.ends().onCrash().name());
    set("on-reboot", spec.ends().onReboot().name());
    set("on-poweroff", spec.ends().onPoweroff().name());
    set("firmware", spec.firmware().kind().name());
    set("tpm", Boolean.toString(spec.firmware().tpm()));
    put(spec.layout());
    spec.boot()
        .ifPresent(boot -> {
          set("kernel", boot.kernel().toString());
          boot.initrd().ifPresent(initrd -> set("initrd", initrd.toString()));
          set("cmdline", boot.commandLine());
        });
    for (int i = 0; i < spec.disks().size(); i++) {
      Disk disk = spec.disks().get(i);
      set("disk." + i, disk.path().toString());
      set("disk." + i + ".format", disk.format().name());
      set("disk." + i + ".readonly", Boolean.toString(disk.readOnly()));
    }
    for (int i = 0; i < spec.nics().size(); i++) {
      String key = "nic." + i;
      Nic nic = spec.nics().get(i);
      set(key, nic.tap());
      set(key + ".mac", nic.mac());
      nic.bridge().ifPresent(bridge -> set(key + ".bridge", bridge));
    }
  }

  private void put(MemoryLayout layout) {
    layout.hugePageBytes().ifPresent(bytes -> set("hugepage", Long.toString(bytes)));
    for (int i = 0; i < layout.nodes().size(); i++) {
      String key = "node." + i;
      MemoryLayout.Node node = layout.nodes().get(i);
      set(key, Long.toString(node.memoryBytes()));
      set(key + ".vcpus", text(node.vcpus()));
      set(key + ".host-nodes", text(node.hostNodes()));
    }
  }

  private void set(String key, String value) {
    p.setProperty(prefix + key, value);
  }

  /// What older daemons did not write down is as it was under them.
  private GuestSpec spec() {
    Optional<KernelBoot> boot =
        find("kernel")
            .map(kernel ->
                new KernelBoot(Path.of(kernel), find("initrd").map(Path::of), get("cmdline")));
    return new GuestSpec(
        get("name"),
        Integer.parseInt(get("vcpus")),
        Long.parseLong(get("memory")),
        get("machine"),
        get("cpu"),
        AcceleratorWish.valueOf(get("wish")),
        boot,
        disks(),
        nics(),
        Boolean.parseBoolean(find("agent").orElse("false")),
        ClockPolicy.valueOf(find("clock").orElse(ClockPolicy.KEEP.name())),
        new EndPolicy(
            then("on-crash", EndPolicy.DEFAULT.onCrash()),
            then("on-reboot", EndPolicy.DEFAULT.onReboot()),
            then("on-poweroff", EndPolicy.DEFAULT.onPoweroff())),
        new MemoryLayout(
            find("hugepage")
                .map(bytes -> OptionalLong.of(Long.parseLong(bytes)))
                .orElse(OptionalLong.empty()),
            nodes()),
        new Firmware(
            Firmware.Kind.valueOf(find("firmware").orElse(Firmware.Kind.BIOS.name())),
            Boolean.parseBoolean(find("tpm").orElse("false"))));
  }

  private List<MemoryLayout.Node> nodes() {
    List<MemoryLayout.Node> nodes = new ArrayList<>();
    for (int i = 0; find("node." + i).isPresent(); i++) {
      String key = "node." + i;
      nodes.add(
          new MemoryLayout.Node(
              Long.parseLong(get(key)), numbers(key + ".vcpus"), numbers(key + ".host-nodes")));
    }
    return nodes;
  }

  private List<Integer> numbers(String key) {
    return get(key).isEmpty()
        ? List.of()
        : Stream.of(get(key).split(",")).map(Integer::valueOf).toList();
  }

  private static String text(List<Integer> numbers) {
    return numbers.stream().map(String::valueOf).collect(Collectors.joining(","));
  }

  private Then then(String key, Then otherwise) {
    return find(key).map(Then::valueOf).orElse(otherwise);
  }

  private List<Disk> disks() {
    List<Disk> disks = new ArrayList<>();
    for (int i = 0; find("disk." + i).isPresent(); i++) {
      String key = "disk." + i;
      disks.add(
          new Disk(
              Path.of(get(key)),
              Disk.Format.valueOf(get(key + ".format")),
              Boolean.parseBoolean(get(key + ".readonly"))));
    }
    return disks;
  }

  private List<Nic> nics() {
    List<Nic> nics = new ArrayList<>();
    for (int i = 0; find("nic." + i).isPresent(); i++) {
      String key = "nic." + i;
      nics.add(new Nic(get(key), find(key + ".bridge"), get(key + ".mac")));
    }
    return nics;
  }

  private String get(String key) {
    return find(key)
        .orElseThrow(
            () -> new IllegalArgumentException("the property " + prefix + key + " is missing"));
  }

  private Optional<String> find(String key) {
    return Optional.ofNullable(p.getProperty(prefix + key));
  }
}
