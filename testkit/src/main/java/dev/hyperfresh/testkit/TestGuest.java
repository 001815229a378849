package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Heartbeat;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/// What a test guest says of itself in its heartbeat page, read in the guest's own memory. The view
/// stays valid when the hypervisor is replaced and when all of them have ended.
final class TestGuest implements AutoCloseable {
  /// The number of the guest's memory in each of its hypervisors.
  private static final int MEMORY_FD = 10;

  private final GuestMemory memory;
  private final List<Mapping> mappings;
  private Page page = new Page(0, -1);

  /// Where a heartbeat page is.
  ///
  /// @param part which file of the memory has it
  private record Page(int part, long at) {}

  private TestGuest(GuestMemory memory) {
    this.memory = memory;
    this.mappings = memory.parts().stream().map(part -> part.map(false)).toList();
  }

  /// Takes the memory from a hypervisor that runs the guest.
  static TestGuest in(int pid) {
    try (PidFd hypervisor = PidFd.open(pid)) {
      return new TestGuest(GuestMemory.of(MemFd.adopt(hypervisor.takeFd(MEMORY_FD))));
    }
  }

  /// Takes memory that something else made, and waits until the guest counts.
  static TestGuest beatingIn(MemFd memory, Duration patience) {
    return beatingIn(GuestMemory.of(memory), patience);
  }

  /// The same of memory that is several files.
  static TestGuest beatingIn(GuestMemory memory, Duration patience) {
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
        if (target(descriptor).startsWith("/memfd:hf-" + name + " ")) {
          return Integer.parseInt(String.valueOf(descriptor.getFileName()));
        }
      }
      throw new IllegalStateException("process " + pid + " has no memory of " + name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString();
    } catch (IOException e) {
      // Closed since it was listed.
      return "";
    }
  }

  /// Waits until the guest counts, whichever hypervisor runs it.
  void findBeat(Duration patience) {
    Await.until("the guest's heartbeat", patience, this::findPage);
  }

  private boolean findPage() {
    List<Page> candidates = new ArrayList<>();
    for (int i = 0; i < memory.parts().size(); i++) {
      int part = i;
      Heartbeat.candidates(memory.parts().get(i)).forEach(at -> candidates.add(new Page(part, at)));
    }
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

  private long word(Page where, int index) {
    return mappings.get(where.part()).longAt(where.at() + (long) index * Long.BYTES);
  }

  /// Which file of the memory has the page, counted from 0.
  int part() {
    return page.part();
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
    return memory.parts().stream().mapToLong(MemFd::populatedBytes).sum();
  }

  /// Which memory it is: equal for two views of the same.
  long memoryInode() {
    return memory.parts().getFirst().inode();
  }

  /// Fails unless the counter rises within `patience`.
  void awaitBeat(Duration patience) {
    long before = counter();
    Await.until("a beat after " + before, patience, () -> counter() > before);
  }

  @Override
  public void close() {
    mappings.forEach(Mapping::close);
    memory.close();
  }
}
