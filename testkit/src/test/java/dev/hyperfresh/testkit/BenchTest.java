package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.RivalQemu.Move;
import dev.hyperfresh.testkit.RivalQemu.Way;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.json.JsonMapper;

class BenchTest {
  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private static Measured measured(String label, long ramBytes, double... blackouts) {
    Measured measured = new Measured(label);
    for (double blackout : blackouts) {
      measured.add(Optional.of(new Move(blackout, blackout + 10, ramBytes)));
    }
    return measured;
  }

  private static BenchResult result() {
    Measured never = new Measured("<never>");
    never.add(Optional.empty());
    return new BenchResult(
        new BenchHost(Map.of("processor", "one & two", "cores", "2")),
        "older",
        "newer",
        List.of(
            new BenchResult.Scene(
                "a guest",
                1L << 30,
                List.of(
                    measured("HyperFresh", 0, 4, 5, 6, 5, 5),
                    measured("slower", 1 << 20, 50, 51, 49, 50, 50),
                    measured("faster", 0, 2, 2, 2, 2, 2),
                    never))),
        List.of(
            new BenchResult.Scene("1 GiB", 1L << 30, List.of(measured("HyperFresh", 0, 4, 5, 4))),
            new BenchResult.Scene("4 GiB", 4L << 30, List.of(measured("HyperFresh", 0, 5, 4, 5)))));
  }

  @Test
  void aRivalThatWinsIsNamed() {
    assertThat(result().verdicts()).singleElement().asString().contains("faster", "0.40");
  }

  @Test
  void aPersonReadsItOnOneScreen() {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    result().print(new PrintStream(text, true, StandardCharsets.UTF_8));
    List<String> lines = text.toString(StandardCharsets.UTF_8).lines().toList();
    assertThat(lines)
        .hasSizeLessThan(40)
        .allSatisfy(line -> assertThat(line.length()).isLessThan(120));
    assertThat(lines).anyMatch(line -> line.contains("never came to its end, 1 not in time"));
    assertThat(lines).anyMatch(line -> line.contains("not told from 0"));
  }

  @Test
  void aPageNeedsNoOtherFileAndShowsTextAsText() {
    String page = BenchPage.of(result());
    assertThat(page).doesNotContain("http:", "https:", "<script", "<never>");
    assertThat(page).contains("&lt;never&gt;", "one &amp; two", "<svg");
    assertThat(page.split("<circle", -1)).hasSize(5 * 3 + 6 + 1);
  }

  @Test
  void programsReadTheSame() {
    Map<?, ?> json =
        JsonMapper.shared()
            .readValue(JsonMapper.shared().writeValueAsString(result().json()), Map.class);
    assertThat(json.get("version")).isEqualTo(1);
    assertThat((List<?>) json.get("scenes")).hasSize(1);
    assertThat((Map<?, ?>) json.get("slope_ms_per_gib")).hasSize(3);
  }

  /// Every way, once and for real.
  @Test
  @Tag("slow")
  void everyWayMovesItsGuest() throws Exception {
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    Workshop.release("qemu-7.2");
    Workshop.release("qemu-10.0");
    BenchScene scene =
        new BenchScene(
            "a guest",
            Workshop.tick("bench", 64, AcceleratorWish.TCG),
            List.of(Way.values()),
            1,
            Duration.ofSeconds(30));
    BenchResult.Scene measured;
    try (BenchRun run =
        new BenchRun(
            Files.createDirectories(workspace.state()),
            Cache.ofThisUser(),
            true,
            new PrintStream(said, true, StandardCharsets.UTF_8))) {
      measured = run.measure(scene);
    }
    System.out.println(said.toString(StandardCharsets.UTF_8));
    assertThat(measured.ways()).hasSize(1 + Way.values().length);
    assertThat(measured.ways())
        .allSatisfy(way -> {
          assertThat(way.givenUp()).as(way.label()).isZero();
          assertThat(way.blackouts()).as(way.label()).singleElement().isNotEqualTo(0.0);
        });
    assertThat(measured.ours().ramBytes()).isZero();
    assertThat(measured.ways())
        .filteredOn(way -> way.label().equals(Way.PRE_COPY.label()))
        .singleElement()
        .satisfies(way -> assertThat(way.ramBytes()).isGreaterThan(100_000));
    assertThat(workspace.hypervisors()).isEmpty();
  }
}
