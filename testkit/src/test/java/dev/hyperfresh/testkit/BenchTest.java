package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.RivalQemu.Move;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import picocli.CommandLine;
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

  static BenchResult.Scene scene(double... ours) {
    Measured never = new Measured("<never>");
    never.add(Optional.empty());
    Measured missing = new Measured("missing");
    missing.skipped("QEMU says: no");
    Measured broken = measured("broken", 0, 90, 91, 92);
    broken.failed("it broke");
    return new BenchResult.Scene(
        "a guest",
        1L << 30,
        List.of(
            measured("HyperFresh", 0, ours),
            measured(RivalWay.BY_HAND.label(), 0, 5, 5, 5, 6, 5),
            measured("slower", 1 << 20, 50, 51, 49, 50, 50),
            measured("faster", 0, 2, 2, 2, 2, 2),
            never,
            missing,
            broken));
  }

  static BenchResult result(List<BenchResult.Scene> scenes) {
    return new BenchResult(
        new BenchHost(Map.of("processor", "one & two", "load average before", "0.75")),
        "older",
        "newer",
        scenes,
        List.of(
            new BenchResult.Series(
                "small guests",
                List.of(
                    new BenchResult.Size(1L << 30, measured("HyperFresh", 0, 4, 5, 4)),
                    new BenchResult.Size(4L << 30, measured("HyperFresh", 0, 5, 4, 5))))),
        List.of("another guest: the time was up"));
  }

  private static BenchResult result() {
    return result(List.of(scene(4, 5, 6, 5, 5)));
  }

  private static List<String> text(BenchResult result) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    BenchText.print(result, new PrintStream(text, true, StandardCharsets.UTF_8));
    return text.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void aRivalThatWinsIsNamed() {
    String win = "a guest: faster stands shorter, × 0.40";
    assertThat(result().better())
        .extracting(BenchText::win)
        .hasSize(2)
        .anyMatch(line -> line.startsWith(win))
        .anyMatch(line -> line.contains("faster moves in less time"));
    assertThat(text(result())).anyMatch(line -> line.contains(win));
    assertThat(BenchPage.of(result())).contains("<strong>" + win);
  }

  @Test
  void thatNoRivalWinsIsSaidToo() {
    BenchResult fastest = result(List.of(scene(1, 1, 1, 1, 1)));
    assertThat(fastest.better()).isEmpty();
    assertThat(text(fastest)).anyMatch(line -> line.startsWith("No other way stands shorter"));
    assertThat(BenchPage.of(fastest)).contains("Nowhere: no other way");
  }

  @Test
  void floorAndBestRivalAreTheRightOnes() {
    assertThat(result().figures())
        .extracting(BenchResult.Figure::name, BenchResult.Figure::way)
        .containsExactly(
            tuple("a guest: blackout, times the floor", RivalWay.BY_HAND.label()),
            tuple("a guest: blackout, times the best rival", "faster"),
            tuple("small guests: blackout, ms for a GiB more", ""));
    assertThat(result().figures().get(1).value().value()).isEqualTo(2.5);
  }

  @Test
  void aPersonReadsItOnOneScreen() {
    List<String> lines = text(result());
    assertThat(lines)
        .hasSizeLessThan(40)
        .allSatisfy(line -> assertThat(line.length()).isLessThan(120));
    assertThat(lines).anyMatch(line -> line.contains("never came to its end, 1 not in time"));
    assertThat(lines).anyMatch(line -> line.contains("skipped: QEMU says: no"));
    assertThat(lines).anyMatch(line -> line.contains("then it failed: it broke"));
    assertThat(lines).anyMatch(line -> line.contains("not told from 0"));
    assertThat(lines).anyMatch(line -> line.startsWith("The host was not idle before"));
    assertThat(lines).anyMatch(line -> line.startsWith("Not measured: another guest"));
  }

  @Test
  void whatTheProductItselfLosesIsToldApart() {
    Measured ours = measured("HyperFresh", 0, 4);
    ours.failed("A replacement was rolled back");
    BenchResult lost = result(List.of(new BenchResult.Scene("a guest", 1, List.of(ours))));
    assertThat(result().losses()).isEmpty();
    assertThat(lost.losses()).containsExactly("a guest: failed: A replacement was rolled back");
  }

  @Test
  void aPageNeedsNoOtherFileAndShowsTextAsText() {
    String page = BenchPage.of(result());
    assertThat(page).doesNotContain("http:", "https:", "<script", "<never>");
    assertThat(page).contains("&lt;never&gt;", "one &amp; two", "<svg", "skipped: QEMU says: no");
    assertThat(page.split("<circle", -1)).hasSize(5 * 4 + 3 + 6 + 1);
  }

  @Test
  void programsReadTheSame() {
    Map<?, ?> json =
        JsonMapper.shared()
            .readValue(JsonMapper.shared().writeValueAsString(result().json()), Map.class);
    assertThat(json.get("version")).isEqualTo(2);
    assertThat((List<?>) json.get("scenes")).hasSize(1);
    assertThat((List<?>) json.get("memory")).hasSize(1);
    assertThat((List<?>) json.get("figures")).hasSize(3);
    assertThat((List<?>) json.get("rivals_that_win")).hasSize(2);
  }

  @Test
  void aCheckAgainstWhatIsNoResultIsRefusedAtOnce() throws IOException {
    Files.createDirectories(workspace.state());
    Path file = workspace.state().resolve("bench.json");
    assertThat(refusal(file)).contains("there is no file " + file);
    Files.writeString(file, "{\"version\": 1}");
    assertThat(refusal(file)).contains("has version 1; this is 2");
  }

  private static String refusal(Path file) {
    StringWriter said = new StringWriter();
    CommandLine bench = new CommandLine(new Bench()).setErr(new PrintWriter(said, true));
    assertThat(bench.execute("--check=" + file)).isEqualTo(2);
    return said.toString();
  }

  @Test
  void sizesAreThoseThatFitTogether() {
    assertThat(BenchScene.sizes(64 * 1024, 16_384)).containsExactly(256L, 1024L, 4096L, 16_384L);
    assertThat(BenchScene.sizes(20 * 1024, 16_384)).containsExactly(256L, 1024L, 4096L);
    assertThat(BenchScene.sizes(64 * 1024, 4096)).containsExactly(256L, 1024L, 4096L);
    assertThat(BenchScene.sizes(2048, 16_384)).containsExactly(256L, 1024L);
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
            false,
            List.of(RivalWay.values()),
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
    assertThat(measured.ways()).hasSize(1 + RivalWay.values().length);
    assertThat(measured.ways())
        // Not every host lets a process handle the page faults of another one's memory.
        .filteredOn(way -> !way.trouble().startsWith("skipped: QEMU says: Postcopy"))
        .allSatisfy(way -> {
          assertThat(way.trouble()).as(way.label()).isEmpty();
          assertThat(way.givenUp()).as(way.label()).isZero();
          assertThat(way.blackouts()).as(way.label()).singleElement().isNotEqualTo(0.0);
        });
    assertThat(measured.ours().ramBytes()).isZero();
    assertThat(measured.ways())
        .filteredOn(way ->
            way.label().equals(RivalWay.PRE_COPY.label())
                || way.label().equals(RivalWay.MULTIFD.label()))
        .hasSize(2)
        .allSatisfy(way -> assertThat(way.ramBytes()).isGreaterThan(100_000));
    assertThat(workspace.hypervisors()).isEmpty();
  }
}
