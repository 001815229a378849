package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class MovesTest {
  /// Whoever is no longer waited for must not be told that the container is untouched.
  @Test
  void anInterruptOfTheWaitingIsNoEndOfTheMove() throws Exception {
    CountDownLatch go = new CountDownLatch(1);
    CountDownLatch done = new CountDownLatch(1);
    Thread.currentThread().interrupt();
    assertThatThrownBy(() ->
            new Moves(_ -> {})
                .await(
                    "c1",
                    () -> {
                      awaitQuietly(go);
                      done.countDown();
                      throw new IllegalStateException("nobody hears");
                    }))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_UNFINISHED));
    assertThat(Thread.interrupted()).isTrue();
    go.countDown();
    assertThat(done.await(10, TimeUnit.SECONDS)).isTrue();
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError("the thread of a move is never interrupted", e);
    }
  }
}
