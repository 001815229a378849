package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.ProcessRights;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// A machine that HyperFresh did not build: how its kind builds it again, and where the process
/// that ran it at first keeps its things. Instances of generation 1 are that process.
///
/// @param words how the kind builds it again; their meaning is the kind's alone
/// @param control the control socket of the first process
/// @param console the socket of its serial console, when it has one
/// @param memories in the order of [GuestMemory#parts]
/// @param ports in the order of the spec's cards
/// @param runAs as whom the first process ran, where that is not as the daemon
/// @param borrowed the number of the first process, when the guest has a manager that takes it
///   back; empty of a guest that was adopted for good. It tells what one loan of a guest leaves
///   behind from what the next one makes
public record AdoptedMachine(
    List<String> words,
    Path control,
    Optional<Path> console,
    List<Memory> memories,
    List<Port> ports,
    Optional<RunAs> runAs,
    OptionalInt borrowed) {
  public AdoptedMachine {
    words = List.copyOf(words);
    memories = List.copyOf(memories);
    ports = List.copyOf(ports);
  }

  /// One that was adopted for good.
  public AdoptedMachine(
      List<String> words,
      Path control,
      Optional<Path> console,
      List<Memory> memories,
      List<Port> ports,
      Optional<RunAs> runAs) {
    this(words, control, console, memories, ports, runAs, OptionalInt.empty());
  }

  /// One that was adopted for good, and whose process ran as the daemon does.
  public AdoptedMachine(
      List<String> words,
      Path control,
      Optional<Path> console,
      List<Memory> memories,
      List<Port> ports) {
    this(words, control, console, memories, ports, Optional.empty());
  }

  /// The same, built by other words.
  public AdoptedMachine with(List<String> others) {
    return new AdoptedMachine(others, control, console, memories, ports, runAs, borrowed);
  }

  /// As whom and where the first process ran, and so does every later instance.
  ///
  /// @param network the file of its network namespace, such as `/run/netns/NAME`, where that is not
  ///   the daemon's; [#NAMELESS] when there is no such file
  public record RunAs(ProcessRights rights, CgroupPlace cgroups, Optional<Path> network) {
    /// Of a namespace that is there only as long as a process is in it.
    public static final Path NAMELESS = Path.of("");
  }

  /// A file of the guest's memory.
  ///
  /// @param descriptor the number that it has in the first process; [#PRIVATE] when nobody else can
  ///   have that memory
  public record Memory(int descriptor, MemoryPart part) {
    /// In place of a descriptor: the first process has the memory for itself, and it is copied into
    /// such a file.
    public static final int PRIVATE = -1;

    /// What the first process has for itself, and is copied into `parts`.
    public static List<Memory> alone(List<MemoryPart> parts) {
      return parts.stream().map(part -> new Memory(PRIVATE, part)).toList();
    }
  }

  /// Of what its memory is made.
  public List<MemoryPart> parts() {
    return memories.stream().map(Memory::part).toList();
  }

  /// How a network card of the first process is attached.
  public sealed interface Port {
    /// How many queues it has.
    int queues();

    /// By queues of a tap that can have more.
    ///
    /// @param descriptors the numbers that the queues have in the first process
    record Kept(List<Integer> descriptors) implements Port {
      public Kept {
        descriptors = List.copyOf(descriptors);
      }

      @Override
      public int queues() {
        return descriptors.size();
      }
    }

    /// By a tap that cannot go on without the first process and is a port of `bridge`: later
    /// instances get a tap of HyperFresh's own making in the same bridge.
    record Bridged(String tap, String bridge, int queues) implements Port {}
  }

  /// How many queues each card with a tap has: what its spec says, or with how many the guest was
  /// adopted.
  ///
  /// @param adopted the machine of one that was
  public static List<Integer> queues(GuestSpec spec, Optional<AdoptedMachine> adopted) {
    return adopted
        .map(machine -> machine.ports().stream().map(Port::queues).toList())
        .orElseGet(() -> spec.taps().stream().map(nic -> nic.card().queues()).toList());
  }

  /// Whether the first process has the guest's memory for itself.
  public boolean hasPrivateMemory() {
    return memories.stream().anyMatch(memory -> memory.descriptor() == Memory.PRIVATE);
  }

  /// Whether an instance of this generation is the process that was adopted.
  public static boolean isFirst(int generation) {
    return generation == 1;
  }
}
