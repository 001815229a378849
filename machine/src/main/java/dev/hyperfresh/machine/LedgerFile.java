package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.StateFile;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;

/// What a daemon writes down of what is in a machine, so that the next one can take it back.
/// Immutable.
///
/// @param halted whether a daemon has stopped the machine, or was about to
/// @param lastPlace the number of the last place that was made
/// @param places one for each guest's QEMU inside
record LedgerFile(boolean halted, int lastPlace, List<Entry> places) {
  /// Its name, in the folder of the machine.
  static final String NAME = "places.json";

  /// Of a machine that is about to boot.
  static final LedgerFile EMPTY = new LedgerFile(false, 0, List.of());

  private static final Pattern ID = Pattern.compile("p[1-9][0-9]{0,8}");

  LedgerFile {
    places = List.copyOf(places);
  }

  /// What one guest's QEMU has in the machine; names of everything follow from the id.
  ///
  /// @param id of the place
  /// @param files the guest's folder
  /// @param inner the number of the process inside; 0 until it is known
  /// @param waiting whether it was started to receive the guest's state
  /// @param outlets how many ways for the guest's state out of here were made
  /// @param condemned whether it must never run again, though it could not be ended
  record Entry(
      String id,
      Path files,
      int generation,
      int inner,
      boolean waiting,
      int disks,
      int nics,
      int outlets,
      boolean condemned) {
    Entry {
      if (!ID.matcher(id).matches() || generation < 0 || inner < 0 || outlets < 0) {
        throw new IllegalArgumentException("the place '" + id + "' is not possible");
      }
    }

    /// A place that is about to be made.
    static Entry about(
        String id, Path files, int generation, boolean waiting, int disks, int nics) {
      return new Entry(id, files, generation, 0, waiting, disks, nics, 0, false);
    }

    Entry withInner(int process) {
      return new Entry(id, files, generation, process, waiting, disks, nics, outlets, condemned);
    }

    Entry withOutlets(int count) {
      return new Entry(id, files, generation, inner, waiting, disks, nics, count, condemned);
    }

    Entry asCondemned() {
      return new Entry(id, files, generation, inner, waiting, disks, nics, outlets, true);
    }
  }

  LedgerFile asHalted(boolean now) {
    return new LedgerFile(now, lastPlace, places);
  }

  LedgerFile withPlaces(int last, List<Entry> entries) {
    return new LedgerFile(halted, last, entries);
  }

  /// Puts this file into the folder of a machine and returns when it is on disk.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  void write(Path folder) {
    StateFile.write(folder.resolve(NAME), this);
  }

  /// What stands in the folder of a machine.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it is
  ///   damaged or missing: nobody is to believe that no guest is there
  static LedgerFile read(Path folder) {
    return StateFile.readWithSum(folder.resolve(NAME), LedgerFile.class)
        .orElseThrow(() -> Problem.DAEMON_STATE.because(folder.resolve(NAME) + " is missing."));
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  static void remove(Path folder) {
    StateFile.remove(folder.resolve(NAME));
  }
}
