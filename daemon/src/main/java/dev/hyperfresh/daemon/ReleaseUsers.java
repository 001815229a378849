package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// Who runs the QEMUs of this host: guests, also those that were handed back to their manager, and
/// virtual machines whose hardware one is. Thread-safe.
///
/// @param state the state directory
record ReleaseUsers(Hyperplexor guests, MachineRoom machines, OsRoom systems, Path state) {
  /// Who runs one of them or is to start on it, a phrase each.
  ///
  /// @param full its full name
  List<String> of(String full) {
    return Stream.of(
            phrase("runs ", guests(view -> view.release().equals(full))),
            phrase(
                "is where these start next: ",
                guests(
                    view -> !view.release().equals(full) && view.starts().release().equals(full))),
            phrase("runs guests that were handed back: ", HandedBack.on(state, full)),
            phrase("is the hardware of machine ", machines.onHardware(full)),
            phrase("is the hardware of OS ", systems.onHardware(full)))
        .flatMap(Optional::stream)
        .toList();
  }

  private List<String> guests(Predicate<GuestView> which) {
    return guests.list().stream().filter(which).map(view -> view.spec().name()).toList();
  }

  private static Optional<String> phrase(String words, List<String> names) {
    return names.isEmpty() ? Optional.empty() : Optional.of(words + String.join(", ", names));
  }
}
