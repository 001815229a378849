package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class UserQuotaTest {
  private final UserQuota quota = new UserQuota();

  @Test
  void aUserHasAsManyAsAreAllowedAndOneThatIsGivenBackMakesRoom() {
    UserQuota.Share first = quota.take(7, 2).orElseThrow();
    UserQuota.Share second = quota.take(7, 2).orElseThrow();
    assertThat(quota.take(7, 2)).isEmpty();

    first.close();

    UserQuota.Share third = quota.take(7, 2).orElseThrow();
    assertThat(quota.take(7, 2)).isEmpty();
    second.close();
    third.close();
    assertThat(quota.take(7, 1)).isPresent();
  }

  @Test
  void whatIsGivenBackTwiceCountsOnce() {
    UserQuota.Share first = quota.take(7, 2).orElseThrow();
    assertThat(quota.take(7, 2)).isPresent();

    first.close();
    first.close();

    assertThat(quota.take(7, 2)).isPresent();
    assertThat(quota.take(7, 2)).isEmpty();
  }

  @Test
  void noUserTakesWhatIsAnothers() {
    assertThat(quota.take(7, 1)).isPresent();
    assertThat(quota.take(7, 1)).isEmpty();
    assertThat(quota.take(8, 1)).isPresent();
  }

  @Test
  void whoMayHaveMoreTheNextTimeHasWhatThereIsToo() {
    assertThat(quota.take(7, 1)).isPresent();
    assertThat(quota.take(7, 1)).isEmpty();
    assertThat(quota.take(7, 3)).isPresent();
    assertThat(quota.take(7, Integer.MAX_VALUE)).isPresent();
    assertThat(quota.take(7, 3)).isEmpty();
  }

  @Test
  void manyAtOnceGetNoMoreThanOne() throws InterruptedException {
    AtomicInteger here = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      threads.add(Thread.ofPlatform().start(() -> takeAgainAndAgain(here, most)));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertThat(most).hasValue(1);
    assertThat(quota.take(7, 1)).isPresent();
  }

  private void takeAgainAndAgain(AtomicInteger here, AtomicInteger most) {
    for (int i = 0; i < 10_000; i++) {
      Optional<UserQuota.Share> share = quota.take(7, 1);
      if (share.isPresent()) {
        most.accumulateAndGet(here.incrementAndGet(), Math::max);
        here.decrementAndGet();
        share.get().close();
      }
    }
  }
}
