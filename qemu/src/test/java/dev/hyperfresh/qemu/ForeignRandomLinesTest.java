package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// Command lines as nobody should write them.
class ForeignRandomLinesTest {
  private static final long SEED = 20_260_101;
  private static final int RANDOM_LINES = 5000;

  /// Whatever comes, the answer is a list of reasons or arguments that hold nothing of what must
  /// not be there twice.
  @Test
  void randomLinesNeverBreakItAndNeverSlipThrough() {
    Random random = new Random(SEED);
    List<String> pool = pool();
    int accepted = 0;
    for (int i = 0; i < RANDOM_LINES; i++) {
      List<String> line = new ArrayList<>(random.nextBoolean() ? BASE : List.of());
      int count = random.nextInt(6);
      for (int j = 0; j < count; j++) {
        String word = pool.get(random.nextInt(pool.size()));
        line.add(random.nextInt(3) == 0 ? mutated(word, random) : word);
      }
      ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
      if (read.reasons().isEmpty()) {
        accepted++;
        List<String> words = read.words();
        List<String> options = options(words);
        assertThat(options).as("%s", line).doesNotContain("-incoming", "-S", "-daemonize", "-qmp");
        assertThat(options.stream().filter("-sandbox"::equals)).hasSize(1);
        assertThat(values("-object", words).filter(w -> w.contains("mem-path=")))
            .as("%s", line)
            .singleElement()
            .asString()
            .contains("mem-path=/proc/self/fd/10,share=on");
        assertThat(values("-chardev", words).filter(w -> w.contains("fd=11"))).hasSize(1);
      }
    }
    System.out.println("  " + accepted + " of " + RANDOM_LINES + " random lines were accepted");
    assertThat(accepted).isBetween(1, RANDOM_LINES / 2);
  }

  /// The words that QEMU takes as options, and not as the values of such.
  private static List<String> options(List<String> words) {
    List<String> options = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      ForeignOption option = Objects.requireNonNull(ForeignOption.of(words.get(i)), words.get(i));
      options.add(words.get(i));
      i += option.hasValue() ? 1 : 0;
    }
    return options;
  }

  private static Stream<String> values(String option, List<String> words) {
    List<String> values = new ArrayList<>();
    for (int i = 0; i + 1 < words.size(); i++) {
      if (words.get(i).equals(option)) {
        values.add(words.get(i + 1));
      }
    }
    return values.stream();
  }

  private static List<String> pool() {
    List<String> pool = new ArrayList<>();
    for (ForeignOption option : ForeignOption.values()) {
      pool.add(option.word());
    }
    pool.addAll(
        List.of(
            "none",
            "null",
            "stdio",
            "mon:stdio",
            "chardev:c",
            "socket,id=c,path=/x,server=on",
            "tap,id=n,fd=5",
            "virtio-net-pci,netdev=n",
            "qom-type=iothread,id=i",
            "file=/x,if=virtio",
            "{\"driver\":\"file\",\"filename\":\"/x\",\"node-name\":\"a\"}",
            "memory-backend-memfd,id=ram,size=1G",
            "q35",
            "share=on",
            "",
            ",",
            ",,",
            "=",
            "{}",
            "[]",
            "{\"a\":",
            "a=b,,c=d"));
    return pool;
  }

  private static String mutated(String word, Random random) {
    StringBuilder text = new StringBuilder(word);
    for (int i = random.nextInt(4); i >= 0; i--) {
      int at = random.nextInt(text.length() + 1);
      text.insert(
          at,
          (char)
              (random.nextBoolean()
                  ? ",={}\"\0\n-".charAt(random.nextInt(8))
                  : random.nextInt(0x3000)));
    }
    return text.toString();
  }
}
