package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.Devices.Address;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
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
import dev.hyperfresh.hypervisor.UserMode;
import dev.hyperfresh.hypervisor.UserMode.Forward;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
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
    put(spec.firmware());
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
      put("disk." + i, disk.drive());
      put("disk." + i, disk.access());
    }
    for (int i = 0; i < spec.nics().size(); i++) {
      String key = "nic." + i;
      Nic nic = spec.nics().get(i);
      set(key, nic.tap());
      set(key + ".mac", nic.mac());
      nic.bridge().ifPresent(bridge -> set(key + ".bridge", bridge));
      put(key, nic.card());
      nic.user().ifPresent(user -> put(key + ".user", user));
      setIf(nic.macvtap(), key + ".macvtap");
    }
    put(spec.devices());
  }

  // What a spec does not say is not written, so that older daemons read what they know.

  private void put(String key, DiskDrive drive) {
    if (drive.bus() != DiskDrive.PLAIN.bus()) {
      set(key + ".bus", drive.bus().name());
    }
    setIf(drive.cdrom(), key + ".cdrom");
    drive.serial().ifPresent(serial -> set(key + ".serial", serial));
    drive.boot().ifPresent(place -> set(key + ".boot", Integer.toString(place)));
  }

  private void put(String key, DiskAccess access) {
    if (access.cache() != DiskAccess.PLAIN.cache()) {
      set(key + ".cache", access.cache().name());
    }
    if (access.aio() != DiskAccess.PLAIN.aio()) {
      set(key + ".aio", access.aio().name());
    }
    setIf(access.discard(), key + ".discard");
    setIf(access.ioThread(), key + ".iothread");
  }

  private void put(String key, Card card) {
    if (card.model() != Card.PLAIN.model()) {
      set(key + ".model", card.model().name());
    }
    card.mtu().ifPresent(mtu -> set(key + ".mtu", Integer.toString(mtu)));
    if (card.queues() != 1) {
      set(key + ".queues", Integer.toString(card.queues()));
    }
    setIf(card.vhost(), key + ".vhost");
  }

  private void put(String key, UserMode user) {
    set(key, "");
    for (int i = 0; i < user.forwards().size(); i++) {
      Forward forward = user.forwards().get(i);
      String port = key + "." + i;
      set(port, forward.address());
      set(port + ".port", Integer.toString(forward.port()));
      set(port + ".guest", Integer.toString(forward.guestPort()));
      setIf(forward.udp(), port + ".udp");
    }
  }

  private void put(Devices devices) {
    setIf(devices.rng(), "rng");
    setIf(devices.balloon(), "balloon");
    devices
        .cloudInit()
        .ifPresent(seed -> {
          set("seed.user", seed.userData().toString());
          seed.metaData().ifPresent(file -> set("seed.meta", file.toString()));
          seed.networkConfig().ifPresent(file -> set("seed.network", file.toString()));
        });
    devices
        .screen()
        .ifPresent(screen -> {
          switch (screen.address()) {
            case Address.Socket _ -> set("screen", Address.Socket.WORD);
            case Address.Port port -> {
              set("screen", port.host());
              set("screen.port", Integer.toString(port.port()));
            }
          }
          screen.password().ifPresent(file -> set("screen.password", file.toString()));
        });
  }

  private void setIf(boolean holds, String key) {
    if (holds) {
      set(key, "true");
    }
  }

  private void put(Firmware firmware) {
    if (firmware.kind() != Firmware.DEFAULT.kind()) {
      set("firmware", firmware.kind().name());
    }
    setIf(firmware.tpm(), "tpm");
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
        devices(),
        new Firmware(
            Firmware.Kind.valueOf(find("firmware").orElse(Firmware.Kind.BIOS.name())),
            holds("tpm")));
  }

  private Devices devices() {
    return new Devices(
        holds("rng"),
        holds("balloon"),
        find("seed.user")
            .map(user ->
                new Devices.CloudInit(
                    Path.of(user),
                    find("seed.meta").map(Path::of),
                    find("seed.network").map(Path::of))),
        find("screen")
            .map(where ->
                new Devices.Screen(address(where), find("screen.password").map(Path::of))));
  }

  private Address address(String where) {
    return where.equals(Address.Socket.WORD)
        ? new Address.Socket()
        : new Address.Port(where, Integer.parseInt(get("screen.port")));
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
              Boolean.parseBoolean(get(key + ".readonly")),
              new DiskDrive(
                  DiskDrive.Bus.valueOf(find(key + ".bus").orElse(DiskDrive.PLAIN.bus().name())),
                  holds(key + ".cdrom"),
                  find(key + ".serial"),
                  number(key + ".boot")),
              new DiskAccess(
                  DiskAccess.Cache.valueOf(
                      find(key + ".cache").orElse(DiskAccess.PLAIN.cache().name())),
                  DiskAccess.Aio.valueOf(find(key + ".aio").orElse(DiskAccess.PLAIN.aio().name())),
                  holds(key + ".discard"),
                  holds(key + ".iothread"))));
    }
    return disks;
  }

  private List<Nic> nics() {
    List<Nic> nics = new ArrayList<>();
    for (int i = 0; find("nic." + i).isPresent(); i++) {
      String key = "nic." + i;
      nics.add(
          new Nic(
              get(key),
              find(key + ".bridge"),
              get(key + ".mac"),
              new Card(
                  Card.Model.valueOf(find(key + ".model").orElse(Card.PLAIN.model().name())),
                  number(key + ".mtu"),
                  number(key + ".queues").orElse(1),
                  holds(key + ".vhost")),
              find(key + ".user").map(_ -> user(key + ".user")),
              holds(key + ".macvtap")));
    }
    return nics;
  }

  private UserMode user(String key) {
    List<Forward> forwards = new ArrayList<>();
    for (int i = 0; find(key + "." + i).isPresent(); i++) {
      String port = key + "." + i;
      forwards.add(
          new Forward(
              holds(port + ".udp"),
              get(port),
              Integer.parseInt(get(port + ".port")),
              Integer.parseInt(get(port + ".guest"))));
    }
    return new UserMode(forwards);
  }

  private boolean holds(String key) {
    return find(key).map(Boolean::parseBoolean).orElse(false);
  }

  private OptionalInt number(String key) {
    return find(key)
        .map(number -> OptionalInt.of(Integer.parseInt(number)))
        .orElse(OptionalInt.empty());
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
