package dev.hyperfresh.testkit;

import dev.hyperfresh.testkit.BenchResult.Figure;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.BenchResult.Scene;
import dev.hyperfresh.testkit.BenchResult.Series;
import dev.hyperfresh.testkit.BenchResult.Size;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/// The result of a benchmark as one page, which needs no other file: a dot for each move on a
/// logarithmic axis, a bar for the median.
final class BenchPage {
  private static final int WIDTH = 900;
  private static final int LABELS = 260;
  private static final int ROW = 34;
  private static final int TOP = 30;
  private static final int RIGHT = 20;
  private static final double LEAST_MS = 1;

  private static final String STYLE =
      """
      body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 940px; color: #1b1f24; }
      h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
      svg { width: 100%; height: auto; } text { font: 13px system-ui, sans-serif; fill: #1b1f24; }
      .axis { stroke: #d5d9de; } .tick { fill: #667; } .dot { fill: #888; fill-opacity: .55; }
      .ours { fill: #0b6bcb; fill-opacity: .6; } .median { stroke: #1b1f24; stroke-width: 3; }
      td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #e3e6ea; }
      td:first-child, th:first-child { text-align: left; } table { border-collapse: collapse; }
      """;

  private BenchPage() {}

  /// The page.
  static String of(BenchResult result) {
    StringBuilder page = new StringBuilder(64 * 1024);
    page.append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
        .append("<title>HyperFresh: replacements beside other ways</title><style>")
        .append(STYLE)
        .append("</style></head><body>\n<h1>How long a guest stands</h1>\n<p>")
        .append(escape(result.from() + " and " + result.to()))
        .append(": from the old hypervisor's STOP to the new one's RESUME, by their own clocks. ")
        .append("A dot is a move, the bar is the median; the axis is logarithmic.</p>\n");
    if (result.host().wasBusy()) {
      page.append("<p><strong>The host was not idle before.</strong> ")
          .append("Its other work may have moved every figure.</p>\n");
    }
    if (!result.scenes().isEmpty()) {
      wins(page, result.better());
    }
    result.scenes().forEach(scene -> scene(page, scene));
    result.memory().forEach(series -> series(page, series));
    result
        .leftOut()
        .forEach(line -> page.append("<p>Not measured: ").append(escape(line)).append("</p>\n"));
    host(page, result.host().facts());
    return page.append("</body></html>\n").toString();
  }

  private static void wins(StringBuilder page, List<Figure> better) {
    page.append("<h2>Where another way is better</h2>\n");
    if (better.isEmpty()) {
      page.append("<p>Nowhere: no other way stands shorter or moves in less time, beyond what ")
          .append("chance may do.</p>\n");
      return;
    }
    page.append(
        "<p>The part of HyperFresh's time that it takes, and its 95 % interval:</p>\n<ul>\n");
    better.forEach(win ->
        page.append("<li><strong>").append(escape(BenchText.win(win))).append("</strong></li>\n"));
    page.append("</ul>\n");
  }

  private static void scene(StringBuilder page, Scene scene) {
    page.append("<h2>").append(escape(scene.name())).append("</h2>\n");
    plot(page, scene.ways(), scene.ways().stream().map(Measured::label).toList());
    page.append(
        "<table><tr><th>Way</th><th>Median, ms</th><th>95 % interval</th><th>p99</th>"
            + "<th>Whole move, ms</th><th>RAM sent, MiB</th><th>Moves</th><th>Not in time</th>"
            + "</tr>\n");
    scene.ways().forEach(way -> row(page, way));
    page.append("</table>\n");
    for (Figure figure : scene.figures()) {
      page.append("<p>HyperFresh's")
          .append(escape(figure.name().substring(scene.name().length() + 1)))
          .append(" (")
          .append(escape(figure.way()))
          .append("): ")
          .append(BenchText.words(figure.value()))
          .append("</p>\n");
    }
  }

  private static void series(StringBuilder page, Series series) {
    page.append("<h2>HyperFresh, by size of memory: ")
        .append(escape(series.name()))
        .append("</h2>\n");
    plot(
        page,
        series.sizes().stream().map(Size::moves).toList(),
        series.sizes().stream().map(size -> (size.memoryBytes() >> 20) + " MiB").toList());
    series
        .slope()
        .ifPresent(slope ->
            page.append("<p>")
                .append(escape(BenchText.slope(slope)))
                .append("; 95 % interval</p>\n"));
  }

  private static void plot(StringBuilder page, List<Measured> ways, List<String> labels) {
    double most =
        ways.stream().flatMap(way -> way.blackouts().stream()).mapToDouble(v -> v).max().orElse(10);
    double decades = Math.max(1, Math.ceil(Math.log10(most / LEAST_MS)));
    int height = TOP + ROW * ways.size();
    page.append(
        String.format(
            Locale.ROOT,
            "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Blackouts\">%n",
            WIDTH,
            height));
    for (int decade = 0; decade <= decades; decade++) {
      double x = x(LEAST_MS * Math.pow(10, decade), decades);
      page.append(
          String.format(
              Locale.ROOT,
              "<line class=\"axis\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                  + "<text class=\"tick\" x=\"%.1f\" y=\"14\" text-anchor=\"middle\">%s</text>%n",
              x,
              TOP - 8,
              x,
              height,
              x,
              decade < 3
                  ? (int) Math.pow(10, decade) + " ms"
                  : (int) Math.pow(10, decade - 3) + " s"));
    }
    for (int i = 0; i < ways.size(); i++) {
      lane(page, ways.get(i), labels.get(i), TOP + ROW * i + ROW / 2, decades);
    }
    page.append("</svg>\n");
  }

  private static void lane(StringBuilder page, Measured way, String label, int y, double decades) {
    page.append(
        String.format(Locale.ROOT, "<text x=\"0\" y=\"%d\">%s</text>%n", y + 4, escape(label)));
    String style = way.label().equals(Contender.Ours.LABEL) ? "ours" : "dot";
    for (double blackout : way.blackouts()) {
      page.append(
          String.format(
              Locale.ROOT,
              "<circle class=\"%s\" cx=\"%.1f\" cy=\"%d\" r=\"5\"/>",
              style,
              x(blackout, decades),
              y));
    }
    if (way.blackouts().isEmpty()) {
      page.append(
          String.format(
              Locale.ROOT,
              "<text class=\"tick\" x=\"%d\" y=\"%d\">%s</text>%n",
              LABELS + 10,
              y + 4,
              escape(way.absence())));
      return;
    }
    double median = x(Estimate.median(way.blackouts()).value(), decades);
    page.append(
        String.format(
            Locale.ROOT,
            "%n<line class=\"median\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>%n",
            median,
            y - 11,
            median,
            y + 11));
  }

  private static double x(double millis, double decades) {
    double part = Math.log10(Math.max(millis, LEAST_MS) / LEAST_MS) / decades;
    return LABELS + part * (WIDTH - LABELS - RIGHT);
  }

  private static void row(StringBuilder page, Measured way) {
    page.append("<tr><td>").append(escape(way.label())).append("</td>");
    if (way.blackouts().isEmpty()) {
      page.append("<td colspan=\"5\">").append(escape(way.absence())).append("</td>");
    } else {
      Estimate median = Estimate.median(way.blackouts());
      page.append(
          String.format(
              Locale.ROOT,
              "<td>%.2f</td><td>%.2f–%.2f</td><td>%.2f</td><td>%.1f</td><td>%.1f</td>",
              median.value(),
              median.low(),
              median.high(),
              Estimate.quantile(way.blackouts(), 0.99),
              Estimate.median(way.durations()).value(),
              way.ramBytes() / (double) (1 << 20)));
    }
    page.append(
        String.format(
            Locale.ROOT, "<td>%d</td><td>%d</td></tr>%n", way.blackouts().size(), way.givenUp()));
    if (!way.blackouts().isEmpty() && !way.trouble().isEmpty()) {
      page.append("<tr><td></td><td colspan=\"7\">then it ")
          .append(escape(way.trouble()))
          .append("</td></tr>\n");
    }
  }

  private static void host(StringBuilder page, Map<String, String> facts) {
    page.append("<h2>The host</h2>\n<table>\n");
    facts.entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .forEach(fact ->
            page.append("<tr><td>")
                .append(escape(fact.getKey()))
                .append("</td><td>")
                .append(escape(fact.getValue()))
                .append("</td></tr>\n"));
    page.append("</table>\n");
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }
}
