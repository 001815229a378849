package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// Who runs the QEMUs of this host: guests, and virtual machines whose hardware one is.
/// Thread-safe.
record ReleaseUsers(Hyperplexor guests, MachineRoom machines, OsRoom systems) {
  /// Who runs one of them, a phrase each.
  ///
  /// @param full its full name
  List<String> of(String full) {
    List<String> names =
        guests.list().stream()
            .filter(view -> view.release().equals(full))
            .map(view -> view.spec().name())
            .toList();
    return Stream.of(
            phrase("runs ", names),
            phrase("is the hardware of machine ", machines.onHardware(full)),
            phrase("is the hardware of OS ", systems.onHardware(full)))
        .flatMap(Optional::stream)
        .toList();
  }

  private static Optional<String> phrase(String words, List<String> names) {
    return names.isEmpty() ? Optional.empty() : Optional.of(words + String.join(", ", names));
  }
}
