package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Problem;
import java.util.Optional;

/// What only one process can have of a guest, such as an address: an instance starts without it and
/// takes it when no other one is left.
///
/// @param otherwise what is amiss without it, a clause that begins like a sentence
/// @param remedy what to do about it, a sentence and a blank, or nothing
/// @param taking has a QEMU take it
record TakenLater(String otherwise, String remedy, Taking taking) {
  /// Somebody else has it.
  static final String FREE = "Free that. ";

  /// Has a QEMU take something, unless it has it already.
  interface Taking {
    /// @param pid of the QEMU's process
    /// @throws Qmp.QmpException when it cannot, or not all of it
    void by(MachineIdentity.Respondent qemu, int pid);
  }

  /// Takes it.
  ///
  /// @return what is amiss and what to do about it, in sentences
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#GUEST_STATE] when the QEMU does
  ///   not answer: whatever else it is to take would be waited for as long
  Optional<String> take(MachineIdentity.Respondent qemu, int pid) {
    try {
      taking.by(qemu, pid);
      return Optional.empty();
    } catch (Qmp.QmpException e) {
      if (e.unanswered()) {
        throw Problem.GUEST_STATE.because("Process " + pid + ": " + e.getMessage(), e);
      }
      return Optional.of(
          otherwise
              + ": "
              + e.getMessage()
              + ". "
              + remedy
              + "The next replacement and the next start of the daemon try again.");
    }
  }
}
