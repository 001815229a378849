package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.daemon.Policy;
import dev.hyperfresh.daemon.PolicySetting;
import dev.hyperfresh.daemon.Setting;
import dev.hyperfresh.daemon.Settings;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ManualTest {
  @TempDir Path root = Path.of("");

  @Test
  void everyCommandHasAPageThatNamesItsOptions() {
    Map<String, String> pages = Manual.commandPages(Main.line());

    assertThat(pages.keySet())
        .containsAll(
            CommandTreeTest.commands()
                .map(path -> String.join("-", path))
                .map(path -> path.isEmpty() ? "hyperfresh" : "hyperfresh-" + path)
                .toList());
    assertThat(pages.get("hyperfresh-daemon"))
        .startsWith(".TH \"HYPERFRESH\\-DAEMON\" 1 ")
        .contains(".SH NAME\nhyperfresh\\-daemon \\- ", "\\fB\\-\\-config FILE\\fR", ".SH NOTES");
    assertThat(pages.get("hyperfresh")).contains("\\fBhyperfresh\\-guest(1)\\fR");
    assertThat(pages.values()).noneMatch(page -> page.contains("${"));
  }

  /// Only what is meant as one begins a request of the formatter.
  @Test
  void noTextIsTakenForARequest() {
    Manual.commandPages(Main.line())
        .values()
        .forEach(page ->
            assertThat(page.lines().filter(line -> line.startsWith(".") || line.startsWith("'")))
                .allMatch(line -> line.matches("\\.(TH|SH|TP|nf|fi)( .*)?")));
  }

  @Test
  void everySettingIsInThePageAndInTheShippedFile() {
    for (Setting setting : Setting.values()) {
      assertThat(Manual.configPage()).contains("\\fB" + setting.key() + ": ");
      assertThat(Manual.configFile())
          .contains("\n#" + setting.key() + ": " + setting.example() + "\n");
    }
    for (PolicySetting setting : PolicySetting.values()) {
      assertThat(Manual.policyPage()).contains("\\fB" + setting.key() + ": ");
      assertThat(Manual.policyFile())
          .contains("\n#" + setting.key() + ": " + setting.example() + "\n");
    }
    assertThat(Manual.configFile().lines()).allMatch(line -> line.length() <= 80);
    assertThat(Manual.policyFile().lines()).allMatch(line -> line.length() <= 80);
  }

  @Test
  void theShippedFileSaysNothingAndItsExamplesAreValid() {
    Path file = root.resolve("hyperfresh.yaml");
    Settings shipped = Settings.parse(Manual.configFile(), file);

    assertThat(shipped.config()).isEqualTo(DaemonConfig.under(DaemonConfig.defaultState()));
    assertThat(shipped.log()).isEmpty();
    String everything = Manual.configFile().replaceAll("(?m)^#(?=[a-z]+: )", "");
    assertThat(Settings.parse(everything, file).config())
        .isEqualTo(DaemonConfig.under(Path.of("/var/lib/hyperfresh")).starting(4));
  }

  @Test
  void theShippedPolicyOnlyReportsAndItsExamplesAreValid() {
    Path file = root.resolve("policy.yaml");
    Policy shipped = Policy.parse(Manual.policyFile(), file);

    assertThat(shipped.action()).isEqualTo(Policy.Action.REPORT);
    String everything = Manual.policyFile().replaceAll("(?m)^#(?=[a-z]+: )", "");
    assertThat(Policy.parse(everything, file)).isEqualTo(shipped);
  }

  @Test
  void everythingIsWrittenWhereAHostHasIt() throws Exception {
    Manual.main(new String[] {root.toString()});

    for (String file :
        List.of(
            "usr/share/man/man1/hyperfresh.1",
            "usr/share/man/man1/hyperfresh-replace.1",
            "usr/share/man/man5/hyperfresh.yaml.5",
            "usr/share/bash-completion/completions/hyperfresh",
            "usr/share/man/man5/hyperfresh-policy.yaml.5",
            "etc/hyperfresh/policy.yaml",
            "etc/hyperfresh/hyperfresh.yaml")) {
      assertThat(Files.size(root.resolve(file))).as(file).isPositive();
    }
  }
}
