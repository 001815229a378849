package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.qemu.Qmp.QmpException;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Peers that stay silent or end, and what becomes of commands then.
@Timeout(60)
class QmpEndTest extends QmpConversation {
  @Test
  void aPeerThatDoesNotGreetIsGivenUp() {
    peer.start();

    assertThatThrownBy(() -> open(Duration.ofMillis(50)))
        .isInstanceOf(QmpException.class)
        .hasMessage("greeting: no answer within 50 ms");
    ear.awaitEnd();
    assertThat(peer.ours.fd().isOpen()).isFalse();
  }

  @Test
  void aCommandThatIsNotAnsweredIsGivenUp() {
    Duration patience = Duration.ofMillis(100);
    openGreeted(ControlWatcher.NONE, patience);
    peer.answer("silence", (_, _) -> {});
    long start = System.nanoTime();

    assertThatThrownBy(() -> execute("silence"))
        .isInstanceOf(QmpException.class)
        .hasMessage("silence: no answer within 100 ms");

    assertThat(Duration.ofNanos(System.nanoTime() - start))
        .isBetween(patience, patience.plusSeconds(5));
  }

  @Test
  void aPeerThatEndsInsideACommandFailsItAtOnce() {
    openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());

    assertThatThrownBy(() -> execute("die"))
        .isInstanceOf(QmpException.class)
        .hasMessage("die: the hypervisor closed its control channel");
    ear.awaitEnd();
    assertThat(ear.reasons).containsExactly("the hypervisor closed its control channel");
    assertThat(peer.ours.fd().isOpen()).isFalse();
  }

  @Test
  void aPeerThatEndsInsideALineFailsTheCommand() {
    openGreeted();
    peer.answer(
        "die",
        (id, p) -> {
          p.send("{\"return\":{},\"id\":\"" + id + "\"");
          p.hangUp();
        });

    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
  }

  @Test
  void aCommandAfterTheEndIsRefusedLikeEveryOther() {
    openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());
    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
    ear.awaitEnd();

    assertThatThrownBy(() -> execute("query-status")).isInstanceOf(QmpException.class);
  }

  @Test
  void aCommandPostedAfterTheEndFailsAsASystemCallDoes() {
    Qmp open = openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());
    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
    ear.awaitEnd();

    assertThatThrownBy(() -> open.post("migrate", Qmp.encode("migrate", Map.of(), "m")))
        .isInstanceOfAny(LinuxException.class, QmpException.class);
  }

  @Test
  void theEndIsToldOnce() {
    Qmp open = openGreeted();
    open.close();
    open.close();
    ear.awaitEnd();
    open.close();

    assertThat(ear.reasons).hasSize(1);
  }

  @Test
  void openingAndClosingLeavesNothingBehind() {
    long before = 0;
    for (int i = 0; i < 200; i++) {
      Ear other = new Ear();
      try (Peer partner = new Peer()) {
        partner.send(GREETING.getBytes(UTF_8));
        partner.start();
        Qmp.open(partner.ours, "t", new Transcript(), other, LIMIT).close();
        other.awaitEnd();
      }
      before = i == 20 ? openDescriptors() : before;
    }
    assertThat(openDescriptors()).isLessThanOrEqualTo(before);
  }

  @Test
  void aWaitThatIsInterruptedEndsAndKeepsTheInterrupt() {
    openGreeted(ControlWatcher.NONE, Duration.ofSeconds(20));
    peer.answer("silence", (_, _) -> {});
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> execute("silence"))
        .isInstanceOf(QmpException.class)
        .hasMessage("silence: interrupted");

    assertThat(Thread.interrupted()).isTrue();
  }
}
