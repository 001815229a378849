package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class GuestMemoryTest {
  private static final int SELF = (int) ProcessHandle.current().pid();
  private static final long MIB = 1 << 20;

  @Test
  void partsAreMadeInTheirOrder() {
    List<MemoryPart> shape = List.of(MemoryPart.ordinary(2 * MIB), MemoryPart.ordinary(MIB));
    try (GuestMemory memory = GuestMemory.create("parts", shape);
        GuestMemory scratch = memory.scratch("scratch")) {
      assertThat(memory.shape()).isEqualTo(shape);
      assertThat(memory.leastBytes()).isEqualTo(MIB);
      assertThat(memory.sealed()).isTrue();
      assertThat(scratch.shape()).isEqualTo(shape);
      assertThat(scratch.parts()).extracting(MemFd::inode).doesNotContain(inodes(memory));
      List<Fd> copies = new ArrayList<>();
      memory.descriptors().forEach(descriptor -> copies.add(descriptor.duplicate()));
      try (GuestMemory same = GuestMemory.adopt(copies)) {
        assertThat(inodes(same)).containsExactly(inodes(memory));
      }
      assertThatThrownBy(memory::whole).isInstanceOf(IllegalStateException.class);
    }
  }

  private static Long[] inodes(GuestMemory memory) {
    return memory.parts().stream().map(MemFd::inode).toArray(Long[]::new);
  }

  @Test
  void allOfItMustBeMapped() {
    List<MemoryPart> shape = List.of(MemoryPart.ordinary(MIB), MemoryPart.ordinary(MIB));
    try (GuestMemory memory = GuestMemory.create("mapped", shape)) {
      try (Mapping first = memory.parts().getFirst().map(true)) {
        first.segment().fill((byte) 1);
        assertThat(memory.isSharedBy(SELF)).isFalse();
        try (Mapping second = memory.parts().getLast().map(true)) {
          second.segment().asSlice(0, 4096).fill((byte) 1);
          assertThat(memory.isSharedBy(SELF)).isTrue();
          assertThat(memory.populate(SELF)).isEqualTo(MIB + 4096);
        }
      }
    }
  }

  @Test
  void ofAMemoryThatCannotBeMadeNothingIsLeft() {
    List<MemoryPart> shape =
        List.of(MemoryPart.ordinary(MIB), new MemoryPart(MIB, OptionalLong.of(3 << 20)));

    assertThatThrownBy(() -> GuestMemory.create("never-made", shape))
        .isInstanceOf(LinuxException.class);
    assertThatThrownBy(() -> GuestMemory.create("none", List.of()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
