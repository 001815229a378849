package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class EstimateTest {
  private final Random random = new Random(7);

  private List<Double> normal(int count, double mean) {
    return DoubleStream.generate(() -> mean + random.nextGaussian()).limit(count).boxed().toList();
  }

  @Test
  void nearlyAllIntervalsHaveTheTrueMedian() {
    long right =
        IntStream.range(0, 200)
            .mapToObj(_ -> Estimate.median(normal(25, 10)))
            .filter(estimate -> estimate.low() <= 10 && estimate.high() >= 10)
            .count();
    assertThat(right).isBetween(180L, 200L);
  }

  @Test
  void moreMeasurementsSayMore() {
    Estimate few = Estimate.median(normal(10, 5));
    Estimate many = Estimate.median(normal(1000, 5));
    assertThat(many.high() - many.low()).isLessThan((few.high() - few.low()) / 2);
  }

  @Test
  void aRatioThatIsNotOneIsToldFromOne() {
    Estimate ratio = Estimate.ratio(normal(30, 40), normal(30, 10));
    assertThat(ratio.value()).isCloseTo(4, within(0.5));
    assertThat(ratio.low()).isGreaterThan(3);
    assertThat(ratio.high()).isLessThan(5);
  }

  @Test
  void aFlatLineIsNotToldFromFlat() {
    List<Double> x = IntStream.range(0, 60).mapToObj(i -> Math.pow(4, i % 4)).toList();
    Estimate flat = Estimate.slope(x, normal(60, 3));
    assertThat(flat.low()).isNegative();
    assertThat(flat.high()).isPositive();
    Estimate steep = Estimate.slope(x, x.stream().map(value -> 2 * value + 1).toList());
    assertThat(steep.value()).isCloseTo(2, within(1e-9));
    assertThat(steep.low()).isGreaterThan(0);
  }

  @Test
  void quantilesAreMeasurements() {
    List<Double> values = IntStream.rangeClosed(1, 100).mapToObj(Double::valueOf).toList();
    assertThat(Estimate.quantile(values, 0.99)).isEqualTo(100);
    assertThat(Estimate.quantile(values, 0)).isEqualTo(1);
    assertThat(Estimate.quantile(List.of(3.0), 0.99)).isEqualTo(3);
  }

  @Test
  void nothingSaysNothing() {
    assertThatThrownBy(() -> Estimate.median(Collections.emptyList()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
