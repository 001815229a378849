package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.LogFile;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

class RunStatesTest {
  @TempDir Path folder;

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
  void aGuestThatSleepsOnWhereItWasMovedHasBeenTakenOver() {
    String sleeps = "runstate_set current_run_state 1 (inmigrate) new_state 12 (suspended)\n";
    assertThat(RunStates.hasRun(WAITS + sleeps)).contains(true);
  }

  /// QEMU's own list, of both ends of what is supported here.
  @ParameterizedTest
  @ValueSource(strings = {"qemu-7.2", "qemu-10.0"})
  @Tag("slow")
  void everyRunStateThatQemuHasIsKnown(String name) throws Exception {
    QemuRelease release = QemuReleasesTest.fetched().fetch(name, System.out::println);
    List<String> command = new ArrayList<>(List.of(release.binary().toString()));
    command.addAll(release.arguments());
    command.addAll(List.of("-nodefaults", "-display", "none", "-M", "none", "-S", "-qmp", "stdio"));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().putAll(release.environment());
    Process qemu = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
    String said;
    try (Writer in = qemu.outputWriter()) {
      for (String order : List.of("qmp_capabilities", "query-qmp-schema", "quit")) {
        in.write("{\"execute\": \"" + order + "\"}\n");
      }
      in.flush();
      said = new String(qemu.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    } finally {
      qemu.destroyForcibly().waitFor();
    }
    List<String> states = new ArrayList<>();
    for (String line : said.lines().toList()) {
      JsonNode types = QmpMessage.JSON.readTree(line).path("return");
      for (JsonNode type : types) {
        List<String> values = new ArrayList<>();
        type.path("values").forEach(value -> values.add(value.asString("")));
        if (values.contains("inmigrate") && values.contains("postmigrate")) {
          states.addAll(values);
        }
      }
    }
    assertThat(states).hasSizeGreaterThan(10).noneMatch(s -> RunStates.of(s) == RunState.UNKNOWN);
    assertThat(RunStates.of("a state of tomorrow")).isEqualTo(RunState.UNKNOWN);
  }

  @Test
  void aLogWithoutRunStatesTellsNothing() {
    assertThat(RunStates.hasRun("")).isEmpty();
    assertThat(RunStates.hasRun("qemu: warning: running\n")).isEmpty();
  }

  @Test
  void aLogThatIsNotWholeDoesNotSayThatTheGuestNeverRan() throws Exception {
    Path log = folder.resolve("hypervisor-3.log");
    Files.writeString(log, WAITS);
    assertThat(new Qemu().hasRun(folder, 3)).contains(false);

    Files.writeString(log, WAITS + "qemu: noise\n".repeat(50_000) + RUNS + STOPS.repeat(10));
    assertThat(new Qemu().hasRun(folder, 3)).contains(true);

    String noise = "qemu: noise\n".repeat(100_000);
    Files.writeString(log, WAITS + noise + RUNS + noise);
    assertThat(new Qemu().hasRun(folder, 3)).as("it may stand where nothing is read").isEmpty();
    assertThat(new LogFile(log).cut()).isTrue();
    assertThat(new Qemu().hasRun(folder, 3)).as("it was cut out").isEmpty();

    Files.writeString(log, WAITS + RUNS + noise + noise);
    assertThat(new LogFile(log).cut()).isTrue();
    assertThat(new Qemu().hasRun(folder, 3)).as("the beginning stays").contains(true);
  }

  @Test
  void theLastChangesTellWhenTheClocksStopped() {
    String log = "27@100.000001:" + RUNS + "27@200.000002:" + STOPS;
    assertThat(RunStates.clocksStarted(log)).hasValue(100_000_001);
    assertThat(RunStates.clocksStopped(log)).hasValue(200_000_002);
    assertThat(RunStates.clocksStarted(log + "27@300.500000:" + RUNS)).hasValue(300_500_000);
  }

  @Test
  void whatCarriesNoTimeTellsNone() {
    assertThat(RunStates.clocksStarted(RUNS)).isEmpty();
    assertThat(RunStates.clocksStopped("27@200.000002:" + RUNS)).isEmpty();
    assertThat(RunStates.clocksStopped("99999999999999@9.000000:" + STOPS)).isEmpty();
  }

  @Test
  void wordsAreWhatIsLeft() {
    assertThat(RunStates.words(List.of("2026-11-28T20:56:46.066933Z qemu: it says no")))
        .containsExactly("qemu: it says no");
    assertThat(RunStates.words((WAITS + "qemu: it says no\n" + RUNS).lines().toList()))
        .containsExactly("qemu: it says no");
  }
}
