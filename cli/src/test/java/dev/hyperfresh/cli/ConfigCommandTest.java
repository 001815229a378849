package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Setting;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

class ConfigCommandTest {
  @TempDir Path folder = Path.of("");

  private String file(String text) throws Exception {
    return Files.writeString(folder.resolve("hyperfresh.yaml"), text).toString();
  }

  @Test
  void aValidFileIsSaidToBe() throws Exception {
    String file = file("state: /srv/hf\n");

    assertThat(Said.by("config", "check", file))
        .isEqualTo(new Said(0, file + " is valid." + System.lineSeparator(), ""));
    JsonNode json = Output.JSON.readTree(Said.by("config", "check", file, "--json").out());
    assertThat(json.path("state").asString()).isEqualTo("/srv/hf");
    assertThat(json.path("present").asBoolean()).isTrue();
  }

  @Test
  void everyFaultIsNamedAndItIsBadInput() throws Exception {
    Said said = Said.by("config", "check", file("stat: /srv/hf\nlog: loud\n"));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.out()).isEmpty();
    assertThat(said.err()).contains("HF-CONFIG-001", "'stat'", "'loud'");
  }

  @Test
  void aSocketPathThatWouldBeTooLongIsFoundBeforehand() throws Exception {
    assertThat(Said.by("config", "check", file("state: /" + "d".repeat(120) + "\n")).err())
        .contains("HF-HOST-001");
  }

  @Test
  void eachSettingIsShownWithWhereItIsFrom() throws Exception {
    String file = file("releases: /srv/releases\n");

    JsonNode settings =
        Output.JSON
            .readTree(Said.by("config", "show", file, "--json", "--state", "/srv/hf").out())
            .path("settings");
    assertThat(settings.propertyNames()).hasSize(Setting.values().length);
    assertThat(settings.path("state").path("value").asString()).isEqualTo("/srv/hf");
    assertThat(settings.path("state").path("from").asString()).isEqualTo("option");
    assertThat(settings.path("releases").path("from").asString()).isEqualTo(file);
    assertThat(settings.path("packages").path("value").asString()).isEqualTo("/srv/hf/apt");
    assertThat(settings.path("packages").path("from").asString()).isEqualTo("default");
    assertThat(Said.by("config", "show", file).out().lines().map(line -> line.split("\\s+")[0]))
        .containsExactly("SETTING", "state", "releases", "packages", "starts", "log");
  }

  /// Its file system is not mounted yet.
  @Test
  void aDaemonDoesNotMakeTheDirectoryThatTheFileNames() throws Exception {
    Said said = Said.by("daemon", "--config", file("state: /nowhere/hyperfresh\n"));

    assertThat(said.exit()).isEqualTo(7);
    assertThat(said.err()).contains("HF-DAEMON-003", "/nowhere/hyperfresh", "is not there");
  }

  @Test
  void aDaemonDoesNotStartOnAFaultyFile() throws Exception {
    Said said = Said.by("daemon", "--config", file("lag: info\n"));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.err()).contains("HF-CONFIG-001", "'lag'");
    assertThat(Said.by("daemon", "--config", file("log: info\n"), "--log", "loud").exit())
        .isEqualTo(2);
  }
}
