package dev.hyperfresh.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(20)
class UnixSocketTest {
  private static final String SEND_EIGHTY =
      """
      #include <string.h>
      #include <sys/socket.h>
      int main(void) {
        char byte = 'x', control[CMSG_SPACE(80 * sizeof(int))];
        struct iovec data = {&byte, 1};
        struct msghdr message = {0};
        memset(control, 0, sizeof control);
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(80 * sizeof(int));
        return sendmsg(3, &message, 0) == 1 ? 0 : 1;
      }
      """;

  @TempDir Path folder;

  @Test
  void carriesDescriptorsInOrderWithTheFirstByte() throws Exception {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        MemFd first = MemFd.create("first", 4096);
        MemFd second = MemFd.create("second", 8192);
        Mapping mapping = first.map(true)) {
      mapping.segment().set(JAVA_BYTE, 0, (byte) 77);
      left.send(new byte[] {1, 2, 3}, first.fd(), second.fd());

      List<Fd> received = new ArrayList<>();
      byte[] buffer = new byte[16];
      assertThat(right.receive(buffer, received)).isEqualTo(3);
      assertThat(buffer).startsWith(1, 2, 3, 0);
      assertThat(received).hasSize(2);
      try (MemFd again = MemFd.adopt(received.get(0));
          MemFd other = MemFd.adopt(received.get(1));
          Mapping seen = again.map(false)) {
        assertThat(again.inode()).isEqualTo(first.inode());
        assertThat(other.inode()).isEqualTo(second.inode());
        assertThat(seen.segment().get(JAVA_BYTE, 0)).isEqualTo((byte) 77);
        String info = Files.readString(Path.of("/proc/self/fdinfo/" + again.fd().number()));
        assertThat(info).as("close-on-exec").containsPattern("flags:\\s+02[0-9]{6}");
      }
      assertThat(first.fd().isOpen()).isTrue();
    }
  }

  @Test
  void sixtyFourDescriptorsTravelAndOneMoreIsRefused() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      Fd[] most = Collections.nCopies(64, left.fd()).toArray(Fd[]::new);
      Fd[] more = Collections.nCopies(65, left.fd()).toArray(Fd[]::new);
      left.send(new byte[1], most);
      List<Fd> received = new ArrayList<>();
      right.receive(new byte[1], received);

      assertThat(received).hasSize(64);
      received.forEach(Fd::close);
      assertThatThrownBy(() -> left.send(new byte[1], more))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("at most 64");
      assertThatThrownBy(() -> left.send(new byte[0], left.fd()))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void moreDescriptorsThanFitAreClosedAndReported() throws Exception {
    Here.requireProgram("gcc");
    Path source = Files.writeString(folder.resolve("eighty.c"), SEND_EIGHTY);
    Path program = folder.resolve("eighty");
    Here.run("gcc", "-w", "-o", program.toString(), source.toString());
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        ChildProcess child =
            ChildProcess.spawn(
                new ChildProcess.Request(
                    List.of(program.toString()),
                    Map.of(),
                    Map.of(3, left.fd()),
                    folder.resolve("out"),
                    false))) {
      assertThat(child.waitFor().describe()).isEqualTo("exit code 0");
      long before = Here.openDescriptors();
      List<Fd> received = new ArrayList<>();

      assertThatThrownBy(() -> right.receive(new byte[1], received))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("EMSGSIZE");
      assertThat(received).isEmpty();
      assertThat(Here.openDescriptors()).isEqualTo(before);
    }
  }

  @Test
  void listensConnectsAndKnowsThePeer() throws Exception {
    Path path = folder.resolve("api.sock");
    try (UnixSocket listener = UnixSocket.listen(path, 0600)) {
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
          .isEqualTo("rw-------");
      try (UnixSocket client = UnixSocket.connect(path);
          UnixSocket server = listener.accept()) {
        client.send(new byte[] {5});
        byte[] buffer = new byte[2];

        assertThat(server.receive(buffer, new ArrayList<>())).isEqualTo(1);
        assertThat(server.peer().pid()).isEqualTo((int) ProcessHandle.current().pid());
        assertThat(server.peer().uid()).isEqualTo(Host.effectiveUid());
        client.shutdown();
        assertThat(server.receive(buffer, new ArrayList<>())).isEqualTo(-1);
      }
      assertThatThrownBy(() -> UnixSocket.listen(path, 0600)).hasMessageContaining("EADDRINUSE");
    }
    assertThatThrownBy(() -> UnixSocket.connect(path)).hasMessageContaining("ECONNREFUSED");
  }

  @Test
  void saysAtWhichFileItListens() throws Exception {
    Path path = folder.resolve("a b,c");
    try (UnixSocket listener = UnixSocket.listen(path, 0600);
        UnixSocket client = UnixSocket.connect(path);
        UnixSocket server = listener.accept()) {
      assertThat(listener.listensAt()).contains(path);
      assertThat(client.listensAt()).isEmpty();
      assertThat(server.listensAt()).as("of the same name").isEmpty();
      // What it was made with stays its name.
      Files.move(path, folder.resolve("elsewhere"));
      assertThat(listener.listensAt()).contains(path);
    }
    UnixSocket.Pair pair = UnixSocket.pair();
    assertThat(pair.left().listensAt()).isEmpty();
    pair.left().close();
    pair.right().close();
  }

  @Test
  void givesTheFileTheAskedModeWhateverTheUmask() throws Exception {
    Path path = folder.resolve("open.sock");
    try (UnixSocket listener = UnixSocket.listen(path, 0666)) {
      assertThat(listener.fd().isOpen()).isTrue();
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
          .isEqualTo("rw-rw-rw-");
    }
  }

  @Test
  void takesAPathOf107BytesAndRefuses108() {
    String prefix = folder + "/";
    Path longest = Path.of(prefix + "s".repeat(UnixSocket.MAX_PATH - prefix.length()));
    Path tooLong = Path.of(longest + "s");
    try (UnixSocket listener = UnixSocket.listen(longest, 0600);
        UnixSocket client = UnixSocket.connect(longest)) {
      assertThat(client.fd().label()).isEqualTo(longest.toString());
      assertThat(listener.fd().isOpen()).isTrue();
    }
    assertThatThrownBy(() -> UnixSocket.listen(tooLong, 0600))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("has 108 bytes and may have 1 to 107: choose a shorter folder");
    assertThatThrownBy(() -> UnixSocket.connect(tooLong))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aMegabyteArrivesWhole() throws Exception {
    byte[] data = new byte[1 << 20];
    new Random(7).nextBytes(data);
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      FutureTask<byte[]> reader = new FutureTask<>(() -> readAll(right, data.length));
      Thread.ofPlatform().start(reader);
      left.send(data);

      assertThat(reader.get(10, TimeUnit.SECONDS)).isEqualTo(data);
    }
  }

  @Test
  void receiveGivesUpAfterTheTimeout() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      assertThat(right.fd().isOpen()).isTrue();
      left.receiveTimeout(Duration.ofMillis(30));
      long start = System.nanoTime();

      assertThatThrownBy(() -> left.receive(new byte[1], new ArrayList<>()))
          .isInstanceOfSatisfying(
              LinuxException.class, late -> assertThat(late.errno()).isEqualTo(Constants.EAGAIN));
      assertThat(System.nanoTime() - start).isGreaterThan(25_000_000L);
      assertThatThrownBy(() -> left.receiveTimeout(Duration.ofNanos(-1)))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void shutdownWakesAReaderAndAnAcceptor() throws Exception {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        UnixSocket listener = UnixSocket.listen(folder.resolve("wake.sock"), 0600)) {
      assertThat(right.fd().isOpen()).isTrue();
      FutureTask<Integer> reader =
          new FutureTask<>(() -> left.receive(new byte[1], new ArrayList<>()));
      FutureTask<String> acceptor = new FutureTask<>(() -> refusalOf(listener));
      Thread.ofPlatform().start(reader);
      Thread.ofPlatform().start(acceptor);
      left.shutdown();
      listener.shutdown();

      assertThat(reader.get(5, TimeUnit.SECONDS)).isEqualTo(-1);
      assertThat(acceptor.get(5, TimeUnit.SECONDS)).isEqualTo("EINVAL");
    }
  }

  @Test
  void whatArrivedBeforeTheInputWasShutDownIsReadToItsEnd() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      left.send(new byte[100_000]);
      right.shutdownInput();
      assertThatThrownBy(() -> left.send(new byte[1])).hasMessageContaining("EPIPE");

      byte[] chunk = new byte[4096];
      int all = 0;
      for (int got = right.fd().read(chunk, 0, chunk.length);
          got >= 0;
          got = right.fd().read(chunk, 0, chunk.length)) {
        all += got;
      }
      assertThat(all).isEqualTo(100_000);
    }
  }

  @Test
  void sendingToAClosedEndIsAnErrorAndNoSignal() {
    UnixSocket.Pair pair = UnixSocket.pair();
    pair.right().close();
    try (UnixSocket left = pair.left()) {
      assertThatThrownBy(() -> left.send(new byte[1])).hasMessageContaining("EPIPE (32)");
    }
  }

  @Test
  void aListenerWhoseQueueIsFullIsNotWaitedForForEver() {
    Path path = folder.resolve("busy");
    List<UnixSocket> waiting = new ArrayList<>();
    try (UnixSocket listener = UnixSocket.listen(path, 0600)) {
      // A queue of one, as QEMU's control socket has it.
      assertThat(SocketCalls.listen(listener.fd().number(), 1)).isZero();
      Duration limit = Duration.ofMillis(100);
      assertThatThrownBy(
              () -> {
                while (waiting.size() < 100) {
                  waiting.add(UnixSocket.connect(path, limit));
                }
              })
          .hasMessageContaining("EAGAIN");
      assertThat(waiting).isNotEmpty().hasSizeLessThan(10);
    } finally {
      waiting.forEach(UnixSocket::close);
    }
  }

  private static String refusalOf(UnixSocket listener) {
    try (UnixSocket accepted = listener.accept()) {
      return "accepted " + accepted.fd();
    } catch (LinuxException refused) {
      return refused.errnoName();
    }
  }

  private static byte[] readAll(UnixSocket socket, int bytes) {
    byte[] all = new byte[bytes];
    byte[] buffer = new byte[100_000];
    int at = 0;
    while (at < bytes) {
      int got = socket.receive(buffer, new ArrayList<>());
      System.arraycopy(buffer, 0, all, at, got);
      at += got;
    }
    return all;
  }
}
