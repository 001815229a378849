package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.ProcessMemory;
import java.util.ArrayList;
import java.util.List;

/// A guest's memory: one file, or several when something else made the guest and gave each of its
/// nodes a memory of its own. Each file has its place for as long as the guest is there.
///
/// All methods may be called by any thread.
///
/// @param parts in their order; there is at least one
public record GuestMemory(List<MemFd> parts) implements AutoCloseable {
  /// Copies the list.
  public GuestMemory {
    parts = List.copyOf(parts);
    if (parts.isEmpty()) {
      throw new IllegalArgumentException("every guest has memory");
    }
  }

  /// One file, which belongs to this object now.
  public static GuestMemory of(MemFd whole) {
    return new GuestMemory(List.of(whole));
  }

  /// Makes new files, in which no page is there until it is touched.
  ///
  /// @param name what `/proc/<pid>/maps` and errors call each of them
  /// @throws LinuxException when the kernel refuses one; none is left then
  public static GuestMemory create(String name, List<MemoryPart> parts) {
    List<MemFd> made = new ArrayList<>();
    try {
      for (MemoryPart part : parts) {
        made.add(
            part.hugePageBytes().isPresent()
                ? MemFd.createHuge(name, part.bytes(), part.hugePageBytes().getAsLong())
                : MemFd.create(name, part.bytes()));
      }
      return new GuestMemory(made);
    } catch (LinuxException e) {
      made.forEach(MemFd::close);
      throw e;
    }
  }

  /// As [MemFd#adopt], of each.
  public static GuestMemory adopt(List<Fd> descriptors) {
    return new GuestMemory(descriptors.stream().map(MemFd::adopt).toList());
  }

  /// As [MemFd#adoptForeign], of each.
  public static GuestMemory adoptForeign(List<Fd> descriptors) {
    return new GuestMemory(descriptors.stream().map(MemFd::adoptForeign).toList());
  }

  /// New memory of the same sizes with nothing in it, of ordinary pages.
  ///
  /// @param name as in [#create]
  public GuestMemory scratch(String name) {
    return create(name, parts.stream().map(part -> MemoryPart.ordinary(part.bytes())).toList());
  }

  /// What each file is made of.
  public List<MemoryPart> shape() {
    return parts.stream().map(part -> new MemoryPart(part.bytes(), part.hugePageBytes())).toList();
  }

  /// The only file.
  ///
  /// @throws IllegalStateException when there are several
  public MemFd whole() {
    if (parts.size() > 1) {
      throw new IllegalStateException("this memory has " + parts.size() + " parts");
    }
    return parts.getFirst();
  }

  /// The descriptors, which belong to this object.
  public List<Fd> descriptors() {
    return parts.stream().map(MemFd::fd).toList();
  }

  /// How long the shortest file is.
  public long leastBytes() {
    return parts.stream().mapToLong(MemFd::bytes).min().orElseThrow();
  }

  /// As [MemFd#sealed], of all.
  public boolean sealed() {
    return parts.stream().allMatch(MemFd::sealed);
  }

  /// Whether a process maps all of it so that others see what it writes.
  public boolean isSharedBy(int pid) {
    return parts.stream().noneMatch(part -> ProcessMemory.sharedMappings(pid, part).isEmpty());
  }

  /// As [Instance#populate], in a process of this host. Huge pages are so few that each may as well
  /// be mapped when it is touched; and one that the guest never touched would be taken for it here.
  public long populate(int pid) {
    return parts.stream()
        .filter(part -> part.hugePageBytes().isEmpty())
        .flatMapToLong(part ->
            ProcessMemory.sharedMappings(pid, part).stream()
                .mapToLong(mapping -> mapping.populate(part)))
        .sum();
  }

  /// Closes the descriptors; the memory lives on while anyone maps it.
  @Override
  public void close() {
    parts.forEach(MemFd::close);
  }
}
