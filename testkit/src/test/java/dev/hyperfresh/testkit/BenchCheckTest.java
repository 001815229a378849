package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;

class BenchCheckTest {
  private static final double[] EARLIER = {4, 5, 6, 5, 5};

  @TempDir private Path folder;

  private BenchCheck earlier() throws IOException {
    return read(
        JsonMapper.shared()
                .writeValueAsString(BenchTest.result(List.of(BenchTest.scene(EARLIER))).json())
            + "\n");
  }

  private BenchCheck read(String text) throws IOException {
    Path file = folder.resolve("bench.json");
    Files.writeString(file, text);
    return BenchCheck.read(file);
  }

  @Test
  void theSameIsNotWorse() throws IOException {
    BenchCheck.Verdict verdict = earlier().of(BenchTest.result(List.of(BenchTest.scene(EARLIER))));
    assertThat(verdict.worse()).isEmpty();
    assertThat(verdict.unmeasured()).isEmpty();
    assertThat(verdict.compared()).isEqualTo(3);
  }

  @Test
  void lessThanTheIntervalsAllowIsNotWorse() throws IOException {
    assertThat(earlier().of(BenchTest.result(List.of(BenchTest.scene(5, 6, 6, 7, 5)))).worse())
        .isEmpty();
  }

  @Test
  void whatGotWorseIsNamedWithBothIntervals() throws IOException {
    List<String> worse =
        earlier().of(BenchTest.result(List.of(BenchTest.scene(8, 9, 9, 9, 9)))).worse();
    assertThat(worse).hasSize(2);
    assertThat(worse.getFirst())
        .isEqualTo(
            "a guest: blackout, times the best rival: 4.50 [4.00–4.50] (faster), was 2.50"
                + " [2.00–3.00] (faster)");
    assertThat(worse.getLast()).startsWith("a guest: blackout, times the floor: 1.80 [");
  }

  @Test
  void whatIsBetterIsNotWorse() throws IOException {
    assertThat(earlier().of(BenchTest.result(List.of(BenchTest.scene(1, 1, 1, 1, 1)))).worse())
        .isEmpty();
  }

  @Test
  void aMeasuredGuestWithoutFigureIsNoPass() throws IOException {
    List<String> worse = earlier().of(BenchTest.result(List.of(BenchTest.scene()))).worse();
    assertThat(worse)
        .hasSize(2)
        .allSatisfy(line -> assertThat(line).contains("could not be told; it was"));
  }

  @Test
  void whatWasNotMeasuredIsSaid() throws IOException {
    BenchCheck.Verdict verdict = earlier().of(BenchTest.result(List.of()));
    assertThat(verdict.worse()).isEmpty();
    assertThat(verdict.compared()).isEqualTo(1);
    assertThat(verdict.unmeasured()).hasSize(2);
  }

  @Test
  void nothingToCompareIsNoPass() throws IOException {
    BenchResult nothing =
        new BenchResult(
            BenchTest.result(List.of()).host(), "a", "b", List.of(), List.of(), List.of());
    assertThat(earlier().of(nothing).worse())
        .singleElement()
        .asString()
        .startsWith("nothing of ")
        .endsWith(" was measured in this run");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "nonsense",
        "[]",
        "{}",
        "{\"version\": 1, \"figures\": []}",
        "{\"version\": 3, \"figures\": []}",
        "{\"version\": 2, \"figures\": []}",
        "{\"version\": 2, \"figures\": [{\"name\": \"a: b\", \"value\": 1, \"low\": \"NaN\"}]}",
        "{\"version\": 2, \"figures\": [{\"value\": 1, \"low\": 1, \"high\": 2}]}"
      })
  void whatIsNoResultIsRefused(String text) {
    assertThatThrownBy(() -> read(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("bench.json")
        .message()
        .doesNotContain("\n");
  }

  @Test
  void aFileThatIsMuchTooLongIsRefused() throws IOException {
    String text = "[" + " ".repeat(5 << 20) + "]";
    assertThatThrownBy(() -> read(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("more than");
  }
}
