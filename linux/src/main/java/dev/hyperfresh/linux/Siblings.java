package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.OpenHow;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/// Folders beside each other in one folder, in which somebody may write who is not trusted. One can
/// take the place of another, with what is open in it and at no moment with nothing in that place.
///
/// All access is relative to the descriptor of the folder that they are in; no link is followed and
/// no name has a `/`. All methods may be called by any thread.
public final class Siblings implements AutoCloseable {
  private static final int OWNER_ONLY = 0700;
  private static final int FOLDER =
      Constants.O_RDONLY | Constants.O_DIRECTORY | Constants.O_NOFOLLOW | Constants.O_CLOEXEC;

  /// There is nothing of that name, or something else.
  private static final Set<Integer> NO_FOLDER =
      Set.of(Constants.ENOENT, Constants.ENOTDIR, Constants.ELOOP);

  /// More than any folder has that they are for.
  private static final int MOST_ENTRIES = 10_000;

  private final Fd parent;

  private Siblings(Fd parent) {
    this.parent = parent;
  }

  /// Those in a folder.
  ///
  /// @param folder trusted up to its last part, which must not be a symbolic link
  /// @throws LinuxException when there is no folder
  public static Siblings in(Path folder) {
    return new Siblings(Fd.open(folder, FOLDER));
  }

  /// Those in a folder that was opened, which belongs to this object from now on.
  public static Siblings in(Fd folder) {
    return new Siblings(folder);
  }

  /// The names of all that is in the folder.
  ///
  /// @throws IOException when that is too much
  public List<String> names() throws IOException {
    return names(parent);
  }

  /// The names of all that is in a folder, which was opened to read.
  ///
  /// @throws IOException when that is too much
  public static List<String> names(Fd folder) throws IOException {
    int held = folder.acquire();
    try (Stream<Path> entries = Files.list(Path.of("/proc/self/fd", Integer.toString(held)))) {
      List<String> names =
          entries
              .limit(MOST_ENTRIES + 1L)
              .map(entry -> String.valueOf(entry.getFileName()))
              .sorted()
              .toList();
      if (names.size() > MOST_ENTRIES) {
        throw new IOException(folder.label() + " has more than " + MOST_ENTRIES + " entries");
      }
      return names;
    } catch (UncheckedIOException e) {
      throw e.getCause();
    } finally {
      folder.release();
    }
  }

  /// Whether there is a folder of that name.
  ///
  /// @throws LinuxException when that cannot be told
  public boolean has(String name) {
    try (Fd _ = open(name)) {
      return true;
    } catch (LinuxException e) {
      if (NO_FOLDER.contains(e.errno())) {
        return false;
      }
      throw e;
    }
  }

  /// Opens one to read it.
  ///
  /// @throws LinuxException when there is no folder of that name
  public Fd open(String name) {
    String label = parent.label() + "/" + name;
    int held = parent.acquire();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment how = arena.allocate(OpenHow.TYPE.bytes(), Long.BYTES);
      OpenHow.flags.set(how, FOLDER);
      OpenHow.resolve.set(how, Constants.RESOLVE_BENEATH | Constants.RESOLVE_NO_SYMLINKS);
      int opened;
      do {
        opened = FileCalls.openat2(held, arena.allocateFrom(name), how, OpenHow.TYPE.bytes());
      } while (opened == -Constants.EINTR);
      return Fd.adopt(check(opened, "openat2", label), label);
    } finally {
      parent.release();
    }
  }

  /// Makes one that is empty and opens it. It belongs to this process's user alone (0700).
  ///
  /// @throws LinuxException when something of that name is there
  public Fd make(String name) {
    int held = parent.acquire();
    try (Arena arena = Arena.ofConfined()) {
      int done = FileCalls.mkdirat(held, arena.allocateFrom(entry(name)), OWNER_ONLY);
      check(done, "mkdirat", parent.label() + "/" + name);
    } finally {
      parent.release();
    }
    return open(name);
  }

  /// Gives each of the two the name of the other, at once.
  ///
  /// @throws LinuxException when one of them is missing, or the file system cannot do that
  public void exchange(String one, String other) {
    rename(one, other, Constants.RENAME_EXCHANGE);
  }

  /// Gives one another name.
  ///
  /// @throws LinuxException when something of the new name is there
  public void rename(String from, String to) {
    rename(from, to, Constants.RENAME_NOREPLACE);
  }

  private void rename(String from, String to, int flags) {
    int held = parent.acquire();
    try (Arena arena = Arena.ofConfined()) {
      int done =
          FileCalls.renameat2(
              held, arena.allocateFrom(entry(from)), held, arena.allocateFrom(entry(to)), flags);
      check(done, "renameat2", parent.label() + "/" + from + " to " + to);
    } finally {
      parent.release();
    }
  }

  /// Removes one with the files that are in it. Does nothing when there is none.
  ///
  /// @throws LinuxException when a folder is in it, or it is none
  /// @throws IOException when it has too many entries
  public void remove(String name) throws IOException {
    try (Fd folder = open(name)) {
      for (String file : names(folder)) {
        unlink(folder, file, 0);
      }
    } catch (LinuxException e) {
      if (e.errno() == Constants.ENOENT) {
        return;
      }
      throw e;
    }
    unlink(parent, name, Constants.AT_REMOVEDIR);
  }

  /// Returns when the names of all of them are on the disk as they are now.
  ///
  /// @throws LinuxException when the disk refuses
  public void sync() {
    parent.syncAll();
  }

  private static void unlink(Fd folder, String name, int flags) {
    int held = folder.acquire();
    try (Arena arena = Arena.ofConfined()) {
      int done = FileCalls.unlinkat(held, arena.allocateFrom(entry(name)), flags);
      if (done != -Constants.ENOENT) {
        check(done, "unlinkat", folder.label() + "/" + name);
      }
    } finally {
      folder.release();
    }
  }

  private static String entry(String name) {
    if (name.isEmpty() || name.indexOf('/') >= 0) {
      throw new IllegalArgumentException("'" + name + "' is not the name of an entry");
    }
    return name;
  }

  @Override
  public void close() {
    parent.close();
  }
}
