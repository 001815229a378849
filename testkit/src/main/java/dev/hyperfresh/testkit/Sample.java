package dev.hyperfresh.testkit;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/// Measurements of one thing, milliseconds.
final class Sample {
  private final String what;
  private final List<Double> values = new ArrayList<>();

  Sample(String what) {
    this.what = what;
  }

  void add(double millis) {
    values.add(millis);
  }

  int size() {
    return values.size();
  }

  /// The value below which the part `quantile` of all lies, between two values by their distance.
  double quantile(double quantile) {
    List<Double> sorted = values.stream().sorted().toList();
    double at = quantile * (sorted.size() - 1);
    int below = (int) at;
    int above = Math.min(below + 1, sorted.size() - 1);
    return sorted.get(below) + (at - below) * (sorted.get(above) - sorted.get(below));
  }

  double median() {
    return quantile(0.5);
  }

  /// How far the median of so many values lies from the true one, as a standard deviation: 1.2533
  /// sigma / sqrt(n) for normal values, with sigma from the middle half (its width over 1.349), so
  /// that single values that the scheduler spoiled do not widen it.
  double errorOfMedian() {
    double sigma = (quantile(0.75) - quantile(0.25)) / 1.349;
    return 1.2533 * sigma / Math.sqrt(values.size());
  }

  /// The standard deviation of the difference of two medians.
  static double errorOfDifference(Sample one, Sample other) {
    return Math.hypot(one.errorOfMedian(), other.errorOfMedian());
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%s: median %.2f ms (± %.2f), p90 %.2f, max %.2f, n %d",
        what,
        median(),
        errorOfMedian(),
        quantile(0.9),
        quantile(1),
        values.size());
  }
}
