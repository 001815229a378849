package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class RunStatesTest {
  private static final String WAITS = "qio_channel_socket_new Socket new ioc=0x55fd86617400\n";
  private static final String RUNS =
      "runstate_set current_run_state 7 (inmigrate) new_state 9 (running)\n";
  private static final String STOPS =
      "runstate_set current_run_state 9 (running) new_state 10 (save-vm)\n";

  @Test
  void aProcessThatOnlyWaitedHasNotRunTheGuest() {
    assertThat(RunStates.hasRun(WAITS)).contains(false);
    assertThat(RunStates.hasRun(WAITS + "qemu: load of migration failed (running)\n"))
        .contains(false);
  }

  @Test
  void aProcessThatRanTheGuestHasWhateverItDidLater() {
    assertThat(RunStates.hasRun(WAITS + RUNS)).contains(true);
    assertThat(RunStates.hasRun(WAITS + RUNS + STOPS)).contains(true);
    assertThat(RunStates.hasRun("27@1.5:" + RUNS)).contains(true);
  }

  @Test
  void aLogWithoutRunStatesTellsNothing() {
    assertThat(RunStates.hasRun("")).isEmpty();
    assertThat(RunStates.hasRun("qemu: warning: running\n")).isEmpty();
  }

  @Test
  void wordsAreWhatIsLeft() {
    assertThat(RunStates.words(WAITS + "qemu: it says no\n\n" + RUNS))
        .containsExactly("qemu: it says no");
  }
}
