package dev.hyperfresh.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MemFdTest {
  private static final long MIB = 1 << 20;

  @TempDir Path folder;

  @Test
  void sealsKeepTheSize() {
    try (MemFd memory = MemFd.create("sealed", MIB)) {
      int number = memory.fd().number();

      assertThat(MemoryCalls.ftruncate(number, MIB / 2)).isEqualTo(-Constants.EPERM);
      assertThat(MemoryCalls.ftruncate(number, MIB * 2)).isEqualTo(-Constants.EPERM);
      assertThatThrownBy(() -> truncateByPath(number)).hasMessageContaining("not permitted");
      assertThat(memory.bytes()).isEqualTo(MIB);
    }
  }

  @Test
  void memoryOfForeignOriginIsSealedWhereTheKernelLetsUs() throws Exception {
    Path named = folder.resolve("named");
    try (RandomAccessFile file = new RandomAccessFile(named.toFile(), "rw")) {
      file.setLength(MIB);
    }
    try (MemFd file = MemFd.adoptForeign(Fd.open(named, OpenFlags.READ_WRITE))) {
      assertThat(file.sealed()).isFalse();
      assertThat(file.bytes()).isEqualTo(MIB);
    }
    try (java.lang.foreign.Arena arena = java.lang.foreign.Arena.ofConfined()) {
      // As QEMU makes it with seal=off, and as others do that leave the seals to the next.
      int closed = MemoryCalls.memfdCreate(arena.allocateFrom("closed"), Constants.MFD_CLOEXEC);
      int open =
          MemoryCalls.memfdCreate(
              arena.allocateFrom("open"), Constants.MFD_CLOEXEC | Constants.MFD_ALLOW_SEALING);
      MemoryCalls.ftruncate(open, MIB);
      try (MemFd unsealable = MemFd.adoptForeign(Fd.adopt(closed, "closed"));
          MemFd sealable = MemFd.adoptForeign(Fd.adopt(open, "open"))) {
        assertThat(unsealable.sealed()).isFalse();
        assertThat(sealable.sealed()).isTrue();
        assertThat(MemoryCalls.ftruncate(open, MIB / 2)).isEqualTo(-Constants.EPERM);
      }
    }
  }

  @Test
  void twoMappingsOfTheSameMemorySeeEachOther() {
    try (MemFd memory = MemFd.create("shared", MIB);
        Mapping writer = memory.map(true);
        Mapping reader = memory.map(false)) {
      writer.segment().set(JAVA_LONG, MIB - 8, 42L);

      assertThat(reader.segment().get(JAVA_LONG, MIB - 8)).isEqualTo(42L);
      assertThat(reader.segment().byteSize()).isEqualTo(MIB);
      assertThatThrownBy(() -> reader.segment().set(JAVA_LONG, 0, 1L))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> writer.segment().get(JAVA_BYTE, MIB))
          .isInstanceOf(IndexOutOfBoundsException.class);
    }
  }

  @Test
  void aClosedMappingIsGoneAndCannotBeUsed() {
    try (MemFd memory = MemFd.create("closed-mapping", MIB)) {
      Mapping mapping = memory.map(true);
      MemorySegment segment = mapping.segment();
      MemorySegment slice = segment.asSlice(8, 8);
      assertThat(Here.mappingsOf("closed-mapping")).isEqualTo(1);
      mapping.close();
      mapping.close();

      assertThat(Here.mappingsOf("closed-mapping")).isZero();
      assertThatThrownBy(() -> segment.get(JAVA_BYTE, 0)).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(() -> slice.get(JAVA_LONG, 0)).isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void aMappingOutlivesItsDescriptor() {
    MemFd memory = MemFd.create("outlived", MIB);
    try (Mapping mapping = memory.map(true)) {
      memory.close();
      mapping.segment().set(JAVA_BYTE, 5, (byte) 9);

      assertThat(mapping.segment().get(JAVA_BYTE, 5)).isEqualTo((byte) 9);
    }
  }

  @Test
  void knowsWhichPagesAreThere() {
    try (MemFd memory = MemFd.create("sparse", MIB);
        Mapping mapping = memory.map(true)) {
      assertThat(memory.populatedBytes()).isZero();
      assertThat(memory.nextData(0)).isEqualTo(OptionalLong.empty());
      assertThat(memory.nextHole(0)).isZero();

      mapping.segment().set(JAVA_BYTE, 3 * 4096 + 1, (byte) 1);

      assertThat(memory.populatedBytes()).isEqualTo(4096);
      assertThat(memory.nextData(0)).isEqualTo(OptionalLong.of(3 * 4096));
      assertThat(memory.nextHole(3 * 4096)).isEqualTo(4 * 4096);
      assertThatThrownBy(() -> memory.nextData(MIB)).isInstanceOf(IllegalArgumentException.class);
      mapping.segment().fill((byte) 1);
      assertThat(memory.nextHole(0)).isEqualTo(MIB);
    }
  }

  @Test
  void adoptsSealedMemoryAndKnowsItAgain() {
    try (MemFd memory = MemFd.create("adopted", 3 * MIB);
        MemFd other = MemFd.create("adopted", 3 * MIB);
        MemFd same = MemFd.adopt(memory.fd().duplicate())) {
      assertThat(same.bytes()).isEqualTo(3 * MIB);
      assertThat(same.inode()).isEqualTo(memory.inode());
      assertThat(other.inode()).isNotEqualTo(memory.inode());
    }
  }

  @Test
  void refusesAFileWithoutSealsAndLeavesItOpen() throws Exception {
    Path file = Files.writeString(folder.resolve("plain"), "x");
    try (Fd plain = Fd.open(file, OpenFlags.READ_WRITE)) {
      assertThatThrownBy(() -> MemFd.adopt(plain))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining(file + " ");
      assertThat(plain.isOpen()).isTrue();
    }
    try (Fd shared = Fd.open(Path.of("/dev/shm"), OpenFlags.READ_ONLY)) {
      assertThatThrownBy(() -> MemFd.adopt(shared)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void saysWhetherItHasHugePages() {
    Here.require(
        Files.isDirectory(Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB")),
        "needs a kernel with huge pages of 2 MiB");
    try (MemFd ordinary = MemFd.create("ordinary", MIB);
        MemFd huge = MemFd.createHuge("huge", 4 * MIB, 2 * MIB)) {
      assertThat(ordinary.hugePageBytes()).isEmpty();
      // None need be there before one is touched.
      assertThat(huge.hugePageBytes()).hasValue(2 * MIB);
      assertThat(huge.bytes()).isEqualTo(4 * MIB);
      assertThat(huge.sealed()).isTrue();
      try (Mapping mapping = huge.map(false)) {
        assertThat(mapping.bytes()).isEqualTo(4 * MIB);
      }
      assertThat(huge.populatedBytes()).isZero();
    }
    assertThatThrownBy(() -> MemFd.createHuge("odd", 3 * MIB, 2 * MIB))
        .isInstanceOf(LinuxException.class);
  }

  @Test
  void namesTheSizeThatDoesNotFit() {
    assertThatThrownBy(() -> MemFd.create("none", 0))
        .hasMessage("none needs a size above 0 bytes, not 0");
    try (MemFd huge = MemFd.create("guest-ram", 1L << 50)) {
      assertThatThrownBy(() -> huge.map(true)).hasMessage("mmap guest-ram 1024 TiB: ENOMEM (12)");
    }
  }

  private static void truncateByPath(int number) throws Exception {
    try (RandomAccessFile file = new RandomAccessFile("/proc/self/fd/" + number, "rw")) {
      file.setLength(1);
    }
  }

  @Test
  void aPartOfItIsGivenBack() {
    try (MemFd memory = MemFd.create("given-back", MIB);
        Mapping mapping = memory.map(true)) {
      mapping.segment().fill((byte) 1);
      memory.punch(4096, 8192);
      assertThat(memory.populatedBytes()).isEqualTo(MIB - 8192);
      assertThat(mapping.segment().get(JAVA_BYTE, 4095)).isEqualTo((byte) 1);
      assertThat(mapping.segment().get(JAVA_BYTE, 4096)).isZero();
      assertThat(mapping.segment().get(JAVA_BYTE, 12288)).isEqualTo((byte) 1);
      assertThatThrownBy(() -> memory.punch(MIB - 4096, 8192))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> memory.punch(0, 0)).isInstanceOf(IllegalArgumentException.class);
    }
  }
}
