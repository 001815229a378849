package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Dirent64;
import dev.hyperfresh.linux.Layouts.OpenHow;
import dev.hyperfresh.linux.Layouts.Stat;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// A folder of this host in which somebody may write who is not trusted, and may do so at this
/// moment.
///
/// All access is relative to the folder's descriptor. No path leads out of it: neither by `..`, nor
/// by a symbolic link, nor by another file system that is mounted in it (`openat2` with
/// `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_XDEV`). Only regular files are read; what
/// else bears the name is looked at without being opened (`O_PATH`), so a FIFO makes nobody wait
/// and a device notices nothing. Every read is bounded, since a length is only a claim.
///
/// Java's `SecureDirectoryStream` does not fit: it cannot open without waiting for a FIFO.
///
/// Paths are relative, with `/` between their parts. All methods may be called by any thread.
public final class SharedFolder implements AutoCloseable {
  private static final long BENEATH =
      Constants.RESOLVE_BENEATH
          | Constants.RESOLVE_NO_SYMLINKS
          | Constants.RESOLVE_NO_MAGICLINKS
          | Constants.RESOLVE_NO_XDEV;
  private static final int AS_IT_IS = Constants.O_PATH | Constants.O_NOFOLLOW;
  private static final int OWNER_ONLY = 0600;

  /// What is there is no folder of this folder's own.
  private static final Set<Integer> NO_FOLDER =
      Set.of(Constants.ENOENT, Constants.ENOTDIR, Constants.ELOOP);

  private final Fd fd;

  private SharedFolder(Fd fd) {
    this.fd = fd;
  }

  /// Opens a folder.
  ///
  /// @param path trusted up to its last part, which must not be a symbolic link
  /// @throws LinuxException when there is no folder
  public static SharedFolder open(Path path) {
    return new SharedFolder(Fd.open(path, AS_IT_IS | Constants.O_DIRECTORY));
  }

  /// Opens a folder, if it is there.
  ///
  /// @throws LinuxException when something else is there
  public static Optional<SharedFolder> find(Path path) {
    try {
      return Optional.of(open(path));
    } catch (LinuxException e) {
      if (e.errno() == Constants.ENOENT) {
        return Optional.empty();
      }
      throw e;
    }
  }

  /// Opens a regular file to read it, if something of that name is there.
  ///
  /// @throws IOException when it is no regular file, or not in this folder
  public Optional<FileChannel> read(String path) throws IOException {
    return numbered(path).map(Numbered::channel);
  }

  /// A file by its number, which it keeps when it gets another name.
  public record Numbered(FileChannel channel, long inode) {}

  /// As [#read], with the file's number.
  public Optional<Numbered> numbered(String path) throws IOException {
    try (Fd file = open(path, AS_IT_IS, 0)) {
      if (!isRegular(file)) {
        throw new IOException(file.label() + " is not a regular file");
      }
      return Optional.of(new Numbered(again(file), Stat.st_ino.get(stat(file))));
    } catch (LinuxException e) {
      if (e.errno() == Constants.ENOENT) {
        return Optional.empty();
      }
      throw new IOException(e.getMessage(), e);
    }
  }

  /// Whether a regular file of that name is there.
  public boolean has(String path) {
    try (Fd file = open(path, AS_IT_IS, 0)) {
      return isRegular(file);
    } catch (LinuxException e) {
      return false;
    }
  }

  /// The first bytes of a regular file, if something of that name is there.
  ///
  /// @param most how many at most
  /// @throws IOException as [#read]
  public Optional<byte[]> first(String path, int most) throws IOException {
    Optional<FileChannel> found = read(path);
    if (found.isEmpty()) {
      return Optional.empty();
    }
    try (FileChannel file = found.get()) {
      return Optional.of(bytes(file, 0, most));
    }
  }

  /// The last bytes of a regular file, if something of that name is there.
  ///
  /// @param most how many at most
  /// @throws IOException as [#read]
  public Optional<byte[]> last(String path, int most) throws IOException {
    Optional<FileChannel> found = read(path);
    if (found.isEmpty()) {
      return Optional.empty();
    }
    try (FileChannel file = found.get()) {
      return Optional.of(bytes(file, Math.max(0, file.size() - most), most));
    }
  }

  private static byte[] bytes(FileChannel file, long from, int most) throws IOException {
    long length = Math.clamp(file.size() - from, 0L, most);
    ByteBuffer bytes = ByteBuffer.allocate((int) length);
    while (bytes.hasRemaining() && file.read(bytes, from + bytes.position()) > 0) {
      // What is missing at the end was cut off meanwhile.
    }
    byte[] read = new byte[bytes.position()];
    bytes.flip().get(read);
    return read;
  }

  /// Makes a regular file that nobody has open yet, in the place of whatever bears the name, and
  /// opens it to read what others write. It belongs to its owner alone (0600).
  ///
  /// @throws IOException when the name is taken again at once, or is that of a folder with entries
  public FileChannel createAnew(String name) throws IOException {
    remove(name);
    int flags = Constants.O_CREAT | Constants.O_EXCL | Constants.O_NOFOLLOW | Constants.O_RDWR;
    try (Fd file = open(name, flags, OWNER_ONLY)) {
      return again(file);
    } catch (LinuxException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  /// The length of all regular files of a folder in here, together, in bytes, as they claim it.
  ///
  /// @param most at how many entries is looked
  /// @return 0 when there is no such folder
  public long lengths(String path, int most) throws IOException {
    long sum = 0;
    try (Fd folder = openFolder(path)) {
      for (byte[] name : names(folder, most)) {
        try (Arena arena = Arena.ofConfined();
            Fd file = open(folder, arena.allocateFrom(ValueLayout.JAVA_BYTE, name), AS_IT_IS, 0)) {
          sum += isRegular(file) ? Stat.st_size.get(stat(file)) : 0;
        }
      }
    } catch (LinuxException e) {
      if (e.errno() != Constants.ENOENT) {
        throw new IOException(e.getMessage(), e);
      }
    }
    return sum;
  }

  /// Removes what bears a name, unless it is a folder with entries. Does nothing when there is
  /// nothing.
  ///
  /// @throws IOException when it cannot be removed
  public void remove(String name) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      int done = remove(fd, arena.allocateFrom(entry(name)));
      if (done < 0 && done != -Constants.ENOENT) {
        throw refused("unlinkat", name, done);
      }
    }
  }

  /// Removes what bears a name with all that is in it. Does nothing when there is nothing.
  ///
  /// A folder with entries is first moved into `bin`, and so are the folders in it: so neither a
  /// deep tree nor one that somebody moves meanwhile leads anywhere else, and a link is removed
  /// itself.
  ///
  /// @param bin a folder of the same file system that nobody else may write; what cannot be removed
  ///   stays in it, under names that begin with `.deleted`
  /// @param mostEntries after how many entries it is given up
  /// @param limit how long it may last
  /// @throws IOException when something is left
  public void delete(String name, SharedFolder bin, long mostEntries, Duration limit)
      throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      Deletion deletion = new Deletion(bin.fd, mostEntries, System.nanoTime() + limit.toNanos());
      deletion.take(fd, arena.allocateFrom(entry(name)));
      deletion.run();
    } catch (LinuxException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  /// Moves a folder that is in a folder in here into another one, where it keeps its name.
  ///
  /// @param inside the folder in here in which it is
  /// @param into a folder of the same file system that nobody else may write, and in which nothing
  ///   has that name
  /// @return false when no folder of that name is there, and nothing was moved
  /// @throws IOException when it cannot be moved, or may be there: such as behind a mount
  public boolean giveFolder(String inside, String name, SharedFolder into) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment entry = arena.allocateFrom(entry(name));
      try (Fd parent = openFolder(inside);
          Fd _ = open(parent, entry, AS_IT_IS | Constants.O_DIRECTORY, 0)) {
        int from = parent.acquire();
        int to = into.fd.acquire();
        try {
          int done = FileCalls.renameat(from, entry, to, entry);
          if (done < 0) {
            throw refused("renameat", name, done);
          }
          return true;
        } finally {
          into.fd.release();
          parent.release();
        }
      }
    } catch (LinuxException e) {
      if (NO_FOLDER.contains(e.errno())) {
        return false;
      }
      throw new IOException(e.getMessage(), e);
    }
  }

  /// A deletion under way. For one thread.
  private static final class Deletion {
    private final Fd bin;
    private final long deadline;
    private long left;
    private final Deque<String> folders = new ArrayDeque<>();

    Deletion(Fd bin, long mostEntries, long deadline) {
      this.bin = bin;
      this.left = mostEntries;
      this.deadline = deadline;
    }

    /// Removes an entry, or moves it into the bin.
    void take(Fd folder, MemorySegment name) throws IOException {
      if (left-- <= 0 || System.nanoTime() > deadline) {
        throw new IOException(folder.label() + " has too many entries to remove them all");
      }
      int done = SharedFolder.remove(folder, name);
      if (done == -Constants.ENOTEMPTY || done == -Constants.EEXIST) {
        done = move(folder, name);
      }
      if (done < 0 && done != -Constants.ENOENT) {
        throw refused("unlinkat", folder.label() + "/" + name.getString(0), done);
      }
    }

    private int move(Fd folder, MemorySegment name) {
      String to = ".deleted." + System.nanoTime() + "." + left;
      int from = folder.acquire();
      int into = bin.acquire();
      try (Arena arena = Arena.ofConfined()) {
        int done = FileCalls.renameat(from, name, into, arena.allocateFrom(to));
        if (done == 0) {
          folders.push(to);
        }
        return done;
      } finally {
        bin.release();
        folder.release();
      }
    }

    void run() throws IOException {
      while (!folders.isEmpty()) {
        try (Arena arena = Arena.ofConfined()) {
          String name = folders.pop();
          MemorySegment path = arena.allocateFrom(name);
          do {
            empty(path);
          } while (!isGone(path));
        }
      }
    }

    private void empty(MemorySegment path) throws IOException {
      int flags = Constants.O_RDONLY | Constants.O_DIRECTORY | Constants.O_NOFOLLOW;
      try (Fd folder = SharedFolder.open(bin, path, flags, 0)) {
        for (List<byte[]> some = entries(folder); !some.isEmpty(); some = entries(folder)) {
          for (byte[] name : some) {
            try (Arena arena = Arena.ofConfined()) {
              take(folder, arena.allocateFrom(ValueLayout.JAVA_BYTE, name));
            }
          }
        }
      }
    }

    /// Not, when something came in, or was left out of the list as the list changed.
    private boolean isGone(MemorySegment path) throws IOException {
      int done = SharedFolder.remove(bin, path);
      if (done == -Constants.ENOTEMPTY || done == -Constants.EEXIST) {
        if (left-- <= 0 || System.nanoTime() > deadline) {
          throw refused("unlinkat", path.getString(0), done);
        }
        return false;
      }
      if (done < 0 && done != -Constants.ENOENT) {
        throw refused("unlinkat", path.getString(0), done);
      }
      return true;
    }
  }

  private static String entry(String name) {
    if (name.indexOf('/') >= 0) {
      throw new IllegalArgumentException("'" + name + "' is a path, not the name of an entry");
    }
    return name;
  }

  private Fd openFolder(String path) {
    try (Arena arena = Arena.ofConfined()) {
      int flags = Constants.O_RDONLY | Constants.O_DIRECTORY | Constants.O_NOFOLLOW;
      return open(fd, arena.allocateFrom(path), flags, 0);
    }
  }

  /// With their NULs. Neither `.` nor `..` is among them.
  private static List<byte[]> names(Fd folder, int most) throws IOException {
    List<byte[]> names = new ArrayList<>();
    for (List<byte[]> some = entries(folder); !some.isEmpty(); some = entries(folder)) {
      names.addAll(some);
      if (names.size() > most) {
        throw new IOException(folder.label() + " has more than " + most + " entries");
      }
    }
    return names;
  }

  /// The next entries of a folder, and none at its end.
  private static List<byte[]> entries(Fd folder) {
    MemorySegment buffer = Scratch.mine().buffer();
    int held = folder.acquire();
    try {
      while (true) {
        long got =
            check(
                FileCalls.getdents64(held, buffer, Scratch.BUFFER_BYTES),
                "getdents64",
                folder.label());
        List<byte[]> names = parse(buffer.asSlice(0, got));
        if (got == 0 || !names.isEmpty()) {
          return names;
        }
      }
    } finally {
      folder.release();
    }
  }

  private static List<byte[]> parse(MemorySegment entries) {
    List<byte[]> names = new ArrayList<>();
    long at = 0;
    while (at < entries.byteSize()) {
      MemorySegment entry = entries.asSlice(at);
      int length = Dirent64.d_reclen.get(entry);
      byte[] rest =
          entry
              .asSlice(Dirent64.TYPE.bytes(), length - Dirent64.TYPE.bytes())
              .toArray(ValueLayout.JAVA_BYTE);
      int end = 0;
      while (rest[end] != 0) {
        end++;
      }
      byte[] name = Arrays.copyOf(rest, end + 1);
      String text = new String(name, 0, end, StandardCharsets.ISO_8859_1);
      if (!text.equals(".") && !text.equals("..")) {
        names.add(name);
      }
      at += length;
    }
    return names;
  }

  private Fd open(String path, int flags, int mode) {
    try (Arena arena = Arena.ofConfined()) {
      return open(fd, arena.allocateFrom(path), flags, mode);
    }
  }

  private static Fd open(Fd folder, MemorySegment path, int flags, int mode) {
    String label = folder.label() + "/" + path.getString(0);
    MemorySegment how = Scratch.mine().arguments();
    OpenHow.flags.set(how, flags | Constants.O_CLOEXEC);
    OpenHow.mode.set(how, mode);
    OpenHow.resolve.set(how, BENEATH);
    int held = folder.acquire();
    try {
      int opened;
      do {
        opened = FileCalls.openat2(held, path, how, OpenHow.TYPE.bytes());
      } while (opened == -Constants.EINTR);
      return Fd.adopt(check(opened, "openat2", label), label);
    } finally {
      folder.release();
    }
  }

  /// Opens for use what was looked at, whatever bears its name by now.
  private static FileChannel again(Fd file) throws IOException {
    int held = file.acquire();
    try {
      return FileChannel.open(Path.of("/proc/self/fd/" + held), StandardOpenOption.READ);
    } finally {
      file.release();
    }
  }

  private static int remove(Fd folder, MemorySegment name) {
    int held = folder.acquire();
    try {
      int done = FileCalls.unlinkat(held, name, 0);
      return done == -Constants.EISDIR
          ? FileCalls.unlinkat(held, name, Constants.AT_REMOVEDIR)
          : done;
    } finally {
      folder.release();
    }
  }

  private static IOException refused(String call, String object, int result) {
    LinuxException cause = LinuxException.of(call, object, -result);
    return new IOException(cause.getMessage(), cause);
  }

  private static boolean isRegular(Fd file) {
    return (Stat.st_mode.get(stat(file)) & Constants.S_IFMT) == Constants.S_IFREG;
  }

  private static MemorySegment stat(Fd file) {
    MemorySegment stat = Scratch.mine().arguments();
    int held = file.acquire();
    try {
      check(MemoryCalls.fstat(held, stat), "fstat", file.label());
    } finally {
      file.release();
    }
    return stat;
  }

  @Override
  public void close() {
    fd.close();
  }
}
