package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.ProcessRights;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Properties;
import java.util.stream.Collectors;

/// The part of a [GuestFile] that only guests have which HyperFresh did not start.
final class AdoptedProperties {
  private static final String CONTROL = "adopted.control";
  private static final String CONSOLE = "adopted.console";
  private static final String MEMORY = "adopted.memory.";
  private static final String BYTES = ".bytes";
  private static final String HUGE_PAGE = ".hugepage";

  /// As earlier daemons know the only memory: its descriptor alone, of ordinary pages.
  private static final String ONLY_MEMORY = "adopted.memory";

  private static final String WORD = "adopted.word.";
  private static final String PORT = "adopted.port.";
  private static final String BRIDGE = ".bridge";
  private static final String QUEUES = ".queues";
  private static final String RIGHTS = "adopted.rights";
  private static final String CGROUP = "adopted.cgroup.";
  private static final String NETWORK = "adopted.network";
  private static final String BORROWED = "adopted.borrowed";

  private AdoptedProperties() {}

  static void put(Properties p, AdoptedMachine machine) {
    p.setProperty(CONTROL, machine.control().toString());
    machine.console().ifPresent(console -> p.setProperty(CONSOLE, console.toString()));
    for (int i = 0; i < machine.memories().size(); i++) {
      put(p, MEMORY + i, machine.memories().get(i));
    }
    if (machine.memories().size() == 1 && isOrdinary(machine.memories().getFirst())) {
      p.setProperty(ONLY_MEMORY, Integer.toString(machine.memories().getFirst().descriptor()));
    }
    for (int i = 0; i < machine.words().size(); i++) {
      p.setProperty(WORD + i, machine.words().get(i));
    }
    for (int i = 0; i < machine.ports().size(); i++) {
      switch (machine.ports().get(i)) {
        case Port.Kept kept ->
            p.setProperty(
                PORT + i,
                kept.descriptors().stream().map(String::valueOf).collect(Collectors.joining(" ")));
        case Port.Bridged bridged -> {
          p.setProperty(PORT + i, bridged.tap());
          p.setProperty(PORT + i + BRIDGE, bridged.bridge());
          p.setProperty(PORT + i + QUEUES, Integer.toString(bridged.queues()));
        }
      }
    }
    machine.runAs().ifPresent(runAs -> put(p, runAs));
    machine.borrowed().ifPresent(process -> p.setProperty(BORROWED, Integer.toString(process)));
  }

  private static void put(Properties p, RunAs runAs) {
    p.setProperty(RIGHTS, runAs.rights().text());
    List<Path> folders = runAs.cgroups().folders();
    for (int i = 0; i < folders.size(); i++) {
      p.setProperty(CGROUP + i, folders.get(i).toString());
    }
    runAs.network().ifPresent(file -> p.setProperty(NETWORK, file.toString()));
  }

  private static Optional<RunAs> runAs(Properties p) {
    List<Path> folders = new ArrayList<>();
    for (int i = 0; p.containsKey(CGROUP + i); i++) {
      folders.add(Path.of(p.getProperty(CGROUP + i)));
    }
    // Files that an older daemon wrote have none.
    return Optional.ofNullable(p.getProperty(RIGHTS))
        .map(rights ->
            new RunAs(
                ProcessRights.parse(rights),
                new CgroupPlace(folders),
                Optional.ofNullable(p.getProperty(NETWORK)).map(Path::of)));
  }

  private static boolean isOrdinary(Memory memory) {
    return memory.descriptor() != Memory.PRIVATE && memory.part().hugePageBytes().isEmpty();
  }

  private static void put(Properties p, String name, Memory memory) {
    MemoryPart part = memory.part();
    p.setProperty(name, Integer.toString(memory.descriptor()));
    p.setProperty(name + BYTES, Long.toString(part.bytes()));
    part.hugePageBytes().ifPresent(bytes -> p.setProperty(name + HUGE_PAGE, Long.toString(bytes)));
  }

  /// @param spec the rest of what was written
  static Optional<AdoptedMachine> read(Properties p, GuestSpec spec) {
    if (!p.containsKey(CONTROL)) {
      return Optional.empty();
    }
    List<String> words = new ArrayList<>();
    for (int i = 0; p.containsKey(WORD + i); i++) {
      words.add(p.getProperty(WORD + i));
    }
    return Optional.of(
        new AdoptedMachine(
            words,
            Path.of(p.getProperty(CONTROL)),
            Optional.ofNullable(p.getProperty(CONSOLE)).map(Path::of),
            memories(p, spec),
            ports(p),
            runAs(p),
            borrowed(p)));
  }

  private static OptionalInt borrowed(Properties p) {
    String process = p.getProperty(BORROWED);
    return process == null ? OptionalInt.empty() : OptionalInt.of(Integer.parseInt(process));
  }

  private static List<Memory> memories(Properties p, GuestSpec spec) {
    if (p.containsKey(ONLY_MEMORY) && !p.containsKey(MEMORY + 0)) {
      int descriptor = Integer.parseInt(p.getProperty(ONLY_MEMORY));
      return List.of(new Memory(descriptor, MemoryPart.ordinary(spec.memoryBytes())));
    }
    List<Memory> memories = new ArrayList<>();
    for (int i = 0; i == 0 || p.containsKey(MEMORY + i); i++) {
      String huge = p.getProperty(MEMORY + i + HUGE_PAGE);
      MemoryPart part =
          new MemoryPart(
              Long.parseLong(p.getProperty(MEMORY + i + BYTES, "")),
              huge == null ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(huge)));
      memories.add(new Memory(Integer.parseInt(p.getProperty(MEMORY + i, "")), part));
    }
    return memories;
  }

  private static List<Port> ports(Properties p) {
    List<Port> ports = new ArrayList<>();
    for (int i = 0; p.containsKey(PORT + i); i++) {
      String value = p.getProperty(PORT + i);
      String bridge = p.getProperty(PORT + i + BRIDGE);
      ports.add(
          bridge == null
              ? new Port.Kept(Arrays.stream(value.split(" ")).map(Integer::valueOf).toList())
              : new Port.Bridged(
                  value, bridge, Integer.parseInt(p.getProperty(PORT + i + QUEUES, "1"))));
    }
    return ports;
  }
}
