package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// The table of options, and the page that shows it.
class ForeignOptionTest {
  /// The page lists what the code does; with `-Dhyperfresh.docs.write=true` it is written.
  @Test
  void thePageIsTheTable() throws IOException {
    StringBuilder table = new StringBuilder("| Option | Becomes | |\n|---|---|---|\n");
    Stream.of(ForeignOption.values())
        .forEach(option ->
            table
                .append("| `")
                .append(option.word())
                .append("` | ")
                .append(option.fate().name().toLowerCase(java.util.Locale.ROOT))
                .append(" | ")
                .append(option.remark())
                .append(" |\n"));
    table.append("\nDevices: ");
    table.append(
        String.join(
            ", ", new TreeSet<>(ForeignDevices.DEVICES).stream().map(d -> "`" + d + "`").toList()));
    table.append(".\n");
    Path page = Path.of("..", "docs", "ADOPT.md");
    String text = Files.readString(page);
    String mark = "<!-- the table -->\n";
    String wanted = text.substring(0, text.indexOf(mark) + mark.length()) + table;
    if (Boolean.getBoolean("hyperfresh.docs.write")) {
      Files.writeString(page, wanted);
    }
    assertThat(Files.readString(page)).isEqualTo(wanted);
  }
}
