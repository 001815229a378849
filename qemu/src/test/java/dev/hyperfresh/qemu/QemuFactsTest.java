package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.ProcessFacts;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// What a QEMU says that is handed back, and what it is told before.
class QemuFactsTest {
  private final List<String> told = new ArrayList<>();

  private MachineIdentity.Respondent qemu(Map<String, String> answers) {
    return (command, arguments) -> {
      told.add(command + " " + QmpMessage.JSON.writeValueAsString(arguments));
      return json(answers.getOrDefault(command, "{}"));
    };
  }

  private static JsonNode json(String text) {
    return QmpMessage.JSON.readTree(text);
  }

  @Test
  void threadsAndTerminalsAreFound() {
    ProcessFacts facts =
        QemuFacts.ask(
            qemu(
                Map.of(
                    "query-cpus-fast",
                    "[{\"cpu-index\": 0, \"thread-id\": 71}, {\"cpu-index\": 1, \"thread-id\": 72}]",
                    "query-chardev",
                    "[{\"label\": \"ser\", \"filename\": \"pty:/dev/pts/4\"},"
                        + " {\"label\": \"bad\", \"filename\": \"pty:/etc/x\"},"
                        + " {\"label\": \"m\", \"filename\": \"unix:/m,server=on\"}]")),
            Path.of("/q"));
    assertThat(facts)
        .isEqualTo(
            new ProcessFacts(Map.of(0, 71, 1, 72), Map.of("ser", "/dev/pts/4"), Path.of("/q")));
  }

  /// A migration of the next manager would leave the memory behind.
  @Test
  void itForgetsHowItWasSetUp() {
    Migration.unprepare(
        qemu(
            Map.of(
                "query-migrate-capabilities",
                "[{\"capability\": \"x-ignore-shared\", \"state\": true},"
                    + " {\"capability\": \"events\", \"state\": true}]",
                "query-migrate-parameters",
                "{\"max-bandwidth\": " + Migration.MAX_BANDWIDTH + "}")));
    assertThat(told)
        .filteredOn(line -> line.startsWith("migrate-set"))
        .hasSize(2)
        .first()
        .asString()
        .contains("x-ignore-shared", "false")
        .doesNotContain("events");
  }

  @Test
  void whatItsManagerHasSetUpStays() {
    Migration.unprepare(
        qemu(
            Map.of(
                "query-migrate-capabilities",
                "[{\"capability\": \"x-ignore-shared\", \"state\": false}]",
                "query-migrate-parameters",
                "{\"max-bandwidth\": 1000}")));
    assertThat(told).noneMatch(line -> line.startsWith("migrate-set"));
  }

  @Test
  void whatWasLentIsFoundWhereItIsNow() {
    assertThat(
            LentFolder.found(
                List.of(
                    "-L",
                    "/proc/self/fd/7/firmware-files",
                    "-append",
                    "x=/proc/self/fd/7/y",
                    "-device",
                    "e1000,romfile=/proc/self/fd/7/read-files/0/a.rom"),
                Path.of("/s/handed/g.1.2")))
        .containsExactly(
            "-L",
            "/s/handed/g.1.2/lent/firmware-files",
            "-append",
            "x=/proc/self/fd/7/y",
            "-device",
            "e1000,romfile=/s/handed/g.1.2/lent/read-files/0/a.rom");
  }
}
