package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class ProcessIdentityTest {
  private static final int SELF = (int) ProcessHandle.current().pid();

  @Test
  void aProcessThatGotTheNumberLaterIsAnotherOne() {
    ProcessIdentity me = ProcessIdentity.of(SELF);
    assertThat(me.lives()).isTrue();
    assertThat(new ProcessIdentity(SELF, me.start() + 1, me.boot()).lives()).isFalse();
    assertThat(new ProcessIdentity(SELF, me.start(), "earlier").lives()).isFalse();
    assertThat(ProcessIdentity.NONE.lives()).isFalse();
  }

  @Test
  void aProcessThatWaitsToBeReapedIsGone() throws Exception {
    // A shell that does not wait for its child until its input ends.
    Process shell =
        new ProcessBuilder("sh", "-c", "sleep 0.2 & echo $!; exec cat")
            .redirectErrorStream(true)
            .start();
    try (var out = shell.inputReader()) {
      int child = Integer.parseInt(String.valueOf(out.readLine()));
      long deadline = System.nanoTime() + 10_000_000_000L;
      while (ProcessIdentity.of(child).lives()) {
        assertThat(System.nanoTime()).isLessThan(deadline);
        Thread.onSpinWait();
      }
      assertThat(Host.processStart(child)).isPresent();
    } finally {
      shell.destroyForcibly().waitFor();
    }
  }
}
