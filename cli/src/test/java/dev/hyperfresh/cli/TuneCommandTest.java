package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

class TuneCommandTest {
  private static final String HALT = "sys/module/kvm/parameters/halt_poll_ns";
  private static final String PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
  private static final String KSM = "sys/kernel/mm/ksm/run";

  @TempDir Path root;

  @BeforeEach
  void makeAHost() throws IOException {
    file(HALT, "200000");
    file(PAGES, "0");
    file(KSM, "1");
    file("proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 2097152 kB");
  }

  @Test
  void withoutOptionsItShowsAndChangesNothing() throws Exception {
    Said text = run();

    assertThat(text.exit()).isZero();
    assertThat(text.out())
        .contains(
            "not set  halt-polling           KVM polls for up to 200000 ns.",
            "→ hyperfresh machine tune --apply halt-polling (writes 0 to /" + HALT,
            "absent   nested");
    JsonNode knobs = Output.JSON.readTree(run("--json").out()).path("knobs");
    assertThat(knobs).hasSize(9);
    assertThat(knobs.valueStream().filter(knob -> knob.path("settable").asBoolean()))
        .extracting(knob -> knob.path("name").asString() + " " + knob.path("state").asString())
        .containsExactly("halt-polling not_set", "huge-pages not_set", "ksm not_set");
    assertThat(text(HALT) + text(PAGES) + text(KSM)).isEqualTo("20000001");
    assertThat(root.resolve("run")).doesNotExist();
  }

  @Test
  void whatIsNamedIsAppliedAndUndone() throws Exception {
    Said applied = run("--apply", "halt-polling,ksm", "--huge-pages", "64");

    assertThat(applied.exit()).isZero();
    assertThat(applied.out()).contains("200000 → 0", "0 → 32", "1 → 0", "--undo");
    assertThat(text(HALT) + text(PAGES) + text(KSM)).isEqualTo("0320");
    assertThat(run("--apply", "ksm").out()).contains("Nothing had to be changed.");

    JsonNode undone = Output.JSON.readTree(run("--undo", "--json").out());
    assertThat(undone.path("changed")).hasSize(3);
    assertThat(undone.path("left")).isEmpty();
    assertThat(text(HALT) + text(PAGES) + text(KSM)).isEqualTo("20000001");
    assertThat(run("--undo").out()).contains("nothing to undo");
  }

  @Test
  void allIsWhatTheHostLetsBeSet() throws Exception {
    JsonNode changed = Output.JSON.readTree(run("--all", "--json").out()).path("changed");

    assertThat(changed.valueStream())
        .extracting(change -> change.path("name").asString())
        .containsExactly("halt-polling", "ksm");
    assertThat(text(PAGES)).as("nobody said how many").isEqualTo("0");
  }

  @Test
  void everyErrorHasItsExitCode() throws Exception {
    Said unknown = run("--apply", "turbo,ksm");
    assertThat(unknown.exit()).isEqualTo(Problem.TUNE_REQUEST.exitCode());
    assertThat(unknown.err()).contains("HF-TUNE-001", "turbo");

    Said json = run("--apply", "nested", "--json");
    assertThat(json.exit()).isEqualTo(2);
    assertThat(Output.JSON.readTree(json.out()).path("code").asString()).isEqualTo("HF-TUNE-001");

    Said absent = run("--apply", "transparent-huge-pages");
    assertThat(absent.exit()).isEqualTo(Problem.TUNE_HOST.exitCode());
    assertThat(absent.err()).contains("HF-TUNE-002", "is not there");

    file("run/hyperfresh/tuning.undo", "passwd a b");
    assertThat(run("--undo").exit()).isEqualTo(Problem.TUNE_STUCK.exitCode());
    assertThat(text(KSM)).isEqualTo("1");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--all --undo",
        "--apply ksm --undo",
        "--apply ksm --all",
        "--undo --huge-pages 64",
        "--undo --huge-pages 0",
        "--huge-pages 0",
        "--huge-pages -2",
        "--huge-pages much",
        "--apply",
        "ksm"
      })
  void aWrongLineIsBadInput(String line) throws Exception {
    Said said = run(line.split(" "));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.out()).isEmpty();
    assertThat(said.err()).isNotBlank();
    assertThat(text(HALT) + text(PAGES) + text(KSM)).isEqualTo("20000001");
  }

  private Said run(String... arguments) {
    CommandLine line = new CommandLine(new TuneCommand(root));
    line.setExecutionExceptionHandler(Main::report);
    return Said.of(() -> line.execute(arguments));
  }

  private void file(String path, String text) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, text + "\n");
  }

  private String text(String path) throws IOException {
    return Files.readString(root.resolve(path)).strip();
  }
}
