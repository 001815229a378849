package dev.hyperfresh.testkit;

import dev.hyperfresh.testkit.RivalQemu.Move;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;

/// What a benchmark measured.
///
/// @param host on what
/// @param from the name of one release between which guests moved
/// @param to the name of the other
/// @param scenes guests that were moved in several ways; may be empty
/// @param memory the product's moves alone, of memories of several sizes; may be empty
/// @param leftOut what was not measured, and why
record BenchResult(
    BenchHost host,
    String from,
    String to,
    List<Scene> scenes,
    List<Series> memory,
    List<String> leftOut) {
  /// Of [#json]; it rises when a program that knows the one before could misread it.
  static final int VERSION = 2;

  /// With fewer moves nothing is said of what is longer.
  private static final int ENOUGH = BenchTurns.LEAST;

  BenchResult {
    scenes = List.copyOf(scenes);
    memory = List.copyOf(memory);
    leftOut = List.copyOf(leftOut);
  }

  /// One guest.
  ///
  /// @param ways in which it was moved, the product's first
  record Scene(String name, long memoryBytes, List<Measured> ways) {
    Scene {
      ways = List.copyOf(ways);
    }

    /// The product's.
    Measured ours() {
      return ways.getFirst();
    }

    private List<Measured> rivals() {
      return ways.subList(1, ways.size());
    }

    private static boolean isFloor(Measured way) {
      return way.label().equals(RivalWay.BY_HAND.label());
    }

    /// The product's blackout beside the least that the two QEMUs allow, and beside the shortest of
    /// all other ways, as far as there are enough moves.
    List<Figure> figures() {
      List<Figure> figures = new ArrayList<>();
      rivals().stream()
          .filter(Scene::isFloor)
          .forEach(floor -> against("the floor", floor).ifPresent(figures::add));
      rivals().stream()
          .filter(way -> !isFloor(way) && way.blackouts().size() >= ENOUGH)
          .min(Comparator.comparingDouble(way -> Estimate.median(way.blackouts()).value()))
          .flatMap(best -> against("the best rival", best))
          .ifPresent(figures::add);
      return figures;
    }

    private Optional<Figure> against(String what, Measured way) {
      return ratio(ours(), way, Measured::blackouts)
          .map(ratio -> new Figure(name + ": blackout, times " + what, way.label(), ratio));
    }

    private Stream<Figure> better() {
      return rivals().stream()
          .flatMap(way ->
              Stream.of(
                      shorter(way, "stands shorter", Measured::blackouts),
                      shorter(way, "moves in less time", Measured::durations))
                  .flatMap(Optional::stream));
    }

    private Optional<Figure> shorter(
        Measured way, String what, Function<Measured, List<Double>> times) {
      return ratio(way, ours(), times)
          .filter(ratio -> ratio.high() < 1)
          .map(ratio -> new Figure(name + ": " + way.label() + " " + what, way.label(), ratio));
    }
  }

  private static Optional<Estimate> ratio(
      Measured one, Measured other, Function<Measured, List<Double>> times) {
    List<Double> ones = times.apply(one);
    List<Double> others = times.apply(other);
    return ones.size() < ENOUGH || others.size() < ENOUGH
        ? Optional.empty()
        : Optional.of(Estimate.ratio(ones, others));
  }

  /// What was measured of a guest with a memory of one size.
  record Size(long memoryBytes, Measured moves) {}

  /// Guests that differ in the size of their memory alone.
  ///
  /// @param sizes the smallest first
  record Series(String name, List<Size> sizes) {
    Series {
      sizes = List.copyOf(sizes);
    }

    /// How much longer the blackout of a GiB more is, milliseconds; empty without two sizes.
    Optional<Estimate> slope() {
      List<Double> gibibytes = new ArrayList<>();
      List<Double> blackouts = new ArrayList<>();
      for (Size size : sizes) {
        for (double blackout : size.moves().blackouts()) {
          gibibytes.add(size.memoryBytes() / (double) (1L << 30));
          blackouts.add(blackout);
        }
      }
      boolean several = gibibytes.stream().distinct().count() > 1;
      return several ? Optional.of(Estimate.slope(gibibytes, blackouts)) : Optional.empty();
    }

    private Optional<Figure> figure() {
      return slope().map(slope -> new Figure(name + ": blackout, ms for a GiB more", "", slope));
    }
  }

  /// Something that is to stay as small as it is.
  ///
  /// @param name what it is; the same in other results
  /// @param way beside which way, or empty
  record Figure(String name, String way, Estimate value) {
    private Map<String, Object> json() {
      Map<String, Object> json = new LinkedHashMap<>();
      json.put("name", name);
      json.put("way", way);
      json.putAll(value.json());
      return json;
    }
  }

  /// The moves of one guest in one way. For one thread until it is part of a result.
  static final class Measured {
    private final String label;
    private final List<Move> moves = new ArrayList<>();
    private int givenUp;
    private String trouble = "";
    private boolean failed;

    Measured(String label) {
      this.label = label;
    }

    /// One more move.
    ///
    /// @param move empty when it did not come to its end in time
    void add(Optional<Move> move) {
      if (move.isPresent()) {
        moves.add(move.get());
      } else {
        givenUp++;
      }
    }

    /// This way was not to be had.
    void skipped(String why) {
      trouble("skipped: " + why);
    }

    /// This way failed, and was not tried again.
    void failed(String why) {
      failed = true;
      trouble("failed: " + why);
    }

    private void trouble(String what) {
      if (trouble.isEmpty()) {
        trouble = what.replaceAll("\\s+", " ");
      }
    }

    String label() {
      return label;
    }

    /// Why there are no more moves, in one line; empty when nothing was wrong.
    String trouble() {
      return trouble;
    }

    /// Why there is no figure, in a few words.
    String absence() {
      if (!trouble.isEmpty()) {
        return trouble;
      }
      return givenUp > 0 ? "never came to its end" : "no time for a move that counts";
    }

    boolean hasFailed() {
      return failed;
    }

    /// How many moves did not come to their end in time.
    int givenUp() {
      return givenUp;
    }

    List<Double> blackouts() {
      return moves.stream().map(Move::blackoutMs).toList();
    }

    List<Double> durations() {
      return moves.stream().map(Move::moveMs).toList();
    }

    /// The most memory that a move sent, bytes.
    long ramBytes() {
      return moves.stream().mapToLong(Move::ramBytes).max().orElse(0);
    }

    private Map<String, Object> json() {
      Map<String, Object> json = new LinkedHashMap<>();
      json.put("way", label);
      json.put("moves", moves.size());
      json.put("given_up", givenUp);
      if (!trouble.isEmpty()) {
        json.put("trouble", trouble);
      }
      if (!moves.isEmpty()) {
        Estimate median = Estimate.median(blackouts());
        json.put("blackout_ms", median.value());
        json.put("blackout_low_ms", median.low());
        json.put("blackout_high_ms", median.high());
        json.put("blackout_p99_ms", Estimate.quantile(blackouts(), 0.99));
        json.put("move_ms", Estimate.median(durations()).value());
        json.put("ram_bytes", ramBytes());
        json.put("blackouts_ms", blackouts());
      }
      return json;
    }
  }

  /// What a later result is held against.
  List<Figure> figures() {
    return Stream.concat(
            scenes.stream().flatMap(scene -> scene.figures().stream()),
            memory.stream().flatMap(series -> series.figure().stream()))
        .toList();
  }

  /// Whether guest or series `name` was measured.
  boolean has(String name) {
    return scenes.stream().anyMatch(scene -> scene.name().equals(name))
        || memory.stream().anyMatch(series -> series.name().equals(name));
  }

  /// Where another way takes less time than the product, beyond what chance may do: what it takes
  /// of the product's time.
  List<Figure> better() {
    return scenes.stream().flatMap(Scene::better).toList();
  }

  /// What the product itself did not do.
  List<String> losses() {
    Stream<String> moved =
        scenes.stream()
            .filter(scene -> scene.ours().hasFailed())
            .map(scene -> scene.name() + ": " + scene.ours().trouble());
    Stream<String> sized =
        memory.stream()
            .flatMap(series ->
                series.sizes().stream()
                    .filter(size -> size.moves().hasFailed())
                    .map(size -> series.name() + ": " + size.moves().trouble()));
    return Stream.concat(moved, sized).toList();
  }

  /// For programs.
  Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("version", VERSION);
    json.put("host", host.facts());
    json.put("releases", List.of(from, to));
    json.put("scenes", scenes.stream().map(BenchResult::json).toList());
    json.put("memory", memory.stream().map(BenchResult::json).toList());
    json.put("figures", figures().stream().map(Figure::json).toList());
    json.put("rivals_that_win", better().stream().map(Figure::json).toList());
    json.put("left_out", leftOut);
    return json;
  }

  private static Map<String, Object> json(Scene scene) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guest", scene.name());
    json.put("memory_bytes", scene.memoryBytes());
    json.put("ways", scene.ways().stream().map(Measured::json).toList());
    return json;
  }

  private static Map<String, Object> json(Series series) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guests", series.name());
    List<Map<String, Object>> sizes = new ArrayList<>();
    for (Size size : series.sizes()) {
      Map<String, Object> one = new LinkedHashMap<>();
      one.put("memory_bytes", size.memoryBytes());
      one.putAll(size.moves().json());
      sizes.add(one);
    }
    json.put("sizes", sizes);
    series.slope().ifPresent(slope -> json.put("slope_ms_per_gib", slope.json()));
    return json;
  }
}
