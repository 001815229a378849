package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.daemon.UpgradeFrame.Word;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What passes between two daemons, spoken by hand with a real one.
@Timeout(60)
class UpgradeProtocolTest {
  @TempDir Path folder = Path.of("");
  private Daemon old;

  @BeforeEach
  void start() {
    old = Daemon.start(DaemonConfig.under(folder.resolve("state")));
  }

  @AfterEach
  void end() {
    old.close();
  }

  private UnixSocket connect() {
    UnixSocket socket = UnixSocket.connect(old.config().upgradeSocket());
    socket.receiveTimeout(Duration.ofSeconds(30));
    return socket;
  }

  private int status() throws Exception {
    return new RawHttp(old.config().socket()).get("/v1/guests").status();
  }

  @Test
  void onlyTheOwnerMayAsk() throws Exception {
    Path socket = old.config().upgradeSocket();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
        .isEqualTo("rw-------");
  }

  @Test
  void theOldDaemonLetsGoWhenAllIsHeld() throws Exception {
    CompletableFuture<Void> over = CompletableFuture.runAsync(this::awaitEnd);
    try (UnixSocket socket = connect()) {
      new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(socket);
      assertThat(UpgradeFrame.receive(socket).require(Word.GUESTS).number(0)).isZero();
      assertThat(status()).as("the old daemon serves until all is held").isEqualTo(200);
      assertThat(over).isNotDone();
      new UpgradeFrame(Word.HELD, "0").send(socket);
      assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.YOURS);
    }
    over.get(10, TimeUnit.SECONDS);
    Daemon.start(old.config()).close();
  }

  @Test
  void aDaemonOfThisProcessTakesOver() throws Exception {
    try (Daemon next = Daemon.upgrade(old.config())) {
      assertThat(new RawHttp(next.config().socket()).get("/v1/guests").status()).isEqualTo(200);
      old.awaitEnd();
    }
  }

  @Test
  void withoutADaemonAnUpgradeStartsOne() {
    old.close();
    Daemon.upgrade(old.config()).close();
  }

  @Test
  void anotherVersionIsRefusedAndTheOldDaemonGoesOn() throws Exception {
    try (UnixSocket socket = connect()) {
      new UpgradeFrame(Word.HELLO, "99").send(socket);
      UpgradeFrame answer = UpgradeFrame.receive(socket);
      assertThatThrownBy(() -> answer.require(Word.GUESTS))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              refused -> assertThat(refused.problem()).isEqualTo(Problem.DAEMON_UPGRADE))
          .hasMessageContaining("version 1 and not 99");
    }
    assertGoesOn();
  }

  @Test
  void aNewDaemonThatBreaksOffChangesNothing() throws Exception {
    try (UnixSocket socket = connect()) {
      new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(socket);
      assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.GUESTS);
      assertThatThrownBy(() -> old.hyperplexor().begin())
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              refused -> assertThat(refused.problem()).isEqualTo(Problem.DAEMON_UPGRADING));
    }
    assertGoesOn();
  }

  @Test
  void aNewDaemonThatHoldsAnotherNumberOfGuestsGetsNothing() throws Exception {
    try (UnixSocket socket = connect()) {
      new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(socket);
      assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.GUESTS);
      new UpgradeFrame(Word.HELD, "7").send(socket);
      assertThatThrownBy(() -> UpgradeFrame.receive(socket)).isInstanceOf(IOException.class);
    }
    assertGoesOn();
  }

  @Test
  void whatIsNoMessageChangesNothing() throws Exception {
    for (String nonsense :
        List.of("GET / HTTP/1.1\r\n\r\n", "x".repeat(256), "HELD 1" + " ".repeat(250))) {
      try (UnixSocket socket = connect()) {
        socket.send(nonsense.getBytes(StandardCharsets.UTF_8));
      }
    }
    assertGoesOn();
  }

  @Test
  void workInFlightIsWaitedFor() throws Exception {
    try (UnixSocket socket = connect()) {
      CompletableFuture<UpgradeFrame> answer;
      try (var _ = old.hyperplexor().begin()) {
        new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(socket);
        answer = CompletableFuture.supplyAsync(() -> received(socket));
        LockSupport.parkNanos(300_000_000);
        assertThat(answer).isNotDone();
      }
      assertThat(answer.get(10, TimeUnit.SECONDS).word()).isEqualTo(Word.GUESTS);
    }
    assertGoesOn();
  }

  @Test
  void descriptorsComeWithTheirMessage() throws Exception {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        MemFd one = MemFd.create("one", 4096);
        MemFd two = MemFd.create("two", 8192)) {
      new UpgradeFrame(Word.GUEST, "a", List.of(one.fd())).send(left);
      new UpgradeFrame(Word.GUEST, "b", List.of(two.fd(), one.fd())).send(left);

      UpgradeFrame first = UpgradeFrame.receive(right);
      UpgradeFrame second = UpgradeFrame.receive(right);

      assertThat(first.text()).isEqualTo("a");
      assertThat(first.descriptors()).hasSize(1);
      assertThat(second.descriptors()).hasSize(2);
      try (MemFd came = MemFd.adopt(second.descriptors().getFirst())) {
        assertThat(came.inode()).isEqualTo(two.inode());
      }
      first.descriptors().forEach(Fd::close);
      second.descriptors().getLast().close();
    }
  }

  @Test
  void severalMemoriesAreToldFromPorts() throws Exception {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        MemFd one = MemFd.create("one", 4096);
        MemFd two = MemFd.create("two", 8192);
        MemFd port = MemFd.create("port", 4096)) {
      for (List<Fd> memories : List.of(List.of(one.fd()), List.of(two.fd(), one.fd()))) {
        UpgradeFrame.guest("a", new Holdings(memories, List.of(port.fd()))).send(left);

        UpgradeFrame came = UpgradeFrame.receive(right);

        assertThat(came.guest()).isEqualTo("a");
        try (Holdings held = came.holdings();
            GuestMemory memory = GuestMemory.adopt(held.memories())) {
          assertThat(memory.parts()).hasSameSizeAs(memories);
          assertThat(memory.parts().getFirst().bytes()).isEqualTo(memories.size() * 4096L);
          assertThat(held.nicQueues()).hasSize(1);
        }
      }
      for (String text : List.of("a 0", "a 2", "a x", "a 1 1")) {
        new UpgradeFrame(Word.GUEST, text, List.of(one.fd())).send(left);
        UpgradeFrame came = UpgradeFrame.receive(right);
        assertThatThrownBy(came::holdings).as(text).isInstanceOf(IOException.class);
        assertThat(came.descriptors()).noneMatch(Fd::isOpen);
      }
    }
  }

  private static UpgradeFrame received(UnixSocket socket) {
    try {
      return UpgradeFrame.receive(socket);
    } catch (IOException | LinuxException e) {
      return new UpgradeFrame(Word.REFUSED, String.valueOf(e.getMessage()));
    }
  }

  private void awaitEnd() {
    try {
      old.awaitEnd();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Work is taken again as soon as the old daemon has noticed.
  private void assertGoesOn() throws Exception {
    assertThat(status()).isEqualTo(200);
    try (UnixSocket socket = connect()) {
      new UpgradeFrame(Word.HELLO, "0").send(socket);
      assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.REFUSED);
    }
    old.hyperplexor().begin().close();
  }
}
