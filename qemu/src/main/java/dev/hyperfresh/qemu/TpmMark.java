package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Siblings;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A file in the folder that a target's TPM has, which goes with the folder to the owner's name. It
/// tells the target's generation, and in it stands in which boot of the host the folder was made.
///
/// @param generation of the target
record TpmMark(int generation) {
  private static final Pattern NAME = Pattern.compile("\\.hyperfresh-of-([0-9]{1,9})");

  /// More than the name of a boot has.
  private static final int MOST_BYTES = 64;

  /// Those in a folder, which was opened to read.
  static List<TpmMark> in(Fd folder) throws IOException {
    List<TpmMark> marks = new ArrayList<>();
    for (String file : Siblings.names(folder)) {
      Matcher name = NAME.matcher(file);
      if (name.matches() && isOurs(TpmFolders.path(folder).resolve(file))) {
        marks.add(new TpmMark(Integer.parseInt(name.group(1))));
      }
    }
    return marks;
  }

  /// Makes it unless it is there. Returns when it is on the disk, with all other names in the
  /// folder.
  void make(Fd folder) throws IOException {
    Path mark = path(folder);
    if (!isOurs(mark)) {
      Files.deleteIfExists(mark);
      write(mark);
      if (!isOurs(mark)) {
        throw new IOException(folder.label() + " gives a new file to another user");
      }
    }
    folder.syncAll();
  }

  private static void write(Path mark) throws IOException {
    ByteBuffer boot = StandardCharsets.US_ASCII.encode(Host.bootId());
    try (FileChannel file =
        FileChannel.open(mark, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      while (boot.hasRemaining()) {
        file.write(boot);
      }
      file.force(true);
    }
  }

  /// Whether it was made in this boot of the host: what processes of another one wrote may have
  /// been lost with it. A mark of an earlier version does not say so.
  boolean isOfThisBoot(Fd folder) throws IOException {
    Path mark = path(folder);
    if (!isOurs(mark)) {
      return false;
    }
    byte[] boot = new byte[MOST_BYTES];
    // Whoever writes into the folder could have put a link or a pipe there meanwhile.
    int how = OpenFlags.READ_ONLY | OpenFlags.NO_FOLLOW | OpenFlags.NON_BLOCKING;
    try (Fd file = Fd.open(mark, how)) {
      int length = Math.max(0, file.read(boot, 0, MOST_BYTES));
      return new String(boot, 0, length, StandardCharsets.US_ASCII).equals(Host.bootId());
    }
  }

  /// Removes it if it is there. Returns when that is on the disk.
  void remove(Fd folder) throws IOException {
    Files.deleteIfExists(path(folder));
    folder.syncAll();
  }

  private Path path(Fd folder) {
    return TpmFolders.path(folder).resolve(".hyperfresh-of-" + generation);
  }

  /// Whether HyperFresh made the file: whoever writes into the folder could make one of that name.
  private static boolean isOurs(Path file) throws IOException {
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      return false;
    }
    var is = Files.readAttributes(file, "unix:uid,nlink,isRegularFile", LinkOption.NOFOLLOW_LINKS);
    return Boolean.TRUE.equals(is.get("isRegularFile"))
        && Integer.valueOf(1).equals(is.get("nlink"))
        && Integer.valueOf(Host.effectiveUid()).equals(is.get("uid"));
  }
}
