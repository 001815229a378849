package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Memories of this process, which are found like those of another one.
class MemoryFilesTest {
  private static final int SELF = (int) ProcessHandle.current().pid();
  private static final long MIB = 1 << 20;

  private final List<String> reasons = new ArrayList<>();
  private final List<Fd> taken = new ArrayList<>();

  @TempDir Path folder;

  private MemoryFiles find(List<String> ids, Map<String, LiveMemory.Backend> backends)
      throws IOException {
    return MemoryFiles.find(
        new ForeignProcess(SELF), ids, new LiveMemory(2 * MIB, backends), reasons::add);
  }

  private static LiveMemory.Backend at(long address, long bytes) {
    return new LiveMemory.Backend(bytes, OptionalLong.of(address), "default", List.of());
  }

  private static LiveMemory.Backend at(Mapping mapping) {
    return at(mapping.segment().address(), mapping.bytes());
  }

  @Test
  void twoOfOneSizeAreToldApart() throws Exception {
    try (MemFd one = MemFd.create("one", MIB);
        MemFd two = MemFd.create("two", MIB);
        Mapping first = one.map(true);
        Mapping second = two.map(true);
        PidFd self = PidFd.open(SELF)) {
      MemoryFiles files = find(List.of("b", "a", "gone"), Map.of("a", at(first), "b", at(second)));

      assertThat(reasons).isEmpty();
      assertThat(files.remark()).isEmpty();
      try (GuestMemory memory = files.take(self, taken::add)) {
        assertThat(memory.parts())
            .extracting(MemFd::inode)
            .containsExactly(two.inode(), one.inode());
        assertThat(taken).isEqualTo(memory.descriptors());
        assertThat(files.numbered(memory.shape()))
            .containsExactly(
                new AdoptedMachine.Memory(two.fd().number(), MemoryPart.ordinary(MIB)),
                new AdoptedMachine.Memory(one.fd().number(), MemoryPart.ordinary(MIB)));
      }
    }
  }

  @Test
  void whatLiesBehindAPartIsNotTheGuests() throws Exception {
    try (MemFd one = MemFd.create("one", MIB);
        Mapping first = one.map(true);
        PidFd self = PidFd.open(SELF)) {
      long start = first.segment().address();
      MemoryFiles files = find(List.of("a"), Map.of("a", at(start + 4096, MIB / 2)));

      try (GuestMemory memory = files.take(self, taken::add)) {
        assertThat(files.numbered(memory.shape()))
            .containsExactly(
                new AdoptedMachine.Memory(one.fd().number(), MemoryPart.ordinary(4096 + MIB / 2)));
      }
    }
  }

  @Test
  void aFileThatHasANameIsNamed() throws Exception {
    Path path = folder.resolve("ram");
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(MIB);
    }
    try (MemFd memory = MemFd.adoptForeign(Fd.open(path, OpenFlags.READ_WRITE));
        Mapping mapping = memory.map(true)) {
      assertThat(find(List.of("m"), Map.of("m", at(mapping))).remark().orElseThrow())
          .contains("the file " + path.toRealPath() + ",");
      assertThat(reasons).isEmpty();
    }
  }

  @Test
  void whatIsMappedInPartOrNotAFileIsNone() throws Exception {
    try (MemFd memory = MemFd.create("short", MIB);
        Mapping mapping = memory.map(true);
        Arena arena = Arena.ofConfined()) {
      LiveMemory.Backend unknown =
          new LiveMemory.Backend(MIB, OptionalLong.empty(), "default", List.of());
      MemoryFiles files =
          find(
              List.of("longer", "private", "unknown"),
              Map.of(
                  "longer", at(mapping.segment().address(), 64 * MIB),
                  "private", at(arena.allocate(MIB).address(), MIB),
                  "unknown", unknown));

      assertThat(files.files()).isEmpty();
      assertThat(reasons).hasSize(3).allMatch(reason -> reason.contains("no other process can"));
    }
  }
}
