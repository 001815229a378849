package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class TableTest {
  private static final Table TABLE =
      new Table(
          List.of("GUEST", "DETAIL"),
          List.of(List.of("web1", "It runs as it should."), List.of("a-long-name", "-")));

  @Test
  void nothingIsCutWhereThereIsNoTerminal() {
    assertThat(TABLE.lines(OptionalInt.empty()))
        .containsExactly(
            "GUEST        DETAIL", "web1         It runs as it should.", "a-long-name  -");
  }

  @Test
  void theLastColumnIsCutWhereTheTerminalEnds() {
    assertThat(TABLE.lines(OptionalInt.of(25)))
        .containsExactly("GUEST        DETAIL", "web1         It runs as …", "a-long-name  -");
    assertThat(TABLE.lines(OptionalInt.of(34))).contains("web1         It runs as it should.");
    assertThat(TABLE.lines(OptionalInt.of(10)))
        .as("never less than its heading")
        .containsExactly("GUEST        DETAIL", "web1         It ru…", "a-long-name  -");
  }

  @Test
  void aTableWithoutRowsIsItsHeading() {
    assertThat(new Table(List.of("NAME"), List.of()).lines(OptionalInt.of(80)))
        .containsExactly("NAME");
  }

  @Test
  void theWidthIsThatOfTheTerminalUnlessTheEnvironmentSaysOtherwise() {
    assertThat(Terminal.width(true, Optional.empty(), () -> OptionalInt.of(132))).hasValue(132);
    assertThat(Terminal.width(true, Optional.of("100"), () -> OptionalInt.of(132))).hasValue(100);
    assertThat(Terminal.width(true, Optional.of("wide"), () -> OptionalInt.of(132))).hasValue(132);
    assertThat(Terminal.width(true, Optional.of("0"), OptionalInt::empty)).isEmpty();
    assertThat(Terminal.width(false, Optional.of("100"), () -> OptionalInt.of(132))).isEmpty();
  }

  @Test
  void helpIsAsWideAsTheEnvironmentSays() {
    assertThat(Terminal.helpWidth(Optional.empty())).isEqualTo(80);
    assertThat(Terminal.helpWidth(Optional.of("100"))).isEqualTo(100);
    assertThat(Terminal.helpWidth(Optional.of("20"))).isEqualTo(60);
    assertThat(Terminal.helpWidth(Optional.of("4000"))).isEqualTo(120);
  }

  @Test
  void paragraphsAreFilledAndExamplesAreNot() {
    assertThat(Help.paragraphs("", "One", "two.", "", "Examples:", "  a", "  b"))
        .containsExactly("", "One two.", "", "Examples:", "  a", "  b");
  }
}
