package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.junit.jupiter.api.Test;

/// How much an OS has to do at once.
class TurnsTest {
  private final Deque<Runnable> begun = new ArrayDeque<>();
  private final List<String> done = new ArrayList<>();
  private final Turns turns = new Turns(2, (_, work) -> begun.add(work));

  private void take(String os, String name) {
    turns.take(os, name, () -> done.add(name));
  }

  @Test
  void noMoreIsBegunInAnOsAtOnceAndAllIsDoneInItsOrder() {
    for (String name : List.of("a", "b", "c", "d", "e")) {
      take("os1", name);
    }
    assertThat(begun).hasSize(2);

    while (!begun.isEmpty()) {
      begun.remove().run();
      assertThat(begun).hasSizeLessThanOrEqualTo(2);
    }

    assertThat(done).containsExactly("a", "b", "c", "d", "e");
  }

  @Test
  void anOsThatHangsHoldsUpNoOther() {
    for (String name : List.of("a", "b", "c")) {
      take("hangs", name);
    }

    take("os2", "d");

    assertThat(begun).hasSize(3);
    begun.removeLast().run();
    assertThat(done).containsExactly("d");
  }

  @Test
  void aDefectInOneIsNotTheEndOfTheOthers() {
    turns.take(
        "os1",
        "a",
        () -> {
          throw new IllegalStateException("a defect");
        });
    take("os1", "b");
    take("os1", "c");

    assertThatThrownBy(() -> begun.remove().run()).hasMessage("a defect");
    while (!begun.isEmpty()) {
      begun.remove().run();
    }
    take("os1", "d");
    take("os1", "e");

    assertThat(begun).hasSize(2);
    assertThat(done).containsExactly("b", "c");
  }
}
