package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Stat;
import dev.hyperfresh.linux.Layouts.Statfs;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.OptionalLong;

/// Memory that is a file without a name, whose size nobody can change: a memfd sealed with
/// `F_SEAL_SHRINK` and `F_SEAL_GROW`, unless it is of foreign origin ([#adoptForeign]). Without the
/// seals another holder could cut the file and every later access would end this process with
/// `SIGBUS`.
///
/// All methods may be called by any thread. Mappings outlive [#close].
public final class MemFd implements AutoCloseable {
  private static final int SEALS = Constants.F_SEAL_SHRINK | Constants.F_SEAL_GROW;
  private static final int BLOCK_BYTES = 512; // The unit of st_blocks, whatever the page size.
  private static final String[] UNITS = {"bytes", "KiB", "MiB", "GiB", "TiB"};

  private final Fd fd;
  private final long bytes;

  private final boolean sealed;

  private MemFd(Fd fd, long bytes, boolean sealed) {
    this.fd = fd;
    this.bytes = bytes;
    this.sealed = sealed;
  }

  /// Makes memory of a fixed size. No page is there until it is touched.
  ///
  /// @param name what `/proc/<pid>/maps` and errors call it, at most 249 bytes
  /// @param bytes the size, more than 0; hypervisors want whole pages of 4096
  /// @throws IllegalArgumentException when the size is not positive
  /// @throws LinuxException when the kernel refuses the name, the size or another descriptor
  public static MemFd create(String name, long bytes) {
    return create(name, bytes, 0);
  }

  /// Makes memory of huge pages, which the host must have set aside. As with [#create], no page is
  /// there until it is touched; whoever maps it without `MAP_NORESERVE` has all of them kept for
  /// it.
  ///
  /// @param bytes the size, more than 0, whole pages
  /// @param pageBytes the size of a page, one of those that the host has
  /// @throws IllegalArgumentException when the size is not positive
  /// @throws LinuxException when the kernel refuses the name, the sizes or another descriptor
  public static MemFd createHuge(String name, long bytes, long pageBytes) {
    int logarithm = Long.numberOfTrailingZeros(pageBytes);
    return create(name, bytes, Constants.MFD_HUGETLB | (logarithm << Constants.MAP_HUGE_SHIFT));
  }

  private static MemFd create(String name, long bytes, int more) {
    if (bytes <= 0) {
      throw new IllegalArgumentException(name + " needs a size above 0 bytes, not " + bytes);
    }
    Fd fd;
    try (Arena arena = Arena.ofConfined()) {
      int flags = Constants.MFD_CLOEXEC | Constants.MFD_ALLOW_SEALING | more;
      int made = MemoryCalls.memfdCreate(arena.allocateFrom(name), flags);
      fd = Fd.adopt(check(made, "memfd_create", name), name);
    }
    try {
      check(MemoryCalls.ftruncate(fd.number(), bytes), "ftruncate", name + " " + size(bytes));
      check(FileCalls.fcntl(fd.number(), Constants.F_ADD_SEALS, SEALS), "fcntl F_ADD_SEALS", name);
    } catch (LinuxException refused) {
      fd.close();
      throw refused;
    }
    return new MemFd(fd, bytes, true);
  }

  /// Takes ownership of memory that another process handed over. When this throws, the descriptor
  /// still belongs to the caller.
  ///
  /// @throws IllegalArgumentException when it is not a memory file or lacks one of the two seals
  public static MemFd adopt(Fd fd) {
    int held = fd.acquire();
    try {
      int seals = FileCalls.fcntl(held, Constants.F_GET_SEALS, 0);
      if (seals == -Constants.EINVAL) {
        throw new IllegalArgumentException(
            fd.label() + " is not a memory file; hand over one that MemFd.create made");
      }
      if ((check(seals, "fcntl F_GET_SEALS", fd.label()) & SEALS) != SEALS) {
        throw new IllegalArgumentException(
            fd.label() + " can change its size; seal it with F_SEAL_SHRINK and F_SEAL_GROW first");
      }
      return new MemFd(fd, Stat.st_size.get(stat(held, fd.label())), true);
    } finally {
      fd.release();
    }
  }

  /// Takes ownership of memory that something else made: seals it where that is still possible, and
  /// takes it as it is where not, such as a named file. See [#sealed]. When this throws, the
  /// descriptor still belongs to the caller.
  public static MemFd adoptForeign(Fd fd) {
    int held = fd.acquire();
    try {
      // Refused where sealing was ruled out (EPERM), and for files of other systems (EINVAL).
      int _ = FileCalls.fcntl(held, Constants.F_ADD_SEALS, SEALS);
      int seals = FileCalls.fcntl(held, Constants.F_GET_SEALS, 0);
      boolean sealed = seals >= 0 && (seals & SEALS) == SEALS;
      return new MemFd(fd, Stat.st_size.get(stat(held, fd.label())), sealed);
    } finally {
      fd.release();
    }
  }

  /// Whether nobody can change the size any more. Of memory that is not sealed, another holder can
  /// cut off a part, and whoever touches that part afterwards gets a `SIGBUS`.
  public boolean sealed() {
    return sealed;
  }

  /// The descriptor, which this object owns.
  public Fd fd() {
    return fd;
  }

  /// The size in bytes, which never changes.
  public long bytes() {
    return bytes;
  }

  /// How many bytes have pages behind them now (`st_blocks`).
  public long populatedBytes() {
    return whileHeld(held -> Stat.st_blocks.get(stat(held, fd.label())) * BLOCK_BYTES);
  }

  /// The inode number: two processes map the same memory when theirs are equal and those of the
  /// devices (`st_ino`).
  public long inode() {
    return whileHeld(held -> Stat.st_ino.get(stat(held, fd.label())));
  }

  /// The number of the device that the file is on, as proc_pid_maps(5) writes it (`st_dev`).
  String device() {
    return ProcessMemory.device(whileHeld(held -> Stat.st_dev.get(stat(held, fd.label()))));
  }

  /// How many bytes a page has, if it has huge ones; empty with ordinary ones.
  public OptionalLong hugePageBytes() {
    MemorySegment statfs = Scratch.mine().arguments();
    check(whileHeld(held -> MemoryCalls.fstatfs(held, statfs)), "fstatfs", fd.label());
    return Statfs.f_type.get(statfs) == Constants.HUGETLBFS_MAGIC
        ? OptionalLong.of(Statfs.f_bsize.get(statfs))
        : OptionalLong.empty();
  }

  /// The first byte at or after `from` that has a page (`SEEK_DATA`), or nothing when none follows.
  ///
  /// @param from 0 up to, and without, [#bytes]
  public OptionalLong nextData(long from) {
    long found = seek(from, Constants.SEEK_DATA);
    return found == -Constants.ENXIO
        ? OptionalLong.empty()
        : OptionalLong.of(check(found, "lseek SEEK_DATA", fd.label()));
  }

  /// The first byte at or after `from` that has no page (`SEEK_HOLE`); [#bytes] when all have.
  ///
  /// @param from 0 up to, and without, [#bytes]
  public long nextHole(long from) {
    return check(seek(from, Constants.SEEK_HOLE), "lseek SEEK_HOLE", fd.label());
  }

  /// Gives a part of the memory back to the host; whoever reads it afterwards finds zeros.
  ///
  /// @param from where it begins; pages that are not wholly in it are cleared and stay
  /// @throws IllegalArgumentException when it is not a part of this memory
  /// @throws LinuxException when the kernel refuses
  public void punch(long from, long length) {
    if (from < 0 || length <= 0 || length > bytes - from) {
      throw new IllegalArgumentException(
          fd.label() + " has " + bytes + " bytes, so there are no " + length + " from " + from);
    }
    int mode = Constants.FALLOC_FL_PUNCH_HOLE | Constants.FALLOC_FL_KEEP_SIZE;
    check(
        whileHeld(held -> MemoryCalls.fallocate(held, mode, from, length)),
        "fallocate FALLOC_FL_PUNCH_HOLE",
        fd.label());
  }

  /// Maps the whole memory, shared with all other mappings.
  ///
  /// @throws LinuxException when there is no room in the address space (`ENOMEM`)
  public Mapping map(boolean writable) {
    return Mapping.shared(fd, bytes, writable, fd.label() + " " + size(bytes));
  }

  /// Closes the descriptor; the memory lives on while anyone maps it or holds another descriptor.
  @Override
  public void close() {
    fd.close();
  }

  private interface HeldCall {
    long apply(int number);
  }

  private long whileHeld(HeldCall call) {
    int held = fd.acquire();
    try {
      return call.apply(held);
    } finally {
      fd.release();
    }
  }

  private long seek(long from, int whence) {
    if (from < 0 || from >= bytes) {
      throw new IllegalArgumentException(
          fd.label() + " has " + bytes + " bytes, so there is no byte " + from);
    }
    return whileHeld(held -> MemoryCalls.lseek(held, from, whence));
  }

  private static MemorySegment stat(int number, String label) {
    MemorySegment stat = Scratch.mine().arguments();
    check(MemoryCalls.fstat(number, stat), "fstat", label);
    return stat;
  }

  private static String size(long bytes) {
    long value = bytes;
    int unit = 0;
    while (value % 1024 == 0 && unit < UNITS.length - 1) {
      value /= 1024;
      unit++;
    }
    return value + " " + UNITS[unit];
  }
}
