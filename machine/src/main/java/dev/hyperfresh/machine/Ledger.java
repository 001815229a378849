package dev.hyperfresh.machine;

import dev.hyperfresh.machine.LedgerFile.Entry;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/// What is in a machine, as it stands on disk: every change is written before it counts.
/// Thread-safe. A change that cannot be written is thrown as
/// [dev.hyperfresh.hypervisor.HyperFreshException] and has not happened.
final class Ledger {
  private final Path folder;
  private LedgerFile file;

  /// The ledger in the folder of a machine.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE when it is damaged or
  ///   missing
  Ledger(Path folder) {
    this.folder = folder;
    this.file = LedgerFile.read(folder);
  }

  private void change(UnaryOperator<LedgerFile> change) {
    LedgerFile next = change.apply(file);
    next.write(folder);
    file = next;
  }

  /// Whether a daemon has stopped the machine, or was about to.
  synchronized boolean isHalted() {
    return file.halted();
  }

  synchronized void halted(boolean now) {
    change(old -> old.asHalted(now));
  }

  /// A number for a place, which no other gets.
  synchronized String newPlace() {
    int number = file.lastPlace() + 1;
    change(old -> old.withPlaces(number, old.places()));
    return "p" + number;
  }

  synchronized void add(Entry place) {
    List<Entry> places = new ArrayList<>(file.places());
    places.add(place);
    change(old -> old.withPlaces(old.lastPlace(), places));
  }

  synchronized Entry get(String id) {
    return file.places().stream().filter(place -> place.id().equals(id)).findFirst().orElseThrow();
  }

  /// Changes what is written of a place, if it is there.
  synchronized void update(String id, UnaryOperator<Entry> how) {
    List<Entry> places =
        file.places().stream()
            .map(place -> place.id().equals(id) ? how.apply(place) : place)
            .toList();
    change(old -> old.withPlaces(old.lastPlace(), places));
  }

  synchronized void remove(String id) {
    List<Entry> places = file.places().stream().filter(place -> !place.id().equals(id)).toList();
    change(old -> old.withPlaces(old.lastPlace(), places));
  }

  synchronized List<Entry> places() {
    return file.places();
  }

  /// The place of one generation of the guest whose folder is `files`.
  synchronized Optional<Entry> find(Path files, int generation) {
    return file.places().stream()
        .filter(place -> place.files().equals(files) && place.generation() == generation)
        .findFirst();
  }
}
