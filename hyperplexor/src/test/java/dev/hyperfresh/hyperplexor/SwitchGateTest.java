package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(20)
class SwitchGateTest {
  @Test
  void aSmallHostSwitchesOneGuestAtATimeAndALargeOneAGuestForTwoCores() {
    assertThat(List.of(1, 2, 3, 4, 5, 16).stream().map(c -> SwitchGate.forCores(c).free()))
        .containsExactly(1, 1, 1, 2, 2, 8);
  }

  @Test
  void aGateForNobodyIsRefused() {
    assertThatThrownBy(() -> new SwitchGate(0)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aPlaceIsGivenBackOnce() throws Exception {
    SwitchGate gate = new SwitchGate(2);
    SwitchGate.Pass pass = gate.enter();
    assertThat(gate.free()).isEqualTo(1);

    pass.leave();
    pass.leave();

    assertThat(gate.free()).isEqualTo(2);
  }

  @Test
  void guestsSwitchInTheOrderInWhichTheyCame() throws Exception {
    SwitchGate gate = new SwitchGate(1);
    SwitchGate.Pass first = gate.enter();
    List<Integer> order = new CopyOnWriteArrayList<>();
    CountDownLatch done = new CountDownLatch(5);
    for (int i = 0; i < 5; i++) {
      int number = i;
      Thread waiting =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  SwitchGate.Pass pass = gate.enter();
                  order.add(number);
                  pass.leave();
                } catch (InterruptedException e) {
                  order.add(-1);
                }
                done.countDown();
              });
      while (waiting.getState() != Thread.State.WAITING) {
        LockSupport.parkNanos(100_000);
      }
    }

    first.leave();
    done.await();

    assertThat(order).containsExactly(0, 1, 2, 3, 4);
    assertThat(gate.free()).isEqualTo(1);
  }
}
