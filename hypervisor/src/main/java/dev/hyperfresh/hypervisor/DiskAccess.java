package dev.hyperfresh.hypervisor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/// How a hypervisor reads and writes a disk.
///
/// @param discard whether what the guest frees is freed in the image
/// @param ioThread whether it has a thread of its own
public record DiskAccess(Cache cache, Aio aio, boolean discard, boolean ioThread) {
  /// Through the page cache, by a pool of threads.
  public static final DiskAccess PLAIN = new DiskAccess(Cache.WRITEBACK, Aio.THREADS, false, false);

  /// What stands between the guest and the disk.
  public enum Cache {
    /// The host's page cache; what the guest flushes is on the disk.
    WRITEBACK(false, true, false),
    /// Nothing of the host's; the guest still flushes.
    NONE(true, true, false),
    /// The host's page cache; each write is on the disk when it ends.
    WRITETHROUGH(false, false, false),
    /// Nothing of the host's, and each write is on the disk when it ends.
    DIRECTSYNC(true, false, false),
    /// The host's page cache, also for what the guest flushes: a power cut may damage the disk.
    UNSAFE(false, true, true);

    private final boolean direct;
    private final boolean writeCache;
    private final boolean noFlush;

    Cache(boolean direct, boolean writeCache, boolean noFlush) {
      this.direct = direct;
      this.writeCache = writeCache;
      this.noFlush = noFlush;
    }

    /// Whether the host's page cache is passed by.
    public boolean direct() {
      return direct;
    }

    /// Whether the guest sees a disk with a cache that it has to flush.
    public boolean writeCache() {
      return writeCache;
    }

    /// Whether what the guest flushes is ignored.
    public boolean noFlush() {
      return noFlush;
    }

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// How requests are made to the host's kernel.
  public enum Aio {
    /// By a pool of threads.
    THREADS,
    /// By Linux's asynchronous calls, which are only asynchronous past the page cache.
    NATIVE,
    /// By an io_uring.
    IO_URING;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// What is not as in [#PLAIN], as a spec says it.
  List<String> words() {
    List<String> words = new ArrayList<>();
    if (cache != PLAIN.cache) {
      words.add("cache: " + cache.label());
    }
    if (aio != PLAIN.aio) {
      words.add("aio: " + aio.label());
    }
    if (discard) {
      words.add("discard: true");
    }
    if (ioThread) {
      words.add("iothread: true");
    }
    return words;
  }

  /// Every fault, without the disk that it is about.
  List<String> faults(DiskDrive.Bus bus) {
    List<String> faults = new ArrayList<>();
    if (aio == Aio.NATIVE && !cache.direct()) {
      faults.add("aio: native needs cache: none or directsync");
    }
    if (ioThread && bus == DiskDrive.Bus.SATA) {
      faults.add("iothread: a disk on sata cannot have one; use virtio or scsi");
    }
    return faults;
  }
}
