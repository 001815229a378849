package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.OpenHow;
import dev.hyperfresh.linux.Layouts.Statfs;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.function.Supplier;

/// A user in whose name files are opened that this user has named: what the user may not open, this
/// process does not open either, whichever links the path has. Thread-safe.
///
/// The kernel keeps rights for each thread. So a thread that ends with the call becomes the user
/// (effective user, that of files, and groups) and gives up all capabilities (credentials(7)); no
/// other thread changes. The thread still belongs to this process, so it follows no link of the
/// kernel's to a descriptor: some files are open to everybody who comes to them that way, such as
/// the memory of guests. Nor does it open what the kernel shows of processes, of itself and of
/// devices (procfs, sysfs): what is read there depends on who reads.
///
/// @param groups beside `gid`
public record FileUser(int uid, int gid, List<Integer> groups) {
  /// The user that this process is: nothing is given up.
  public static final FileUser SELF = new FileUser(Host.effectiveUid(), -1, List.of());

  private static final int UNCHANGED = -1;

  /// The path is absolute.
  private static final int NO_FOLDER = -1;

  // linux/capability.h: a header, and three sets in two halves.
  private static final int HEADER_INTS = 2;
  private static final int DATA_INTS = 6;

  static {
    // All that a call needs is loaded here: the classes may lie where another user may not read.
    Path none = Path.of("/dev/null/none");
    try {
      UnixSocket.connect(none, Duration.ofSeconds(1)).close();
    } catch (LinuxException expected) {
      var _ = expected.errnoName();
    }
    try {
      opened(none, OpenFlags.READ_ONLY).close();
    } catch (LinuxException expected) {
      var _ = expected.errnoName();
    }
    try {
      UnixSocket.listen(none, 0600).close();
    } catch (LinuxException expected) {
      var _ = expected.errnoName();
    }
    try {
      move(none, none);
    } catch (UncheckedIOException expected) {
      var _ = expected.getCause();
    }
  }

  public FileUser {
    groups = List.copyOf(groups);
  }

  /// Opens a file. Never waits: a pipe without another end is an error, or empty.
  ///
  /// @param flags [OpenFlags] joined by `|`; a file is never made
  /// @throws LinuxException when the kernel refuses the user
  public Fd open(Path path, int flags) {
    int wanted = (flags | OpenFlags.NON_BLOCKING) & ~OpenFlags.CREATE;
    return isSelf() ? Fd.open(path, wanted) : stored(call(() -> opened(path, wanted)), path);
  }

  /// As [UnixSocket#connect(Path, Duration)].
  public UnixSocket connect(Path path, Duration limit) {
    return isSelf() ? UnixSocket.connect(path, limit) : call(() -> connected(path, limit));
  }

  /// As [#connect], of a socket that may be root's, to which root connects then. The user has to
  /// find it, and a link in its place is not followed: what is found is a file that root has made
  /// there, and not one of another folder.
  public UnixSocket connectAsOwner(Path path, Duration limit) {
    if (isSelf()) {
      return UnixSocket.connect(path, limit);
    }
    try (Fd found = call(() -> opened(path, Constants.O_PATH | Constants.O_NOFOLLOW))) {
      Path socket = Path.of("/proc/self/fd", Integer.toString(found.number()));
      return Files.getAttribute(socket, "unix:uid").equals(0)
          ? UnixSocket.connect(socket, path.toString(), limit)
          : call(() -> UnixSocket.connect(socket, path.toString(), limit));
    } catch (IOException e) {
      throw new UncheckedIOException(path + " cannot be looked at", e);
    }
  }

  /// As [UnixSocket#listen]; the file is the user's.
  public UnixSocket listen(Path path, int mode) {
    return isSelf() ? UnixSocket.listen(path, mode) : call(() -> UnixSocket.listen(path, mode));
  }

  /// Gives a file another name of its folder, at once, also in the place of another file.
  ///
  /// @throws IOException when there is no such file, or the user may not
  public void rename(Path from, Path to) throws IOException {
    done(() -> move(from, to));
  }

  /// Removes a file, if it is there.
  ///
  /// @throws IOException when the user may not
  public void remove(Path file) throws IOException {
    done(() -> delete(file));
  }

  private void done(Runnable step) throws IOException {
    try {
      if (isSelf()) {
        step.run();
      } else {
        var _ =
            call(() -> {
              step.run();
              return true;
            });
      }
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  private static void move(Path from, Path to) {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// A user of the same number may have fewer rights. No user has the group of [#SELF].
  private boolean isSelf() {
    return equals(SELF);
  }

  /// Whether the user may use the socket is decided by what was found, whatever is at the path
  /// then.
  private static UnixSocket connected(Path path, Duration limit) {
    try (Fd found = opened(path, Constants.O_PATH)) {
      Path socket = Path.of("/proc/self/fd", Integer.toString(found.number()));
      return UnixSocket.connect(socket, path.toString(), limit);
    }
  }

  private static Fd stored(Fd opened, Path path) {
    MemorySegment statfs = Scratch.mine().arguments();
    int done = MemoryCalls.fstatfs(opened.number(), statfs);
    long type = Statfs.f_type.get(statfs);
    if (done == 0 && type != Constants.PROC_SUPER_MAGIC && type != Constants.SYSFS_MAGIC) {
      return opened;
    }
    opened.close();
    throw LinuxException.of("open", path + ", which the kernel makes up", Constants.EACCES);
  }

  private static Fd opened(Path path, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocateFrom(path.toAbsolutePath().toString());
      MemorySegment how = arena.allocate(OpenHow.TYPE.bytes(), Long.BYTES);
      OpenHow.flags.set(how, flags | Constants.O_CLOEXEC);
      OpenHow.resolve.set(how, Constants.RESOLVE_NO_MAGICLINKS);
      int opened;
      do {
        opened = FileCalls.openat2(NO_FOLDER, name, how, OpenHow.TYPE.bytes());
      } while (opened == -Constants.EINTR);
      return Fd.adopt(check(opened, "openat2", path.toString()), path.toString());
    }
  }

  private <T> T call(Supplier<T> body) {
    return Host.onOwnThread(
        "hf-user",
        () -> {
          become();
          return body.get();
        });
  }

  /// The calling thread cannot go back.
  private void become() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment numbers =
          arena.allocateFrom(JAVA_INT, groups.stream().mapToInt(Integer::intValue).toArray());
      check(ThreadCalls.setgroups(groups.size(), numbers), "setgroups", toString());
      check(ThreadCalls.setegid(gid), "setresgid", toString());
      check(ThreadCalls.seteuid(uid), "setresuid", toString());
      MemorySegment header = arena.allocate(JAVA_INT, HEADER_INTS);
      header.setAtIndex(JAVA_INT, 0, Constants._LINUX_CAPABILITY_VERSION_3);
      MemorySegment nothing = arena.allocate(JAVA_INT, DATA_INTS);
      check(ThreadCalls.capset(header, nothing), "capset", toString());
    }
    if (ThreadCalls.geteuid() != uid
        || ThreadCalls.setfsuid(UNCHANGED) != uid
        || ThreadCalls.setfsgid(UNCHANGED) != gid) {
      throw LinuxException.of("setresuid", toString(), Constants.EPERM);
    }
  }

  @Override
  public String toString() {
    return "user " + uid;
  }
}
