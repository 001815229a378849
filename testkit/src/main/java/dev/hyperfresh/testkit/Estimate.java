package dev.hyperfresh.testkit;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.IntFunction;

/// What measurements say of a figure, and how far chance alone may have moved it: 95 of 100
/// intervals that are made so contain the true figure (bootstrap, by percentiles).
///
/// @param value the figure, of all measurements
/// @param low the lower end of the interval
/// @param high the upper end
record Estimate(double value, double low, double high) {
  private static final int RESAMPLES = 2000;

  /// Any will do; the same one each time gives the same answer for the same measurements.
  private static final long SEED = 20_260_101;

  /// The median of `values`, of which there must be one at least.
  static Estimate median(List<Double> values) {
    double[] all = array(values);
    Random random = new Random(SEED);
    return of(median(all), _ -> median(resample(all, random)));
  }

  /// How often the median of `others` has that of `values`.
  static Estimate ratio(List<Double> values, List<Double> others) {
    double[] own = array(values);
    double[] theirs = array(others);
    Random random = new Random(SEED);
    return of(
        median(own) / median(theirs),
        _ -> median(resample(own, random)) / median(resample(theirs, random)));
  }

  /// The slope of a straight line through points (least squares), in units of `y` for one of `x`.
  ///
  /// @param x of each point; two different ones at least
  static Estimate slope(List<Double> x, List<Double> y) {
    double[] across = array(x);
    double[] up = array(y);
    Random random = new Random(SEED);
    return of(
        slope(across, up),
        _ -> {
          int[] picked = random.ints(across.length, 0, across.length).toArray();
          return slope(
              Arrays.stream(picked).mapToDouble(i -> across[i]).toArray(),
              Arrays.stream(picked).mapToDouble(i -> up[i]).toArray());
        });
  }

  /// For programs.
  Map<String, Double> json() {
    Map<String, Double> json = new LinkedHashMap<>();
    json.put("value", value);
    json.put("low", low);
    json.put("high", high);
    return json;
  }

  /// The value below which the part `quantile` of all lies.
  static double quantile(List<Double> values, double quantile) {
    double[] sorted = array(values);
    Arrays.sort(sorted);
    return sorted[(int) Math.min(sorted.length - 1L, (long) Math.ceil(quantile * sorted.length))];
  }

  private static Estimate of(double value, IntFunction<Double> resampled) {
    double[] sorted = new double[RESAMPLES];
    for (int i = 0; i < RESAMPLES; i++) {
      sorted[i] = resampled.apply(i);
    }
    // A resample may lack what the figure needs, such as a second place for a slope.
    double[] known = Arrays.stream(sorted).filter(Double::isFinite).sorted().toArray();
    return known.length == 0
        ? new Estimate(value, Double.NaN, Double.NaN)
        : new Estimate(
            value, known[(int) (0.025 * known.length)], known[(int) (0.975 * known.length)]);
  }

  private static double[] array(List<Double> values) {
    if (values.isEmpty()) {
      throw new IllegalArgumentException("nothing was measured");
    }
    return values.stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static double[] resample(double[] values, Random random) {
    return random.ints(values.length, 0, values.length).mapToDouble(i -> values[i]).toArray();
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  private static double slope(double[] x, double[] y) {
    double meanX = Arrays.stream(x).average().orElseThrow();
    double meanY = Arrays.stream(y).average().orElseThrow();
    double above = 0;
    double below = 0;
    for (int i = 0; i < x.length; i++) {
      above += (x[i] - meanX) * (y[i] - meanY);
      below += (x[i] - meanX) * (x[i] - meanX);
    }
    return above / below;
  }
}
