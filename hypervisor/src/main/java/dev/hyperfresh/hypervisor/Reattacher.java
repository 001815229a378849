package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Finds, takes over and ends instances that an earlier daemon started, for one kind of hypervisor.
/// Thread-safe.
public interface Reattacher {
  /// An instance that an earlier daemon started.
  ///
  /// @param kind as in [Release#kind]; empty when it was not written down, which means the kind of
  ///   processes
  /// @param pid as in [Instance#pid]
  /// @param files the guest's folder
  /// @param generation as in [Instance#generation]
  /// @param start when the process was started, as [dev.hyperfresh.linux.Host#processStart] has it,
  ///   since its number may mean another one later; 0 of one that is not ended by its number
  record Survivor(String kind, int pid, Path files, int generation, long start) {}

  /// Takes, from a process that an earlier daemon started, what that daemon owned of the guest. The
  /// process keeps its own.
  ///
  /// @param release what the process runs
  /// @param guest whose they are; the process may serve others as well
  /// @param memories how many files its memory has
  /// @param queues how many queues of its cards are wanted, beginning with the first
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the process does not have them
  Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int queues);

  /// Takes over an instance that an earlier daemon started, whatever it is doing; the process keeps
  /// running whether this succeeds or not.
  ///
  /// @param launch as at its start, with the descriptors of [#holdings]
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer
  Instance attach(Launch launch, int pid);

  /// Whether an instance, which may have ended, has ever run the guest, from what it left behind. A
  /// host that loses its power may lose the end of that: of an instance of an earlier boot it may
  /// not be said that it has, although it has.
  ///
  /// @param files as in [Launch#files]
  /// @return empty when nothing tells
  Optional<Boolean> hasRun(Path files, int generation);

  /// All instances of this kind that hold the memory of a guest whose folder is in `guests`,
  /// written down or not.
  List<Survivor> survivors(Path guests);

  /// Ends what an earlier daemon left of rehearsals of the guests whose folders are in `guests`. No
  /// rehearsal of them may be under way in this daemon.
  void endRehearsals(Path guests);

  /// Whether an instance is there whose process is known to live.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when that cannot be told now
  boolean lives(Survivor instance);

  /// As [Instance#hasOwnProcess].
  boolean hasOwnProcess(Survivor instance);

  /// Lets an instance go on that an earlier daemon may have stopped where it stood.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it cannot be reached; nothing happened
  void goOn(Survivor instance);

  /// Ends an instance that can never be its guest's authority any more, without another guest
  /// noticing, and waits for its end.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it is not certain to be gone
  void end(Survivor instance);
}
