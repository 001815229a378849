package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// Memory that another process can map, and memory that none can.
class ForeignMemoryTest {
  @Test
  void privateMemoryInEveryShapeIsRefused() {
    for (String memory :
        List.of(
            "memory-backend-file,id=ram,size=512M,mem-path=/x",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=on,share=off",
            "memory-backend-memfd,id=ram,size=512M,share=off",
            "memory-backend-memfd,id=ram,size=512M,share=n",
            "memory-backend-ram,id=ram,size=512M,share=on",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"share\":false}")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
      assertThat(String.join("\n", read.reasons())).as(memory).contains("private");
    }
  }

  @Test
  void sharedMemoryIsSharedInEverySpelling() {
    for (String memory :
        List.of(
            "memory-backend-memfd,id=ram,size=512M,share=true",
            "memory-backend-memfd,id=ram,size=512M,share=yes",
            "memory-backend-memfd,id=ram,size=512M,share=y",
            "memory-backend-memfd,id=ram,size=512M,share=on,host-nodes.0=0,policy=bind",
            "memory-backend-file,id=ram,mem-path=/x,share=on,host-nodes=0-1,policy=interleave",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"mem-path\":\"/x\","
                + "\"share\":true,\"host-nodes\":[1,2,3],\"policy\":\"bind\"}",
            "memory-backend-memfd,id=ram,size=512M",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=true")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      assertThat(whole(line, live(Set.of(), 0, List.of())).reasons()).as(memory).isEmpty();
    }
  }

  /// A file that QEMU has unlinked has no path on which one could look, but a device.
  @Test
  void hugePagesAreSeenByTheirDevice() {
    String huge = "73 29 0:60 / /dev/hugepages rw shared:35 - hugetlbfs hugetlbfs rw,pagesize=2M";
    String shm = "74 29 0:61 / /dev/shm rw shared:36 - tmpfs tmpfs rw";

    assertThat(ForeignProcess.isOnHugePages(Stream.of(shm, huge), 60)).isTrue();
    assertThat(ForeignProcess.isOnHugePages(Stream.of(shm, huge), 61)).isFalse();
    // 8:1 and 0:300, as the kernel packs them.
    assertThat(ForeignProcess.isOnHugePages(Stream.of(huge.replace("0:60", "8:1")), (8 << 8) | 1))
        .isTrue();
    assertThat(
            ForeignProcess.isOnHugePages(
                Stream.of(huge.replace("0:60", "0:300")), ((300 & ~0xff) << 12) | (300 & 0xff)))
        .isTrue();
  }

  @Test
  void aMemFdMovesOnlyBelowQemu81() {
    for (String old : List.of("7.2.22", "8.0.5")) {
      assertThat(read(live(old, Set.of(), 0, List.of())).reasons()).as(old).isEmpty();
    }
    for (String late : List.of("8.1.0", "9.2.4", "10.0.2")) {
      assertThat(read(live(late, Set.of(), 0, List.of())).reasons())
          .as(late)
          .singleElement()
          .asString()
          .contains("8.1");
    }
  }
}
