package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// A kind of hypervisor: `process` (a QEMU on this host) or `machine` (one in a virtual machine of
/// its own), or several kinds together ([Kinds]). Thread-safe.
public interface Hypervisor {
  /// The kind's name, as in [Release#kind].
  String kind();

  /// Whether guests can be started on `release` here. A hypervisor that wraps another must pass
  /// this on.
  default boolean runs(Release release) {
    return release.kind().equals(kind());
  }

  /// What a guest that is made on `release` is to be executed by. A hypervisor that wraps another
  /// must pass this on.
  ///
  /// @param host what `/dev/kvm` was seen to do on this host
  /// @throws HyperFreshException [Problem#HOST_MISSING] when what the guest insists on is not there
  default AcceleratorChoice accelerator(
      GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host) {
    return AcceleratorChoice.choose(wish, host);
  }

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
  /// @param release what the process runs
  /// @param guest whose they are; the process may serve others as well
  /// @param nics of how many of its cards the queues are wanted, beginning with the first
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the process does not have them
  Holdings holdings(Release release, GuestSpec guest, int pid, int nics);

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

  /// All instances of this kind that hold the memory of a guest whose folder is in `guests`,
  /// written down or not. A hypervisor that wraps another must pass this on.
  default List<Survivor> survivors(Path guests) {
    return List.of();
  }

  /// Ends what an earlier daemon left of rehearsals of the guests whose folders are in `guests`. No
  /// rehearsal of them may be under way in this daemon. A hypervisor that wraps another must pass
  /// this on.
  default void endRehearsals(Path guests) {}

  /// An instance that an earlier daemon started.
  ///
  /// @param kind as in [Release#kind]; empty when it was not written down, which means the kind of
  ///   processes
  /// @param pid as in [Instance#pid]
  /// @param files the guest's folder
  /// @param generation as in [Instance#generation]
  record Survivor(String kind, int pid, Path files, int generation) {}

  /// Whether an instance is there whose process is known to live. A hypervisor that wraps another
  /// must pass this on.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when that cannot be told now
  default boolean lives(Survivor instance) {
    return true;
  }

  /// As [Instance#hasOwnProcess]. A hypervisor that wraps another must pass this on.
  default boolean hasOwnProcess(Survivor instance) {
    return true;
  }

  /// Lets an instance go on that an earlier daemon may have stopped where it stood. A hypervisor
  /// that wraps another must pass this on.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it cannot be reached; nothing happened
  default void goOn(Survivor instance) {
    try (PidFd process = PidFd.open(instance.pid())) {
      process.signal(Signals.CONT);
    } catch (LinuxException e) {
      throw Problem.GUEST_STATE.because("Process " + instance.pid() + ": " + e.getMessage(), e);
    }
  }

  /// Ends an instance that can never be its guest's authority any more, without another guest
  /// noticing, and waits for its end. A hypervisor that wraps another must pass this on.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it is not certain to be gone
  default void end(Survivor instance) {
    try (PidFd process = PidFd.open(instance.pid())) {
      process.signal(Signals.KILL);
      if (!process.awaitExit(Duration.ofSeconds(10))) {
        throw Problem.GUEST_STATE.because("Process " + instance.pid() + " does not die.");
      }
    } catch (LinuxException e) {
      throw Problem.GUEST_STATE.because("Process " + instance.pid() + ": " + e.getMessage(), e);
    }
  }

  /// Looks at a process that something else started and takes, as [#holdings] does, what a guest's
  /// owner needs of it. The guest runs on, and unless it can be moved later, nothing is changed.
  ///
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED] with everything that keeps the guest from
  ///   moving, [Problem#ADOPT_UNFIT] when the process does not answer or is not what it should be
  default Adoption adopt(AdoptRequest request) {
    throw Problem.ADOPT_REFUSED.because("A " + kind() + " cannot be adopted.");
  }

  /// As [#holdings(Release, GuestSpec, int, int)], from the process that was adopted.
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
