package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryLayout;
import java.util.ArrayList;
import java.util.List;

/// A guest's spec as the arguments of a QEMU. Two releases get the same arguments for the same
/// spec: what differs between them would be another machine to the guest.
final class CommandLine {
  static final String SANDBOX =
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

  /// What begins the names of memories.
  private static final String RAM = "ram";

  /// How many threads fill a memory at most.
  private static final int MOST_FILLING = 16;

  private CommandLine() {}

  /// The command for `launch`; with `waiting` it expects the guest's state instead of booting.
  static List<String> of(Launch launch, QemuRelease release, boolean waiting) {
    return launch
        .adopted()
        .map(machine -> adopted(words(machine, launch, waiting), launch, release, waiting))
        .orElseGet(() -> line(launch, program(release), waiting, Backends.OfGuest.of(launch)));
  }

  /// What only one process can have of a guest, in words that say so.
  static AdoptedWords takenLater(Launch launch) {
    return launch
        .adopted()
        .map(machine -> new AdoptedWords(machine.words()))
        .orElseGet(() -> DeviceWords.takenLater(launch.spec()));
  }

  private static List<String> words(AdoptedMachine machine, Launch launch, boolean waiting) {
    AdoptedWords words = new AdoptedWords(machine.words());
    List<String> line =
        waiting ? words.silent() : words.filled(machine.parts(), launch.spec().vcpus()).booting();
    return SpiceServer.beside(launch)
        .map(server -> new AdoptedWords(line).with(server).words())
        .orElse(line);
  }

  /// The machine that something else built at first.
  private static List<String> adopted(
      List<String> words, Launch launch, QemuRelease release, boolean waiting) {
    List<String> line = new ArrayList<>(release.program());
    // They begin with the folder of the guest's own firmware, which comes before the release's.
    line.addAll(onThisHost(new AdoptedWords(words), launch).words());
    line.addAll(release.arguments());
    release.bootRoms().ifPresent(folder -> add(line, "-L", folder.toString()));
    line.addAll(RunStates.arguments());
    if (waiting) {
      add(line, "-incoming", "defer");
    }
    return line;
  }

  private static AdoptedWords onThisHost(AdoptedWords words, Launch launch) {
    return words.vhost().isPresent() && !VhostNet.isUsable(LocalQemu.user(launch))
        ? words.withoutVhost()
        : words;
  }

  /// The same machine for a rehearsal: it runs no instruction, whatever it is told by its stream.
  ///
  /// @param launch with stand-ins in the words of one that was adopted
  /// @param backends of one that was not
  static List<String> ofRehearsal(
      Launch launch, QemuRelease release, boolean waiting, Backends.OfRehearsal backends) {
    List<String> line =
        launch
            .adopted()
            .map(machine -> adopted(machine.words(), launch, release, waiting))
            .orElseGet(() -> line(launch, program(release), waiting, backends));
    add(line, "-S");
    return line;
  }

  private static List<String> program(QemuRelease release) {
    List<String> program = new ArrayList<>(release.program());
    program.addAll(release.arguments());
    return program;
  }

  /// The same machine on `backends`, wherever they are.
  ///
  /// @param program the emulator and the arguments that every start of it needs
  static List<String> line(
      Launch launch, List<String> program, boolean waiting, Backends backends) {
    GuestSpec spec = launch.spec();
    List<String> line = new ArrayList<>(program);
    add(line, "-name", "guest=" + backends.name(spec) + ",debug-threads=on");
    add(line, "-nodefaults", "-no-user-config");
    add(line, "-display", "none");
    if (spec.ends().endsAtReboot()) {
      add(line, "-no-reboot");
    }
    // spawn=deny also forbids helpers such as bridge scripts, which this project never uses.
    add(line, "-sandbox", SANDBOX);
    // One line in the log for each change, so that a process that is gone still tells whether it
    // ever ran the guest.
    line.addAll(RunStates.arguments());
    boolean nodes = !spec.layout().nodes().isEmpty();
    String flash = UefiFiles.machine(spec.firmware().kind());
    add(line, "-machine", spec.machine() + (nodes ? "" : ",memory-backend=" + RAM) + flash);
    line.addAll(backends.firmware());
    line.addAll(UefiFiles.protection(spec.firmware().kind()));
    add(line, "-accel", launch.accelerator().label());
    add(line, "-cpu", spec.cpu());
    add(line, "-smp", Integer.toString(spec.vcpus()));
    add(line, "-m", mebibytes(spec.memoryBytes()));
    if (nodes) {
      boolean fills =
          !waiting
              && backends instanceof Backends.OfGuest
              && spec.layout().hugePageBytes().isPresent();
      nodes(line, spec.layout().nodes(), backends, fills ? filled(spec.vcpus()) : "");
    } else {
      add(line, "-object", memory(RAM, spec.memoryBytes(), backends.memory(0)));
    }
    add(line, "-chardev", backends.monitor());
    add(line, "-mon", "chardev=qmp,mode=control");
    line.addAll(backends.console());
    add(line, "-serial", "chardev:console");
    spec.boot().ifPresent(boot -> kernel(line, boot, backends));
    line.addAll(new DeviceWords(spec, Seed.disks(launch), backends).all());
    if (spec.firmware().tpm()) {
      add(line, "-chardev", "socket,id=tpm,fd=" + Descriptors.TPM);
      add(line, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0");
    }
    if (waiting) {
      add(line, "-incoming", "defer");
    }
    return line;
  }

  /// Has a memory filled with pages before the guest boots. The host keeps huge pages for it, and
  /// not whether they are on the nodes that it is bound to: where they are not, the guest would be
  /// killed when it touches them.
  static String filled(int threads) {
    return ",prealloc=on,prealloc-threads=" + Math.min(threads, MOST_FILLING);
  }

  /// @param filled as [#filled], of a memory that is bound to nodes of the host
  private static void nodes(
      List<String> line, List<MemoryLayout.Node> nodes, Backends backends, String filled) {
    for (int i = 0; i < nodes.size(); i++) {
      MemoryLayout.Node node = nodes.get(i);
      String id = RAM + i;
      StringBuilder memory = new StringBuilder(memory(id, node.memoryBytes(), backends.memory(i)));
      if (!node.hostNodes().isEmpty()) {
        memory.append(",policy=bind");
        node.hostNodes().forEach(host -> memory.append(",host-nodes=" + host));
        memory.append(filled);
      }
      StringBuilder numa = new StringBuilder("node,nodeid=" + i + ",memdev=" + id);
      node.vcpus().forEach(vcpu -> numa.append(",cpus=" + vcpu));
      add(line, "-object", memory.toString(), "-numa", numa.toString());
    }
  }

  private static String memory(String id, long bytes, String where) {
    return "memory-backend-file,id=" + id + ",size=" + mebibytes(bytes) + "," + where + ",share=on";
  }

  private static String mebibytes(long bytes) {
    return (bytes >> 20) + "M";
  }

  private static void kernel(List<String> line, GuestSpec.KernelBoot boot, Backends backends) {
    add(line, "-kernel", backends.kernel());
    boot.initrd().ifPresent(_ -> add(line, "-initrd", backends.initrd()));
    add(line, "-append", boot.commandLine());
  }

  private static void add(List<String> line, String... arguments) {
    line.addAll(List.of(arguments));
  }
}
