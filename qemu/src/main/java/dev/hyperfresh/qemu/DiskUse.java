package dev.hyperfresh.qemu;

import java.nio.file.Path;

/// A block device that is a disk of a guest.
///
/// @param path by which the guest's spec names it
record DiskUse(Path path, boolean readOnly, BlockDevice device) {
  /// Whether nobody writes who has one of the two.
  boolean onlyReadWith(DiskUse other) {
    return readOnly && other.readOnly();
  }
}
