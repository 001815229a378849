package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(20)
class PidFdTest {
  @TempDir Path folder;

  @Test
  void takesBackADescriptorThatAChildHolds() {
    MemFd mine = MemFd.create("held-by-child", 4096);
    long inode = mine.inode();
    try (ChildProcess child = sleeper(Map.of(5, mine.fd()))) {
      mine.close();
      try (MemFd taken = MemFd.adopt(child.pidFd().takeFd(5))) {
        assertThat(taken.inode()).isEqualTo(inode);
        assertThat(taken.fd().label()).isEqualTo("descriptor 5 of process " + child.pid());
      }
      assertThatThrownBy(() -> child.pidFd().takeFd(99)).hasMessageContaining("EBADF");
      child.kill();
      child.waitFor();
      assertThatThrownBy(() -> child.pidFd().takeFd(5)).hasMessageContaining("ESRCH");
    }
  }

  @Test
  void signalsStopContinueAndEndAProcess() throws Exception {
    try (ChildProcess child = sleeper(Map.of());
        PidFd held = PidFd.open(child.pid())) {
      assertThat(held.exited()).isFalse();
      assertThat(held.pid()).isEqualTo(child.pid());
      held.signal(Signals.STOP);
      awaitState(child.pid(), "T");
      held.signal(Signals.CONT);
      awaitState(child.pid(), "S");
      assertThat(held.awaitExit(Duration.ofMillis(10))).isFalse();
      held.signal(Signals.TERM);

      assertThat(held.awaitExit(Duration.ofSeconds(5))).isTrue();
      assertThat(held.exited()).isTrue();
      assertThat(child.waitFor()).isEqualTo(Exit.bySignal(Signals.TERM));
      assertThat(held.exited()).isTrue();
      assertThatThrownBy(() -> held.signal(Signals.TERM)).hasMessageContaining("ESRCH");
    }
  }

  @Test
  void aProcessThatIsNotThereIsNamed() {
    assertThatThrownBy(() -> PidFd.open(Integer.MAX_VALUE))
        .hasMessage("pidfd_open process 2147483647: ESRCH (3)");
  }

  private ChildProcess sleeper(Map<Integer, Fd> descriptors) {
    return ChildProcess.spawn(
        new ChildProcess.Request(
            List.of("sleep", "60"), Map.of(), descriptors, folder.resolve("out"), true));
  }

  private static void awaitState(int pid, String state) throws Exception {
    long deadline = System.nanoTime() + Duration.ofSeconds(5).toNanos();
    String seen = "";
    while (!seen.equals(state) && System.nanoTime() < deadline) {
      seen = Files.readString(Path.of("/proc/" + pid + "/stat")).split(" ")[2];
    }
    assertThat(seen).isEqualTo(state);
  }
}
