package dev.hyperfresh.linux;

import dev.hyperfresh.linux.Layouts.Statx;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Optional;

/// Which file something is, by what the kernel has of it in memory: a file system that somebody
/// serves, and that never answers, is not asked. Immutable.
///
/// @param device on which it is
/// @param inode its number there
/// @param uid of its owner
/// @param mode its kind and permissions, as `st_mode` has them
public record FileIdentity(long device, long inode, int uid, int mode) {
  // linux/stat.h: what the group and others may do to it.
  private static final int OTHERS_WRITE = 022;

  /// The file at a path. The last link is followed, and so must every folder before it be one that
  /// answers.
  ///
  /// @return empty when there is none, or it may not be looked at
  public static Optional<FileIdentity> of(Path path) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocateFrom(path.toAbsolutePath().toString());
      MemorySegment found = arena.allocate(Statx.TYPE.bytes(), Long.BYTES);
      int done =
          FileCalls.statx(name, Constants.AT_STATX_DONT_SYNC, Constants.STATX_BASIC_STATS, found);
      return done < 0
          ? Optional.empty()
          : Optional.of(
              new FileIdentity(
                  device(Statx.stx_dev_major.get(found), Statx.stx_dev_minor.get(found)),
                  Statx.stx_ino.get(found),
                  Statx.stx_uid.get(found),
                  Statx.stx_mode.get(found)));
    }
  }

  private static long device(int major, int minor) {
    return (Integer.toUnsignedLong(major) << Integer.SIZE) | Integer.toUnsignedLong(minor);
  }

  /// Whether it is the same file.
  public boolean isSame(FileIdentity other) {
    return device == other.device && inode == other.inode;
  }

  /// Whether it belongs to a user, and nobody else but root can write to it.
  public boolean isOnly(int user) {
    return uid == user && (mode & OTHERS_WRITE) == 0;
  }
}
