package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.QemuProcess;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class TakingBackTest {
  private final List<String> told = new CopyOnWriteArrayList<>();
  private final BlockingQueue<Thread> attempts = new LinkedBlockingQueue<>();
  private final TakingBack takingBack = new TakingBack(told::add);

  @Test
  void whatDoesNotComeOffIsTriedAgain() throws Exception {
    takingBack.begin("OS web", "hf-test-web", this::fail);

    attempts.take();
    attempts.take();

    assertThat(told).containsExactly("OS web is not reattached yet: it is silent");
    assertThat(takingBack.why("OS web")).isEqualTo("it is silent");
    takingBack.close();
  }

  @Test
  void nobodyTriesAgainOnceItIsClosed() throws Exception {
    takingBack.begin("OS web", "hf-test-web", this::fail);
    Thread thread = attempts.take();

    takingBack.close();

    assertThat(thread.join(Duration.ofSeconds(20))).isTrue();
    takingBack.await(Duration.ofSeconds(20));
  }

  @Test
  void aThreadThatIsInterruptedTriesNoMore() throws Exception {
    takingBack.begin("OS web", "hf-test-web", this::fail);
    Thread thread = attempts.take();

    thread.interrupt();

    assertThat(thread.join(Duration.ofSeconds(20))).isTrue();
    assertThat(takingBack.why("OS web")).isEqualTo("it is silent");
    takingBack.close();
  }

  /// A process on the host that does not die is no defect either.
  @Test
  void theTroubleOfAProcessIsToldInItsOwnWords() throws Exception {
    takingBack.begin(
        "OS web",
        "hf-test-web",
        () -> {
          attempts.add(Thread.currentThread());
          throw new QemuProcess.TroubleException("process 7 does not die");
        });
    attempts.take();
    attempts.take();

    assertThat(takingBack.why("OS web")).isEqualTo("process 7 does not die");
    takingBack.close();
  }

  private void fail() {
    attempts.add(Thread.currentThread());
    throw new TroubleException("it is silent");
  }
}
