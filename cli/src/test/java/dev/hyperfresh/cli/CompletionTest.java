package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// The script in a real bash, with a command that lists three names of the kind it is asked for.
class CompletionTest {
  private static final String COMPLETE =
      """
      hyperfresh() {
        [[ $2 == list && $3 == --json ]] || exit 9
        printf '{"%s":[{"name":"%s1"},{"name" : "%s2"},{"name":"other"}]}' "$1" "$1" "$1"
      }
      . "$1"
      COMP_WORDS=(hyperfresh "${@:2}")
      COMP_CWORD=$(($# - 1))
      COMP_LINE="${COMP_WORDS[*]}"
      _hyperfresh 2>/dev/null
      echo "${COMPREPLY[*]}"
      """;

  @TempDir Path folder = Path.of("");
  private Path script = Path.of("");

  @BeforeEach
  void write() throws Exception {
    script = Files.writeString(folder.resolve("hyperfresh"), Completion.script(Main.line()));
  }

  private String complete(String words) throws Exception {
    ProcessBuilder bash = new ProcessBuilder("bash", "-c", COMPLETE, "bash", script.toString());
    // The last word is empty where the line ends in a blank.
    bash.command().addAll(java.util.List.of(words.split(" ", -1)));
    Process process = bash.redirectErrorStream(true).start();
    String said =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    assertThat(process.waitFor()).as(said).isZero();
    return said;
  }

  @ParameterizedTest
  @CsvSource({
    "guest show g, guest1 guest2",
    "guest stop --patience 5 guest, guest1 guest2",
    "replace g, guest1 guest2",
    "replace guest1 --to r, release1 release2",
    "machine delete m, machine1 machine2",
    "machine create m1 --release rel, release1 release2",
    "release verify r, release1 release2",
    "os show o, os1 os2 other",
    "container relocate c, container1 container2",
    "container relocate container1 --to os, os1 os2",
    "volume rm v, volume1 volume2"
  })
  void namesAreThoseThatTheDaemonLists(String words, String names) throws Exception {
    assertThat(complete(words)).isEqualTo(names);
  }

  @ParameterizedTest
  @CsvSource({
    "gue, guest",
    "guest sh, show",
    "guest stop --pat, --patience",
    "config ch, check",
    "guest show --js, --json"
  })
  void commandsAndOptionsNeedNoDaemon(String words, String completed) throws Exception {
    assertThat(complete(words).strip()).isEqualTo(completed);
  }

  @Test
  void whatIsMadeGetsANameOfItsOwn() throws Exception {
    assertThat(complete("machine create m")).doesNotContain("machine1");
    assertThat(complete("guest stop --patience ")).doesNotContain("guest1");
  }
}
