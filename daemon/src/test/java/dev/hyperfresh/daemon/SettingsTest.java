package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.daemon.Settings.Verbosity;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SettingsTest {
  private static final Path FILE = Path.of("/etc/hyperfresh/hyperfresh.yaml");

  private static HyperFreshException refusal(String text) {
    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> Settings.parse(text, FILE));
    assertThat(refused.problem()).isEqualTo(Problem.CONFIG_INVALID);
    assertThat(refused.detail()).startsWith(FILE + ": ");
    return refused;
  }

  @Test
  void everySettingIsRead() {
    Settings settings =
        Settings.parse(
            """
            state: /srv/hf
            releases: /srv/shared/releases
            packages: /srv/shared/apt/
            log: warning
            """,
            FILE);

    assertThat(settings.verbosity()).isEqualTo(Verbosity.WARNING);
    assertThat(settings.config())
        .isEqualTo(
            new DaemonConfig(
                Path.of("/srv/hf"), Path.of("/srv/shared/releases"), Path.of("/srv/shared/apt")));
  }

  /// Everything that is not said follows from what is.
  @Test
  void whatIsNotSaidHasADefault() {
    assertThat(Settings.parse("state: /srv/hf\n", FILE).config())
        .isEqualTo(DaemonConfig.under(Path.of("/srv/hf")));
    assertThat(Settings.parse("# nothing\n", FILE).config())
        .isEqualTo(DaemonConfig.under(DaemonConfig.defaultState()));
    assertThat(Settings.parse("", FILE).verbosity()).isEqualTo(Verbosity.INFO);
  }

  @Test
  void aStateDirectoryFromElsewhereTakesItsFoldersAlong() {
    Settings settings = Settings.parse("state: /srv/hf\npackages: /srv/apt\n", FILE);

    assertThat(settings.withState(Path.of("/srv/other")).config())
        .isEqualTo(
            new DaemonConfig(
                Path.of("/srv/other"), Path.of("/srv/other/releases"), Path.of("/srv/apt")));
  }

  @Test
  void allFaultsAreNamedAtOnce() {
    assertThat(
            refusal("stat: /srv/hf\nreleases: here\npackages: [a]\nlog: loud\nextra: 1\n").detail())
        .contains(
            "'stat' is not a field",
            "'extra' is not a field",
            "releases: 'here' is not an absolute path",
            "packages: is not a plain value",
            "log: 'loud' is not one of debug, info, warning");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "state: /a\nstate: /b\n",
        "- state\n",
        "state: &a /a\nreleases: *a\n",
        "state: 5\n",
        "state: ''\n",
        "log: true\n",
        "state: [\n"
      })
  void whatIsNoConfigurationIsRefused(String text) {
    refusal(text);
  }

  @Test
  void aFileThatIsNamedMustBeThere(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("hyperfresh.yaml");
    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> Settings.read(file));
    assertThat(refused.problem()).isEqualTo(Problem.CONFIG_INVALID);
    assertThat(refused.detail()).contains(file.toString());

    Files.writeString(file, "log: debug\n");
    assertThat(Settings.read(file).log()).contains(Verbosity.DEBUG);
  }

  @Test
  void theNumberOfStartsHasItsRange() {
    assertThat(Settings.parse("starts: 64", FILE).config().startsAtOnce()).isEqualTo(64);
    assertThat(Settings.parse("log: info", FILE).config().startsAtOnce())
        .isEqualTo(DaemonConfig.startsByDefault());
    for (String wrong : List.of("0", "65", "many", "1.5")) {
      assertThatThrownBy(() -> Settings.parse("starts: " + wrong, FILE))
          .hasMessageContaining("starts: is not a number from 1 to 64");
    }
  }

  /// The example of each setting is what holds without it, but for the number of starts, which
  /// depends on the host.
  @Test
  void theExamplesAreTheDefaultsOfRoot() {
    String everything =
        Arrays.stream(Setting.values())
            .map(setting -> setting.key() + ": " + setting.example())
            .collect(Collectors.joining("\n"));
    Settings settings = Settings.parse(everything, FILE);

    assertThat(settings.config())
        .isEqualTo(DaemonConfig.under(Path.of("/var/lib/hyperfresh")).starting(4));
    assertThat(settings.verbosity()).isEqualTo(Verbosity.INFO);
    assertThat(settings.state()).isPresent();
    assertThat(settings.releases()).isPresent();
    assertThat(settings.packages()).isPresent();
    assertThat(settings.log()).isPresent();
  }
}
