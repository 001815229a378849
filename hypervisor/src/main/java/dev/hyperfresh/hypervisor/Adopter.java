package dev.hyperfresh.hypervisor;

/// Takes over what something else started, for one kind of hypervisor. Thread-safe.
public interface Adopter {
  /// Looks at a process that something else started and takes, as [Reattacher#holdings] does, what
  /// a guest's owner needs of it. The guest runs on, and unless it can be moved later, nothing is
  /// changed. Memory that is private to the process is no reason against it where the request
  /// allows a copy; the holdings then have new, empty memory, into which it can be copied.
  ///
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED] with everything that keeps the guest from
  ///   moving, [Problem#ADOPT_UNFIT] when the process does not answer or is not what it should be
  Adoption adopt(AdoptRequest request);

  /// As [Reattacher#holdings], from the process that was adopted. Where its memory is private, that
  /// of the holdings is new and empty.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the process does not have them
  Holdings holdings(GuestSpec guest, int pid, AdoptedMachine machine);
}
