package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;

/// Command lines of a QEMU that something else started, read beside a machine that runs.
final class ForeignLines {
  static final Path FOLDER = Path.of("/srv/vm");
  static final Path FILES = Path.of("/var/lib/hyperfresh/guests/web1");

  /// A line of a guest that can be adopted.
  static final List<String> BASE =
      List.of(
          "-nodefaults",
          "-display",
          "none",
          "-machine",
          "q35,accel=kvm:tcg,memory-backend=ram",
          "-m",
          "512",
          "-object",
          "memory-backend-memfd,id=ram,size=512M,share=on");

  static final MachineIdentity IDENTITY =
      new MachineIdentity(Map.of(), List.of(), List.of(), "", SeenProcessor.UNKNOWN, Map.of());

  static final LiveProcessor PROCESSOR = new LiveProcessor("qemu64", Map.of(), Map.of(), List.of());

  /// One memory of 512 MiB, which lines call by either name.
  static final LiveMemory MEMORY =
      new LiveMemory(512L << 20, Map.of("ram", backend(512), "pc.ram", backend(512)));

  private ForeignLines() {}

  /// A memory that the host puts on these of its nodes, or on any.
  static LiveMemory.Backend backend(int mebibytes, Integer... nodes) {
    return new LiveMemory.Backend(
        (long) mebibytes << 20,
        OptionalLong.empty(),
        nodes.length == 0 ? "default" : "bind",
        List.of(nodes));
  }

  /// A machine of QEMU 7.2 with such memories.
  static LiveMachine with(LiveMemory memory) {
    LiveMachine live = live(Set.of(), 0, List.of());
    return new LiveMachine(
        live.version(),
        live.machine(),
        live.defaultCpu(),
        live.processor(),
        live.accelerator(),
        live.vcpus(),
        memory,
        live.images(),
        live.files(),
        live.devices(),
        live.namelessDevices(),
        live.identity(),
        live.roms(),
        live.vnc(),
        live.hostPorts(),
        live.sets(),
        live.obstacles());
  }

  /// A machine of QEMU 7.2.
  ///
  /// @param devices the names of those that have one
  /// @param files the qcow2 images that are open
  static LiveMachine live(Set<String> devices, int nameless, List<String> files) {
    return live("7.2.22", devices, nameless, files);
  }

  static LiveMachine live(String version, Set<String> devices, int nameless, List<String> files) {
    return new LiveMachine(
        version,
        "pc-q35-7.2",
        "qemu64",
        PROCESSOR,
        Accelerator.TCG,
        1,
        MEMORY,
        files.stream().map(file -> new LiveMachine.Image(file, "qcow2", false)).toList(),
        new TreeSet<>(files),
        devices,
        nameless,
        IDENTITY,
        List.of(),
        Optional.empty(),
        Set.of(),
        Map.of(),
        List.of());
  }

  /// The same machine with ports of the host, as [HostPort#open] has them.
  static LiveMachine forwarding(LiveMachine live, String... ports) {
    return new LiveMachine(
        live.version(),
        live.machine(),
        live.defaultCpu(),
        live.processor(),
        live.accelerator(),
        live.vcpus(),
        live.memory(),
        live.images(),
        live.files(),
        live.devices(),
        live.namelessDevices(),
        live.identity(),
        live.roms(),
        live.vnc(),
        Set.of(ports),
        live.sets(),
        live.obstacles());
  }

  /// A machine whose VNC servers listen there, as [VncServer#services] has it.
  static LiveMachine listening(String... services) {
    return with(PROCESSOR, 0, IDENTITY, Optional.of(Set.of(services)));
  }

  /// A machine with devices that have no names.
  static LiveMachine with(MachineIdentity.Device... nameless) {
    MachineIdentity identity =
        new MachineIdentity(
            Map.of(), List.of(nameless), List.of(), "", SeenProcessor.UNKNOWN, Map.of());
    return with(PROCESSOR, nameless.length, identity, Optional.empty());
  }

  static LiveMachine with(LiveProcessor processor) {
    return with(processor, 0, IDENTITY, Optional.empty());
  }

  private static LiveMachine with(
      LiveProcessor processor, int nameless, MachineIdentity identity, Optional<Set<String>> vnc) {
    LiveMachine live = live(Set.of(), nameless, List.of());
    return new LiveMachine(
        live.version(),
        live.machine(),
        live.defaultCpu(),
        processor,
        live.accelerator(),
        live.vcpus(),
        live.memory(),
        live.images(),
        live.files(),
        live.devices(),
        live.namelessDevices(),
        identity,
        live.roms(),
        vnc,
        live.hostPorts(),
        live.sets(),
        live.obstacles());
  }

  /// The same machine with images as they are reported, the files that are open, and a type.
  static LiveMachine opened(
      LiveMachine live, String machine, List<LiveMachine.Image> images, Set<String> files) {
    return new LiveMachine(
        live.version(),
        machine,
        live.defaultCpu(),
        live.processor(),
        live.accelerator(),
        live.vcpus(),
        live.memory(),
        images,
        files,
        live.devices(),
        live.namelessDevices(),
        live.identity(),
        live.roms(),
        live.vnc(),
        live.hostPorts(),
        live.sets(),
        live.obstacles());
  }

  /// Reads a whole line.
  static ForeignCommandLine whole(List<String> line, LiveMachine live) {
    return whole(line, Map.of(), live);
  }

  /// Reads a whole line of a process that was passed logs.
  static ForeignCommandLine whole(List<String> line, Map<String, Path> logs, LiveMachine live) {
    return new ForeignCommandLine(line, new ForeignFolders(FOLDER, FILES, logs), "web1", live);
  }

  /// Reads [#BASE] with more behind it.
  static ForeignCommandLine read(LiveMachine live, String... more) {
    List<String> arguments = new ArrayList<>(BASE);
    arguments.addAll(List.of(more));
    return whole(arguments, live);
  }

  static ForeignCommandLine read(String... more) {
    return read(live(Set.of(), 0, List.of()), more);
  }

  /// The words of a line against which nothing speaks.
  static String joined(ForeignCommandLine line) {
    assertThat(line.reasons()).isEmpty();
    return String.join(" ", line.words());
  }
}
