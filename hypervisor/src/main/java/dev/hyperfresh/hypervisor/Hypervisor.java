package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// A kind of hypervisor: `process` (a QEMU on this host), later others. Thread-safe.
public interface Hypervisor {
  /// The kind's name, as in [Release#kind].
  String kind();

  /// Whether this guest can run on this release, as far as spec and release tell. Touches neither
  /// guest nor host.
  List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator);

  /// Fixes, in the folder `launch.files()`, whatever later instances need to be the same machine on
  /// another release. Called once, before the first start.
  void pin(Launch launch);

  /// Starts an instance that boots the guest.
  ///
  /// @throws HyperFreshException [Problem#GUEST_START]
  Instance start(Launch launch);

  /// Starts an instance that waits for the guest's state and does not touch its memory.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  Instance startWaiting(Launch launch);

  /// Takes, from a process that an earlier daemon started, what that daemon owned of the guest. The
  /// process keeps its own.
  ///
  /// @param nics how many cards the guest has
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the process does not have them
  Holdings holdings(int pid, int nics);

  /// Takes over an instance that an earlier daemon started, whatever it is doing; the process keeps
  /// running whether this succeeds or not.
  ///
  /// @param launch as at its start, with the descriptors of [#holdings]
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer
  Instance attach(Launch launch, int pid);

  /// Whether an instance, which may have ended, has ever run the guest, from what it left behind. A
  /// hypervisor that wraps another must pass this on.
  ///
  /// @param files as in [Launch#files]
  /// @return empty when nothing tells
  default Optional<Boolean> hasRun(Path files, int generation) {
    return Optional.empty();
  }

  /// All processes of this kind that hold the memory of a guest whose folder is in `guests`,
  /// written down or not. A hypervisor that wraps another must pass this on.
  default List<Survivor> survivors(Path guests) {
    return List.of();
  }

  /// A process that was started for a guest.
  ///
  /// @param files the guest's folder
  record Survivor(int pid, Path files) {}

  /// Looks at a process that something else started and takes, as [#holdings] does, what a guest's
  /// owner needs of it. The guest runs on, and unless it can be moved later, nothing is changed.
  ///
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED] with everything that keeps the guest from
  ///   moving, [Problem#ADOPT_UNFIT] when the process does not answer or is not what it should be
  default Adoption adopt(AdoptRequest request) {
    throw Problem.ADOPT_REFUSED.because("A " + kind() + " cannot be adopted.");
  }

  /// As [#holdings(int, int)], from the process that was adopted.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the process does not have them
  default Holdings holdings(int pid, AdoptedMachine machine) {
    throw Problem.GUEST_STATE.because("A " + kind() + " cannot be adopted.");
  }

  /// A guest's memory and the queues of its network cards; the caller owns all of them.
  record Holdings(Fd memory, List<Fd> nicQueues) {
    public Holdings {
      nicQueues = List.copyOf(nicQueues);
    }
  }
}
