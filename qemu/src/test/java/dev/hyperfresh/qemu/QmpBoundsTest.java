package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.Qmp.QmpException;
import java.util.Collections;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Peers that send without measure, or something else than QMP.
@Timeout(60)
class QmpBoundsTest extends QmpConversation {
  @Test
  void namesAndNumbersWithoutMeasureAreSurvived() {
    openGreeted();
    String long1 = "9".repeat(1 << 20);
    peer.answer(
        "x",
        (id, p) -> {
          p.send(success(long1, "1") + "{\"id\":" + long1.substring(0, 900) + ",\"return\":2}\r\n");
          p.send("{\"id\":[[]],\"return\":3}\r\n{\"id\":null,\"return\":4}\r\n");
          p.send(
              "{\"event\":\"" + long1 + "\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\r\n");
          p.send(success(id, "5"));
        });

    try {
      assertThat(execute("x").asInt()).isEqualTo(5);
      assertThat(execute("ping").isObject()).isTrue();
    } catch (QmpException refused) {
      // Or the connection is ended, which is told like every other end.
      ear.awaitEnd();
    }
  }

  @Test
  void aLineOfJustUnderTheLimitIsRead() {
    openGreeted();
    String padding = " ".repeat(QmpMessage.MAX_LINE_BYTES - 100);
    peer.answer("x", (id, p) -> p.send(success(id, padding + "7")));

    assertThat(execute("x").asInt()).isEqualTo(7);
  }

  @Test
  void aLineOfMoreThanTheLimitEndsTheConnection() {
    openGreeted();
    String padding = " ".repeat(QmpMessage.MAX_LINE_BYTES + 100_000);
    peer.answer("x", (id, p) -> p.send(success(id, padding + "7")));

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("a line of more than 1048576 bytes");
  }

  @Test
  void aLineWithoutAnEndEndsTheConnection() {
    openGreeted();
    byte[] chunk = "x".repeat(64 * 1024).getBytes(UTF_8);
    peer.answer(
        "x",
        (_, p) -> {
          for (int i = 0; i < 4096 && p.send(chunk); i++) {}
        });

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("a line of more than 1048576 bytes");
  }

  @Test
  void garbageEndsTheConnection() {
    openGreeted();
    peer.answer("x", (_, p) -> p.send("HTTP/1.1 400 Bad Request\r\n"));

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("not JSON");
    ear.awaitEnd();
    assertThat(ear.reasons).singleElement().asString().contains("not JSON");
  }

  @Test
  void descriptorsThatNobodyAskedForAreClosed() {
    openGreeted();
    Fd[] sixteen = Collections.nCopies(16, peer.theirs.fd()).toArray(Fd[]::new);
    execute("ping");
    long before = openDescriptors();
    peer.answer(
        "flood",
        (id, p) -> {
          for (int i = 0; i < 500; i++) {
            p.theirs.send(event("F", i).getBytes(UTF_8), sixteen);
          }
          p.theirs.send(success(id, "{}").getBytes(UTF_8), sixteen);
        });

    execute("flood");
    execute("ping");

    assertThat(ear.names).hasSize(500);
    assertThat(openDescriptors()).isEqualTo(before);
  }

  @Test
  void tenThousandCommandsLeaveNothingBehind() throws Exception {
    Qmp open = openGreeted();
    execute("ping");
    long before = openDescriptors();

    for (int i = 0; i < 10_000; i++) {
      execute("ping");
    }

    var pending = Qmp.class.getDeclaredField("pending");
    pending.setAccessible(true);
    assertThat((Map<?, ?>) pending.get(open)).isEmpty();
    assertThat(openDescriptors()).isEqualTo(before);
  }
}
