package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// The table of fields, and the page that shows it with its examples.
class SpecFieldTest {
  private static final Path PAGE = Path.of("..", "docs", "GUEST-SPEC.md");
  private static final String MARK = "<!-- the table -->\n";
  private static final Pattern EXAMPLE = Pattern.compile("(?s)```yaml\n(.*?)```");

  /// The page lists what the code reads; with `-Dhyperfresh.docs.write=true` it is written.
  @Test
  void thePageIsTheTable() throws IOException {
    StringBuilder table =
        new StringBuilder("| Field | Values | Without it | Meaning |\n|---|---|---|---|\n");
    Stream.of(SpecField.values()).forEach(field -> table.append(field.row()).append("\n"));
    String text = Files.readString(PAGE);
    String wanted = text.substring(0, text.indexOf(MARK) + MARK.length()) + table;
    if (Boolean.getBoolean("hyperfresh.docs.write")) {
      Files.writeString(PAGE, wanted);
    }
    assertThat(Files.readString(PAGE)).isEqualTo(wanted);
  }

  @Test
  void itsExamplesAreSpecs() throws IOException {
    List<SpecDocument> examples = new ArrayList<>();
    Matcher example = EXAMPLE.matcher(Files.readString(PAGE));
    while (example.find()) {
      examples.add(SpecDocument.parse(example.group(1), Path.of("/srv")));
    }

    assertThat(examples)
        .extracting(document -> document.spec().name())
        .containsExactly("web1", "win1", "probe");
    assertThat(examples).allSatisfy(document -> assertThat(document.spec().extras()).isNotEmpty());
  }
}
