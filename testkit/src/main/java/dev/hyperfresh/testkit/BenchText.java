package dev.hyperfresh.testkit;

import dev.hyperfresh.testkit.BenchResult.Figure;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.BenchResult.Scene;
import dev.hyperfresh.testkit.BenchResult.Series;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// The result of a benchmark for a person at a terminal.
final class BenchText {
  /// Of a terminal.
  private static final int WIDTH = 118;

  private final BenchResult result;
  private final PrintStream out;

  private BenchText(BenchResult result, PrintStream out) {
    this.result = result;
    this.out = out;
  }

  /// Prints it.
  static void print(BenchResult result, PrintStream out) {
    new BenchText(result, out).print();
  }

  private void print() {
    host();
    result.scenes().forEach(this::scene);
    result.memory().forEach(this::series);
    wins();
    result.leftOut().forEach(line -> out.println(cut("Not measured: " + line)));
  }

  private void host() {
    BenchHost host = result.host();
    out.printf("%n%s and %s on %s%n", result.from(), result.to(), host.facts().get("processor"));
    out.printf(
        "%s cores, Linux %s, KVM: %s, load average %s before and %s at the end%n",
        host.facts().get("cores"),
        host.facts().get("kernel"),
        host.facts().get("kvm"),
        host.facts().get("load average before"),
        host.facts().get("load average at the end"));
    if (host.wasBusy()) {
      out.println("The host was not idle before: its other work may have moved every figure.");
    }
  }

  private void scene(Scene scene) {
    out.printf("%n%s%n", scene.name());
    header("way", "× ours");
    Optional<Double> ours = median(scene.ours());
    scene.ways().forEach(way -> row(way.label(), way, ours));
    for (Figure figure : scene.figures()) {
      out.println(
          cut(
              "  HyperFresh's"
                  + figure.name().substring(scene.name().length() + 1)
                  + " ("
                  + figure.way()
                  + "): "
                  + words(figure.value())));
    }
  }

  private void series(Series series) {
    out.printf("%nHyperFresh by size of memory: %s%n", series.name());
    header("memory", "× first");
    Optional<Double> smallest = median(series.sizes().getFirst().moves());
    series
        .sizes()
        .forEach(size -> row((size.memoryBytes() >> 20) + " MiB", size.moves(), smallest));
    series.slope().ifPresent(slope -> out.println("  " + slope(slope)));
  }

  private void header(String first, String reference) {
    out.printf(
        Locale.ROOT,
        "  %-34s %-27s %8s %7s %11s %9s %3s%n",
        first,
        "blackout, ms [95 %]",
        "p99",
        reference,
        "move, ms",
        "RAM, MiB",
        "n");
  }

  /// What a GiB more costs.
  static String slope(Estimate slope) {
    return String.format(
        Locale.ROOT,
        "a GiB more: %+.3f ms [%+.3f to %+.3f]%s",
        slope.value(),
        slope.low(),
        slope.high(),
        slope.low() <= 0 && slope.high() >= 0 ? ", not told from 0" : "");
  }

  /// An estimate with its interval.
  static String words(Estimate estimate) {
    return String.format(
        Locale.ROOT, "%.2f [%.2f–%.2f]", estimate.value(), estimate.low(), estimate.high());
  }

  private void row(String label, Measured way, Optional<Double> reference) {
    out.println(way.blackouts().isEmpty() ? empty(label, way) : full(label, way, reference));
    if (!way.blackouts().isEmpty() && !way.trouble().isEmpty()) {
      out.println(cut("    then it " + way.trouble()));
    }
  }

  private static String empty(String label, Measured way) {
    return cut(String.format(Locale.ROOT, "  %-34s %s%s", label, way.absence(), givenUp(way)));
  }

  private static String full(String label, Measured way, Optional<Double> reference) {
    Estimate median = Estimate.median(way.blackouts());
    return String.format(
        Locale.ROOT,
        "  %-34s %8.2f [%7.2f–%8.2f] %8.2f %7s %11.1f %9.1f %3d%s",
        label,
        median.value(),
        median.low(),
        median.high(),
        Estimate.quantile(way.blackouts(), 0.99),
        reference.map(of -> String.format(Locale.ROOT, "%.1f", median.value() / of)).orElse(""),
        Estimate.median(way.durations()).value(),
        way.ramBytes() / (double) (1 << 20),
        way.blackouts().size(),
        givenUp(way));
  }

  private static Optional<Double> median(Measured way) {
    return way.blackouts().isEmpty()
        ? Optional.empty()
        : Optional.of(Estimate.median(way.blackouts()).value());
  }

  private static String givenUp(Measured way) {
    return way.givenUp() == 0 ? "" : ", " + way.givenUp() + " not in time";
  }

  private void wins() {
    if (result.scenes().isEmpty()) {
      return;
    }
    out.println();
    List<Figure> better = result.better();
    if (better.isEmpty()) {
      out.println("No other way stands shorter or moves in less time, beyond what chance may do.");
      return;
    }
    out.println("Where another way is better, beyond what chance may do:");
    better.forEach(win -> out.println(cut("  " + win(win))));
  }

  /// Who is better where, and by how much.
  static String win(Figure better) {
    return better.name() + ", × " + words(better.value());
  }

  private static String cut(String line) {
    return line.length() <= WIDTH ? line : line.substring(0, WIDTH - 1) + "…";
  }
}
