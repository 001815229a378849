package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Heartbeat;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/// What a test guest says of itself in its heartbeat page, read in the guest's own memory. The view
/// stays valid when the hypervisor is replaced and when all of them have ended.
final class TestGuest implements AutoCloseable {
  /// The number of the guest's memory in each of its hypervisors.
  private static final int MEMORY_FD = 10;

  private final MemFd memory;
  private final Mapping mapping;
  private long page = -1;

  private TestGuest(MemFd memory) {
    this.memory = memory;
    this.mapping = memory.map(false);
  }

  /// Takes the memory from a hypervisor that runs the guest.
  static TestGuest in(int pid) {
    try (PidFd hypervisor = PidFd.open(pid)) {
      return new TestGuest(MemFd.adopt(hypervisor.takeFd(MEMORY_FD)));
    }
  }

  /// Takes memory that something else made, and waits until the guest counts.
  static TestGuest beatingIn(MemFd memory, Duration patience) {
    TestGuest guest = new TestGuest(memory);
    Await.until("the guest's heartbeat", patience, guest::findPage);
    return guest;
  }

  /// Takes the memory and waits until the guest counts.
  static TestGuest beatingIn(int pid, Duration patience) {
    TestGuest guest = in(pid);
    Await.until("the guest's heartbeat", patience, guest::findPage);
    return guest;
  }

  /// Takes the memory of guest `name` from the hardware of a machine in which it runs, and waits
  /// until the guest counts.
  static TestGuest beatingInMachine(int pid, String name, Duration patience) {
    try (PidFd hardware = PidFd.open(pid)) {
      MemFd memory = MemFd.adopt(hardware.takeFd(memory(pid, name)));
      return beatingIn(memory, patience);
    }
  }

  private static int memory(int pid, String name) {
    Path folder = Path.of("/proc", Integer.toString(pid), "fd");
    try (Stream<Path> open = Files.list(folder)) {
      for (Path descriptor : open.toList()) {
        if (Files.readSymbolicLink(descriptor).toString().startsWith("/memfd:hf-" + name + " ")) {
          return Integer.parseInt(String.valueOf(descriptor.getFileName()));
        }
      }
      throw new IllegalStateException("process " + pid + " has no memory of " + name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Waits until the guest counts, whichever hypervisor runs it.
  void findBeat(Duration patience) {
    Await.until("the guest's heartbeat", patience, this::findPage);
  }

  private boolean findPage() {
    List<Long> candidates = Heartbeat.candidates(memory);
    long[] before = candidates.stream().mapToLong(at -> word(at, 3)).toArray();
    LockSupport.parkNanos(20_000_000);
    for (int i = 0; i < before.length; i++) {
      if (word(candidates.get(i), 3) > before[i]) {
        page = candidates.get(i);
        return true;
      }
    }
    return false;
  }

  private long word(long at, int index) {
    return mapping.longAt(at + (long) index * Long.BYTES);
  }

  /// Beats so far; never falls.
  long counter() {
    return word(page, 3);
  }

  /// How often the known region was summed.
  long passes() {
    return word(page, 8);
  }

  /// How often its sum was wrong.
  long mismatches() {
    return word(page, 9);
  }

  /// The highest record that the disk acknowledged.
  long diskSequence() {
    return word(page, 10);
  }

  long diskErrors() {
    return word(page, 11);
  }

  long echoConnections() {
    return word(page, 12);
  }

  long echoBytes() {
    return word(page, 13);
  }

  long bootId() {
    return word(page, 14);
  }

  /// The highest record that the guest's file system acknowledged.
  long fileSequence() {
    return word(page, 15);
  }

  long fileErrors() {
    return word(page, 16);
  }

  /// How many files had other contents when the guest read them back.
  long fileMismatches() {
    return word(page, 17);
  }

  /// The guest's monotonic clock at its last beat, nanoseconds.
  long beatNanos() {
    return word(page, 4);
  }

  /// How far the guest's wall clock was ahead of its monotonic one at its last beat, nanoseconds.
  long wallOffsetNanos() {
    return word(page, 18);
  }

  /// How much of the memory has pages behind it.
  long populatedBytes() {
    return memory.populatedBytes();
  }

  /// Which memory it is: equal for two views of the same.
  long memoryInode() {
    return memory.inode();
  }

  /// Fails unless the counter rises within `patience`.
  void awaitBeat(Duration patience) {
    long before = counter();
    Await.until("a beat after " + before, patience, () -> counter() > before);
  }

  @Override
  public void close() {
    mapping.close();
    memory.close();
  }
}
