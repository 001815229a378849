package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
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
      new MachineIdentity(Map.of(), List.of(), List.of(), "", Map.of());

  private ForeignLines() {}

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
        Accelerator.TCG,
        1,
        512L << 20,
        files.stream().map(file -> new LiveMachine.Image(file, "qcow2", false)).toList(),
        new TreeSet<>(files),
        devices,
        nameless,
        IDENTITY,
        List.of(),
        List.of());
  }

  /// A machine with devices that have no names.
  static LiveMachine with(MachineIdentity.Device... nameless) {
    LiveMachine live = live(Set.of(), nameless.length, List.of());
    return new LiveMachine(
        live.version(),
        live.machine(),
        live.defaultCpu(),
        live.accelerator(),
        live.vcpus(),
        live.memoryBytes(),
        live.images(),
        live.files(),
        live.devices(),
        live.namelessDevices(),
        new MachineIdentity(Map.of(), List.of(nameless), List.of(), "", Map.of()),
        List.of(),
        List.of());
  }

  /// Reads a whole line.
  static ForeignCommandLine whole(List<String> line, LiveMachine live) {
    return new ForeignCommandLine(line, FOLDER, FILES, "web1", live);
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
