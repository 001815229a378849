package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FdTest {
  private static final int WRITE_NEW = OpenFlags.WRITE_ONLY | OpenFlags.CREATE;

  @TempDir Path folder;

  @Test
  void readsBackWhatItWrote() throws Exception {
    Path file = folder.resolve("data");
    byte[] text = "-hello-".getBytes(StandardCharsets.UTF_8);
    try (Fd out = Fd.open(file, WRITE_NEW)) {
      assertThat(out.write(text, 1, 5)).isEqualTo(5);
      out.sync();
      out.syncAll();
    }

    byte[] buffer = new byte[8];
    try (Fd in = Fd.open(file, OpenFlags.READ_ONLY)) {
      assertThat(in.read(buffer, 2, 6)).isEqualTo(5);
      assertThat(in.read(buffer, 0, 1)).isEqualTo(-1);
    }
    assertThat(new String(buffer, 2, 5, StandardCharsets.UTF_8)).isEqualTo("hello");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
  }

  @Test
  void appendsAndTruncates() throws Exception {
    Path file = Files.writeString(folder.resolve("log"), "one");
    try (Fd log = Fd.open(file, OpenFlags.WRITE_ONLY | OpenFlags.APPEND)) {
      log.write("two".getBytes(StandardCharsets.UTF_8), 0, 3);
    }
    assertThat(file).hasContent("onetwo");

    try (Fd log = Fd.open(file, OpenFlags.WRITE_ONLY | OpenFlags.TRUNCATE)) {
      log.write("3".getBytes(StandardCharsets.UTF_8), 0, 1);
    }
    assertThat(file).hasContent("3");
  }

  @Test
  void movesAtMostOneBufferAtATime() {
    byte[] data = new byte[Scratch.BUFFER_BYTES + 10];
    Arrays.fill(data, (byte) 5);
    Path file = folder.resolve("big");
    try (Fd out = Fd.open(file, WRITE_NEW)) {
      assertThat(out.write(data, 0, data.length)).isEqualTo(Scratch.BUFFER_BYTES);
    }
    byte[] back = new byte[data.length];
    try (Fd in = Fd.open(file, OpenFlags.READ_ONLY)) {
      assertThat(in.read(back, 0, back.length)).isEqualTo(Scratch.BUFFER_BYTES);
    }
    assertThat(back[Scratch.BUFFER_BYTES - 1]).isEqualTo((byte) 5);
    assertThat(back[Scratch.BUFFER_BYTES]).isEqualTo((byte) 0);
  }

  @Test
  void namesTheFileAndTheErrorWhenItCannotOpen() {
    Path missing = folder.resolve("missing");

    LinuxException refused =
        catchThrowableOfType(LinuxException.class, () -> Fd.open(missing, OpenFlags.READ_ONLY));

    assertThat(refused).hasMessage("open " + missing + ": ENOENT (2)");
    assertThat(refused.call()).isEqualTo("open");
    assertThat(refused.object()).isEqualTo(missing.toString());
    assertThat(refused.errno()).isEqualTo(2);
    assertThat(refused.errnoName()).isEqualTo("ENOENT");
  }

  @Test
  void closesTheNumberOnceAndRefusesUseAfterwards() {
    Fd first = Fd.open(Path.of("/dev/null"), OpenFlags.READ_WRITE);
    int number = first.number();
    first.close();
    try (Fd second = Fd.open(Path.of("/dev/null"), OpenFlags.READ_WRITE)) {
      first.close();

      assertThat(first.isOpen()).isFalse();
      assertThat(second.isOpen()).isTrue();
      assertThatThrownBy(second::syncAll).hasMessageContaining("fsync /dev/null: EINVAL");
      assertThat(Files.exists(Path.of("/proc/self/fd/" + second.number()))).isTrue();
    }
    assertThatThrownBy(first::number)
        .isInstanceOf(ClosedException.class)
        .hasMessage("/dev/null is closed");
    assertThatThrownBy(first::sync).isInstanceOf(ClosedException.class);
    assertThatThrownBy(first::syncAll).isInstanceOf(ClosedException.class);
    assertThatThrownBy(first::duplicate).isInstanceOf(ClosedException.class);
    assertThat(number).isNotNegative();
  }

  @Test
  void closeWaitsForTheCallsThatAreUnderWay() {
    Fd fd = Fd.open(Path.of("/dev/null"), OpenFlags.READ_ONLY);
    Path entry = Path.of("/proc/self/fd/" + fd.number());
    fd.acquire();
    fd.acquire();

    fd.close();
    fd.close();
    assertThat(fd.isOpen()).isFalse();
    assertThatThrownBy(fd::acquire).isInstanceOf(ClosedException.class);
    fd.release();
    assertThat(Files.exists(entry, LinkOption.NOFOLLOW_LINKS)).isTrue();
    fd.release();
    assertThat(Files.exists(entry, LinkOption.NOFOLLOW_LINKS)).isFalse();
  }

  @Test
  void manyThreadsCloseOnce() throws Exception {
    for (int round = 0; round < 200; round++) {
      Fd fd = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY);
      Thread closer = Thread.ofPlatform().start(fd::close);
      Thread reader = Thread.ofPlatform().start(() -> readUntilClosed(fd));
      fd.close();
      closer.join();
      reader.join();
      // A second close of the same number would have hit this descriptor, which took it over.
      try (Fd next = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY)) {
        assertThat(next.read(new byte[1], 0, 1)).isEqualTo(1);
      }
    }
  }

  @Test
  void duplicatesOutliveTheOriginalAndAreCloseOnExec() throws Exception {
    Fd original = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY);
    try (Fd copy = original.duplicate()) {
      original.close();

      assertThat(copy.read(new byte[3], 0, 3)).isEqualTo(3);
      String info = Files.readString(Path.of("/proc/self/fdinfo/" + copy.number()));
      assertThat(info).containsPattern("flags:\\s+02[0-9]{6}");
    }
  }

  @Test
  void pollTellsWhetherAReadWouldWait() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      long start = System.nanoTime();
      assertThat(left.fd().pollReadable(Duration.ofMillis(20))).isFalse();
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(20_000_000L);

      right.send(new byte[] {1});
      assertThat(left.fd().pollReadable(Duration.ofSeconds(Long.MAX_VALUE))).isTrue();
      assertThat(left.fd().pollReadable(Duration.ofSeconds(-5))).isTrue();
      left.receive(new byte[1], new ArrayList<>());
      right.shutdown();
      assertThat(left.fd().pollReadable(Duration.ZERO)).isTrue();
    }
  }

  @Test
  void nonBlockingReadAnswersEagain() {
    Path pipe = folder.resolve("pipe");
    Here.requireProgram("mkfifo");
    Here.run("mkfifo", pipe.toString());
    try (Fd both = Fd.open(pipe, OpenFlags.READ_WRITE | OpenFlags.NON_BLOCKING)) {
      assertThatThrownBy(() -> both.read(new byte[1], 0, 1)).hasMessageContaining("EAGAIN");
    }
  }

  private static void readUntilClosed(Fd fd) {
    try {
      while (true) {
        fd.read(new byte[1], 0, 1);
      }
    } catch (ClosedException closed) {
      assertThat(fd.isOpen()).isFalse();
    }
  }

  @Test
  void refusesANumberThatIsNone() {
    assertThatThrownBy(() -> Fd.adopt(-1, "tap queue"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("tap queue");
  }
}
