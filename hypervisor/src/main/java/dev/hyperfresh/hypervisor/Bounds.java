package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Cgroup;

/// What the hypervisors of a guest may use together: two of them, since one takes over from the
/// other. Immutable.
///
/// @param memoryBytes all memory that is charged to them, page cache included
/// @param tasks processes and threads
public record Bounds(long memoryBytes, int tasks) {
  /// What two hypervisors of a guest need beside its memory, bytes: twice QEMU's own 256 MiB, and
  /// as much code as its translator keeps, 1 GiB, and a quarter more.
  private static final long OVERHEAD_BYTES = 2 * (1280L << 20) + (512L << 20);

  /// Page tables of two hypervisors take a 256th of the memory; this leaves as much again.
  private static final int TABLES = 128;

  /// Threads beside the vCPUs, for two hypervisors: QEMU's pool for disks has at most 64 each.
  private static final int OVERHEAD_TASKS = 2 * 128;

  /// Those of a guest.
  public static Bounds of(GuestSpec spec) {
    return new Bounds(
        spec.memoryBytes() + spec.memoryBytes() / TABLES + OVERHEAD_BYTES,
        2 * spec.vcpus() + OVERHEAD_TASKS);
  }

  /// Makes a control group with them, as [Cgroup#create].
  public void make(Cgroup group) {
    group.create(memoryBytes, tasks);
  }
}
