package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.UpgradeFrame.Word;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What a service manager hears of a real daemon.
@Timeout(60)
class ServiceNoticesTest {
  private static final String ALIVE = "WATCHDOG=1";

  @TempDir Path folder = Path.of("");
  private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();

  private ServiceNotices notices(Duration period) {
    return new ServiceNotices(Optional.of(heard::add), period);
  }

  private Daemon start() {
    return Daemon.start(DaemonConfig.under(folder.resolve("state")), notices(Duration.ofHours(1)));
  }

  private String next() throws InterruptedException {
    return String.valueOf(heard.poll(30, TimeUnit.SECONDS));
  }

  @Test
  void aDaemonSaysThatItServesThatItAnswersAndThatItEnds() throws Exception {
    try (Daemon daemon = start()) {
      assertThat(next()).isEqualTo("READY=1");
      assertThat(next()).isEqualTo(ALIVE);
      assertThat(ServiceNotices.answers(daemon.config().socket())).isTrue();
    }
    assertThat(next()).isEqualTo("STOPPING=1");
    assertThat(heard).isEmpty();
  }

  @Test
  void aSuccessorIsTheServiceBeforeItIsToldThatAllIsIts() throws Exception {
    try (Daemon old = start()) {
      assertThat(List.of(next(), next())).containsExactly("READY=1", ALIVE);
      CompletableFuture<Void> over = CompletableFuture.runAsync(() -> awaitEnd(old));
      try (UnixSocket socket = ask(old)) {
        assertThat(next()).matches("RELOADING=1\nMONOTONIC_USEC=[0-9]+");
        new UpgradeFrame(Word.HELD, "0").send(socket);
        assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.YOURS);
        assertThat(heard.poll()).isEqualTo("MAINPID=" + ProcessHandle.current().pid());
      }
      over.get(10, TimeUnit.SECONDS);
    }
    assertThat(heard).as("said by a daemon that is no service any more").isEmpty();
  }

  @Test
  void aDaemonThatKeepsEverythingIsReadyAgain() throws Exception {
    try (Daemon old = start()) {
      assertThat(List.of(next(), next())).containsExactly("READY=1", ALIVE);
      ask(old).close();
      assertThat(next()).startsWith("RELOADING=1");
      assertThat(next()).isEqualTo("READY=1");
    }
  }

  private static UnixSocket ask(Daemon old) throws IOException {
    UnixSocket socket = UnixSocket.connect(old.config().upgradeSocket());
    socket.receiveTimeout(Duration.ofSeconds(30));
    new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(socket);
    assertThat(UpgradeFrame.receive(socket).word()).isEqualTo(Word.GUESTS);
    return socket;
  }

  private static void awaitEnd(Daemon daemon) {
    try {
      daemon.awaitEnd();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void whatDoesNotAnswerIsNotCalledAlive() throws Exception {
    assertThat(ServiceNotices.answers(folder.resolve("nobody"))).isFalse();
    AtomicBoolean healthy = new AtomicBoolean();
    try (ServiceNotices notices = notices(Duration.ofMillis(5))) {
      notices.watch(healthy::get);
      assertThat(heard.poll(100, TimeUnit.MILLISECONDS)).isNull();
      healthy.set(true);
      assertThat(next()).isEqualTo(ALIVE);
      assertThat(next()).isEqualTo(ALIVE);
    }
  }

  @Test
  void withoutAServiceManagerNobodyIsAsked() {
    try (ServiceNotices notices = new ServiceNotices(Optional.empty(), Duration.ofMillis(1))) {
      notices.ready();
      notices.watch(() -> {
        throw new AssertionError("asked");
      });
      notices.stopping();
    }
    assertThat(heard).isEmpty();
  }
}
