package dev.hyperfresh.hyperplexor;

/// Why a guest stands that its hypervisor still has.
sealed interface Standing {
  /// It does not.
  record No() implements Standing {}

  /// The hypervisor did not answer, or would not go on; it is tried again when it answers.
  record Waits(String why) implements Standing {}

  /// A target that may have run the guest could not be ended yet.
  record Blocked(String why) implements Standing {}

  /// Somebody may have run the guest since.
  record Doubt(String why) implements Standing {}

  /// The same for people, or empty.
  default String detail() {
    return switch (this) {
      case No _ -> "";
      case Waits waits -> "paused: " + waits.why();
      case Blocked blocked -> "paused: " + blocked.why();
      case Doubt doubt -> "paused: " + doubt.why();
    };
  }
}
