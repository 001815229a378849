package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.TroubleException;
import java.util.Comparator;
import java.util.Optional;

/// The OS in which a container that has ended is started when nobody has said where. Stateless.
///
/// @param hosts all of them
record NextOs(Hosts hosts) {
  private static final System.Logger LOG = System.getLogger(NextOs.class.getName());

  /// The least that an OS must have left for a container that comes to it because its own has
  /// ended.
  private static final long LEAST_ROOM_BYTES = 64L << 20;

  /// @param bytes free in an OS; 0 when it does not answer
  private record Room(OsVm os, long bytes) {
    static Room of(OsVm os) {
      try {
        return new Room(os, os.availableBytes());
      } catch (TroubleException e) {
        LOG.log(System.Logger.Level.DEBUG, os.name() + " does not answer", e);
        return new Room(os, 0);
      }
    }
  }

  /// Where it ran; when that has ended, where most memory is free.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN] when there is none, or nobody knows yet
  OsVm of(Life ended) {
    Optional<OsVm> same = hosts.find(ended.os()).filter(os -> !os.ended());
    if (same.isPresent()) {
      return same.get();
    }
    String why = hosts.waiting("OS " + ended.os());
    if (!why.isEmpty()) {
      throw Problem.OS_UNKNOWN.because("OS " + ended.os() + " is not reattached: " + why);
    }
    if (hosts.isComing(ended.os())) {
      throw Problem.OS_UNKNOWN.because("OS " + ended.os() + " is being started.");
    }
    return hosts.list().stream()
        .filter(os -> !os.ended())
        .map(Room::of)
        .filter(room -> room.bytes() >= LEAST_ROOM_BYTES)
        .max(Comparator.comparingLong(Room::bytes))
        .map(Room::os)
        .orElseThrow(() ->
            Problem.OS_UNKNOWN.because(
                "OS " + ended.os() + " has ended, and no other has 64 MiB of memory free."));
  }
}
