package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
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
            "memory-backend-ram,id=ram,size=512M,share=on",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"share\":false}")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
      assertThat(String.join("\n", read.reasons())).as(memory).contains("private");
    }
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
