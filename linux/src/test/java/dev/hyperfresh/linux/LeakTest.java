package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class LeakTest {
  private static final int ROUNDS = 10_000;
  private static final String MEMORY = "leak-test";

  @Test
  void tenThousandRoundsLeaveNothingBehind() {
    WarmUp.run();
    round();
    long descriptors = Here.openDescriptors();
    assertThat(Here.mappingsOf(MEMORY)).isZero();

    for (int i = 0; i < ROUNDS; i++) {
      round();
    }

    assertThat(Here.openDescriptors()).isEqualTo(descriptors);
    assertThat(Here.mappingsOf(MEMORY)).isZero();
  }

  @Test
  void aHeldObjectIsCounted() {
    long descriptors = Here.openDescriptors();

    try (MemFd memory = MemFd.create(MEMORY, 4096);
        Mapping mapping = memory.map(true)) {
      assertThat(mapping.bytes()).isEqualTo(4096);
      assertThat(Here.openDescriptors()).isEqualTo(descriptors + 1);
      assertThat(Here.mappingsOf(MEMORY)).isEqualTo(1);
    }
  }

  private static void round() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        MemFd memory = MemFd.create(MEMORY, 4096);
        Mapping mapping = memory.map(true)) {
      mapping.segment().fill((byte) 7);
      left.send(new byte[] {1}, memory.fd());
      List<Fd> received = new ArrayList<>();
      right.receive(new byte[8], received);
      try (MemFd same = MemFd.adopt(received.getFirst());
          Mapping other = same.map(false)) {
        assertThat(other.bytes()).isEqualTo(mapping.bytes());
      }
    }
    try (PidFd self = PidFd.open((int) ProcessHandle.current().pid());
        Fd copy = self.fd().duplicate();
        Fd taken = self.takeFd(copy.number())) {
      assertThat(taken.isOpen()).isTrue();
    }
  }
}
