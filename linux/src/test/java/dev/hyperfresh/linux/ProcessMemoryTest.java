package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProcessMemoryTest {
  private static final long MIB = 1 << 20;
  private static final int SELF = (int) ProcessHandle.current().pid();

  @Test
  void fillsThePageTablesAndLeavesTheHoles() throws Exception {
    try (MemFd memory = MemFd.create("populate", 8 * MIB);
        Mapping writer = memory.map(true)) {
      writer.segment().asSlice(MIB, 2 * MIB).fill((byte) 7);
      writer.segment().asSlice(5 * MIB + 8192, 4096).fill((byte) 7);
      long populated = memory.populatedBytes();
      try (Mapping fresh = memory.map(false)) {
        long before = residentBytes(memory.inode());
        ProcessMemory mapping = mappingAt(fresh.segment().address(), memory);

        assertThat(mapping.populate(memory)).isEqualTo(2 * MIB + 4096);

        assertThat(residentBytes(memory.inode()) - before).isEqualTo(2 * MIB + 4096);
        assertThat(memory.populatedBytes()).isEqualTo(populated);
      }
    }
  }

  @Test
  void findsTheMappingsOfAProcess() throws Exception {
    try (MemFd memory = MemFd.create("found", MIB);
        Mapping mapping = memory.map(false)) {
      assertThat(ProcessMemory.sharedMappings(SELF, memory))
          .singleElement()
          .satisfies(found -> {
            assertThat(found.start()).isEqualTo(mapping.segment().address());
            assertThat(found.end() - found.start()).isEqualTo(MIB);
            assertThat(found.offset()).isZero();
          });
    }
  }

  @Test
  void numbersOfDevicesAreThoseOfTheMappings() throws Exception {
    assertThat(ProcessMemory.device(60)).isEqualTo("00:3c");
    // 8:1 and 0:300, as the kernel packs them.
    assertThat(ProcessMemory.device((8 << 8) | 1)).isEqualTo("08:01");
    assertThat(ProcessMemory.device(((300 & ~0xff) << 12) | (300 & 0xff))).isEqualTo("00:12c");
    try (MemFd memory = MemFd.create("device", MIB);
        Mapping mapping = memory.map(false)) {
      assertThat(ProcessMemory.files(SELF))
          .filteredOn(file -> file.range().start() == mapping.segment().address())
          .singleElement()
          .satisfies(file -> {
            assertThat(file.device()).isEqualTo(memory.device());
            assertThat(file.inode()).isEqualTo(memory.inode());
            assertThat(file.shared()).isTrue();
          });
    }
  }

  @Test
  void aProcessThatIsGoneMapsNothing() {
    try (MemFd memory = MemFd.create("gone", MIB)) {
      assertThat(ProcessMemory.sharedMappings(Integer.MAX_VALUE, memory)).isEmpty();
      assertThat(new ProcessMemory(Integer.MAX_VALUE, 4096, 4096 + MIB, 0).populate(memory))
          .isZero();
      assertThat(Host.pageFaults(Integer.MAX_VALUE)).isEmpty();
      assertThat(Host.pageFaults(SELF).orElseThrow()).isPositive();
    }
  }

  private static ProcessMemory mappingAt(long address, MemFd memory) {
    return ProcessMemory.sharedMappings(SELF, memory).stream()
        .filter(mapping -> mapping.start() == address)
        .findFirst()
        .orElseThrow();
  }

  /// `Rss` of proc_pid_smaps(5), summed over the mappings of one file.
  private static long residentBytes(long inode) throws Exception {
    List<String> lines = Files.readAllLines(Path.of("/proc/self/smaps"));
    long sum = 0;
    boolean ours = false;
    for (String line : lines) {
      String[] words = line.split(" +");
      if (words[0].matches("[0-9a-f]+-[0-9a-f]+")) {
        ours = words[4].equals(Long.toString(inode));
      } else if (ours && words[0].equals("Rss:")) {
        sum += Long.parseLong(words[1]) << 10;
      }
    }
    return sum;
  }
}
