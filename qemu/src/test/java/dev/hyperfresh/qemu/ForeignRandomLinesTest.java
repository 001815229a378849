package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// Command lines as nobody should write them. `-Dhyperfresh.fuzz.lines=N` sets their number, and
/// `-Dhyperfresh.fuzz.seed=N` which they are.
class ForeignRandomLinesTest {
  private static final long SEED = Long.getLong("hyperfresh.fuzz.seed", 20_260_101L);
  private static final int RANDOM_LINES = Integer.getInteger("hyperfresh.fuzz.lines", 5000);
  private static final QemuModels NOTHING_KNOWN = new QemuModels("none", Set.of(), Set.of(), false);

  /// Whatever comes, the answer is a list of reasons or arguments that hold nothing of what must
  /// not be there twice.
  @Test
  void randomLinesNeverBreakItAndNeverSlipThrough() {
    Random random = new Random(SEED);
    List<String> pool = pool();
    int accepted = 0;
    for (int i = 0; i < RANDOM_LINES; i++) {
      List<String> line = line(pool, random);
      ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
      if (read.reasons().isEmpty()) {
        accepted++;
        List<String> words = read.words();
        List<String> options = options(words);
        assertThat(options)
            .as("%s", line)
            .doesNotContain(
                "-incoming", "-S", "-daemonize", "-qmp", "-add-fd", "-readconfig", "-id");
        assertThat(values("-chardev", words).filter(w -> w.contains("/dev/fdset/3")))
            .as("%s", line)
            .isEmpty();
        assertThat(options.stream().filter("-sandbox"::equals)).hasSize(1);
        assertThat(values("-object", words).filter(w -> w.contains("mem-path=")))
            .as("%s", line)
            .singleElement()
            .asString()
            .contains("mem-path=/proc/self/fd/10,share=on");
        assertThat(values("-chardev", words).filter(w -> w.contains("fd=11"))).hasSize(1);
        // Beside another instance it has no address of the guest.
        assertThat(values("-chardev", new AdoptedWords(words).silent()))
            .as("%s", line)
            .allMatch(w -> !w.startsWith("socket,") || w.contains(",fd=1"));
        assertThat(values("-spice", new AdoptedWords(words).silent()))
            .as("%s", line)
            .allMatch(w -> w.endsWith("port=0") && !w.contains("addr="));
      }
    }
    System.out.println("  " + accepted + " of " + RANDOM_LINES + " random lines were accepted");
    assertThat(accepted).isBetween(1, RANDOM_LINES / 2);
  }

  /// Read without a running QEMU, a line says of each piece what becomes of it, in words that a
  /// terminal can show; and nothing is said to be impossible that an adoption would do.
  @Test
  void randomLinesAreExplained() {
    Random random = new Random(SEED + 1);
    List<String> pool = pool();
    int explained = 0;
    for (int i = 0; i < RANDOM_LINES; i++) {
      List<String> line = line(pool, random);
      Explanation explanation =
          Explanation.of(line, "", i % 2 == 0 ? Optional.empty() : Optional.of(NOTHING_KNOWN));
      assertThat(explanation.pieces()).as("%s", line).allMatch(piece -> isFit(piece));
      if (i % 2 == 0 && whole(line, live(Set.of(), 0, List.of())).reasons().isEmpty()) {
        explained++;
        assertThat(ForeignCommandLine.unseen(line, "").obstacles())
            .as("%s", line)
            .allMatch(obstacle -> obstacle.contains("has no version"));
      }
    }
    assertThat(explained).isPositive();
  }

  private static boolean isFit(Explanation.Piece piece) {
    boolean isSaid = !piece.what().isEmpty();
    boolean isReasoned = piece.verdict() == Explanation.Verdict.MOVES == piece.reason().isEmpty();
    String text = piece.what() + piece.reason() + piece.action();
    return isSaid && isReasoned && text.length() < 5000 && !text.matches("(?s).*\\p{C}.*");
  }

  private static List<String> line(List<String> pool, Random random) {
    List<String> line = new ArrayList<>(random.nextBoolean() ? BASE : List.of());
    int count = random.nextInt(6);
    for (int j = 0; j < count; j++) {
      String word = pool.get(random.nextInt(pool.size()));
      line.add(random.nextInt(3) == 0 ? mutated(word, random) : word);
    }
    return line;
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
            "socket,id=c,host=h,port=1",
            "socket,id=c,fd=7,server=on",
            "virtserialport,chardev=c",
            "unix:/x,server,nowait",
            "telnet:h:7,server",
            "tap,id=n,fd=5",
            "tap,id=m,fds=5:6,vhost=on",
            "user,id=u,dnssearch=a,dnssearch=b",
            "user,model=e1000,hostfwd=tcp::2222-:22",
            "virtio-net-pci,netdev=n",
            "unix=on,addr=/x",
            "port=0,disable-ticketing",
            "spicevmc,id=c,name=usbredir",
            "qom-type=iothread,id=i",
            "file=/x,if=virtio",
            "{\"driver\":\"file\",\"filename\":\"/x\",\"node-name\":\"a\"}",
            "none,id=a",
            "menu=on,splash=/x/s.jpg",
            "pty,id=p,logfile=/dev/fdset/3",
            "file,id=f,path=/dev/fdset/3",
            "set=3,fd=7",
            "e1000.romfile=/x.rom",
            "virtio-rng-pci,romfile=y/z",
            "vhost-vsock-pci,guest-cid=3,vhostfd=4",
            "vhost-user-fs-pci,chardev=c,tag=t",
            "{\"driver\":\"virtio-net-pci\",\"netdev\":\"n\",\"mac\":\"52:54:00:00:00:01\"}",
            "{\"type\":\"user\",\"id\":\"u\",\"hostfwd\":[{\"str\":\"tcp::1-:2\"}]}",
            "{\"qom-type\":\"secret\",\"id\":\"s\",\"data\":\"hunter2\"}",
            "{\"node-name\":\"b\",\"driver\":\"qcow2\",\"file\":\"a\",\"backing\":null}",
            "async-teardown=on",
            "driver=throttle,node-name=t,throttle-group=g,file=a",
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
