package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// QEMU's locks on disk images, as proc(5) shows them in `/proc/locks` and in `/proc/PID/fdinfo/N`.
///
/// QEMU's `block/file-posix.c` locks single bytes: byte 100 + n says that somebody uses permission
/// n, byte 200 + n that somebody lets nobody else use it. Reading is permission 0, writing 1.
final class ImageLocks {
  private static final long WRITES = 101;
  private static final long LETS_NOBODY_READ = 200;
  private static final long LETS_NOBODY_WRITE = 201;

  // `3: OFDLCK ADVISORY  READ -1 fe:00:2154677 100 101`; waiting locks have an arrow in front.
  private static final Pattern LINE =
      Pattern.compile(
          "(?:lock:\\s+)?\\d+: (?:OFDLCK|POSIX)\\s+\\S+\\s+\\S+\\s+\\S+\\s+(\\S+:\\d+)\\s+(\\d+)\\s+(\\d+|EOF)");

  /// Locked bytes of a file.
  ///
  /// @param file device and inode as the kernel writes them
  /// @param last included
  record Lock(String file, long first, long last) {
    private boolean covers(long at) {
      return first <= at && at <= last;
    }

    /// Whether it keeps another QEMU from opening the image as a guest's disk, which nobody else
    /// may then write.
    boolean hinders(boolean readOnly) {
      return covers(WRITES) || covers(LETS_NOBODY_READ) || (!readOnly && covers(LETS_NOBODY_WRITE));
    }
  }

  private ImageLocks() {}

  /// The locks that the lines tell of; other lines are passed over.
  static List<Lock> parse(Stream<String> lines) {
    return lines.map(ImageLocks::lock).flatMap(Optional::stream).toList();
  }

  private static Optional<Lock> lock(String line) {
    Matcher found = LINE.matcher(line.strip());
    if (!found.matches()) {
      return Optional.empty();
    }
    String last = found.group(3);
    return Optional.of(
        new Lock(
            found.group(1),
            Long.parseLong(found.group(2)),
            last.equals("EOF") ? Long.MAX_VALUE : Long.parseLong(last)));
  }

  /// What others than the holder of `own` have locked of the same file. Nobody's name stands at a
  /// lock of this kind, but the kernel lists equal ones as often as there are holders.
  static List<Lock> others(List<Lock> all, List<Lock> own) {
    List<Lock> rest = new ArrayList<>(all);
    own.forEach(rest::remove);
    rest.removeIf(lock -> own.stream().noneMatch(mine -> mine.file().equals(lock.file())));
    return rest;
  }
}
