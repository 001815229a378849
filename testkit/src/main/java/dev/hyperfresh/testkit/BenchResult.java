package dev.hyperfresh.testkit;

import dev.hyperfresh.testkit.RivalQemu.Move;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// What a benchmark measured.
///
/// @param host on what
/// @param from the name of one release between which guests moved
/// @param to the name of the other
/// @param scenes guests that were moved in several ways
/// @param sizes the product's moves alone, of memories of several sizes; may be empty
record BenchResult(BenchHost host, String from, String to, List<Scene> scenes, List<Scene> sizes) {
  BenchResult {
    scenes = List.copyOf(scenes);
    sizes = List.copyOf(sizes);
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
  }

  /// The moves of one guest in one way. For one thread until it is part of a result.
  static final class Measured {
    private final String label;
    private final List<Move> moves = new ArrayList<>();
    private int givenUp;

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

    String label() {
      return label;
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

  /// How much longer the blackout of a GiB more is, milliseconds; empty without two sizes.
  Optional<Estimate> slope() {
    List<Double> gibibytes = new ArrayList<>();
    List<Double> blackouts = new ArrayList<>();
    for (Scene size : sizes) {
      for (double blackout : size.ours().blackouts()) {
        gibibytes.add(size.memoryBytes() / (double) (1L << 30));
        blackouts.add(blackout);
      }
    }
    boolean several = gibibytes.stream().distinct().count() > 1;
    return several ? Optional.of(Estimate.slope(gibibytes, blackouts)) : Optional.empty();
  }

  /// One screen for a person.
  void print(PrintStream out) {
    out.printf("%n%s and %s on %s%n", from, to, host.facts().get("processor"));
    out.printf(
        "%s cores, Linux %s, KVM: %s, load average %s%n",
        host.facts().get("cores"),
        host.facts().get("kernel"),
        host.facts().get("kvm"),
        host.facts().get("load average at the end"));
    for (Scene scene : scenes) {
      out.printf("%n%s%n", scene.name());
      out.println(
          "  way                                 blackout, ms [95 %]         p99  × ours"
              + "    move, ms  RAM, MiB   n");
      scene.ways().forEach(way -> out.println(row(scene, way)));
    }
    if (!sizes.isEmpty()) {
      out.printf("%nHyperFresh by size of memory, blackout, ms%n");
      sizes.forEach(size -> out.println(row(size, size.ours())));
      slope()
          .ifPresent(slope ->
              out.printf(
                  Locale.ROOT,
                  "  a GiB more: %+.3f ms [%+.3f to %+.3f]%s%n",
                  slope.value(),
                  slope.low(),
                  slope.high(),
                  slope.low() <= 0 && slope.high() >= 0 ? ", not told from 0" : ""));
    }
    verdicts().forEach(line -> out.println(line));
  }

  private static String row(Scene scene, Measured way) {
    String label = way == scene.ours() && scene.ways().size() == 1 ? scene.name() : way.label();
    String given = way.givenUp() == 0 ? "" : ", " + way.givenUp() + " not in time";
    if (way.blackouts().isEmpty()) {
      return String.format(Locale.ROOT, "  %-34s never came to its end%s", label, given);
    }
    Estimate median = Estimate.median(way.blackouts());
    return String.format(
        Locale.ROOT,
        "  %-34s %8.2f [%7.2f–%8.2f] %8.2f %7.1f %11.1f %9.1f %3d%s",
        label,
        median.value(),
        median.low(),
        median.high(),
        Estimate.quantile(way.blackouts(), 0.99),
        median.value() / Estimate.median(scene.ours().blackouts()).value(),
        Estimate.median(way.durations()).value(),
        way.ramBytes() / (double) (1 << 20),
        way.blackouts().size(),
        given);
  }

  /// Where another way has the shorter blackout, beyond what chance may do.
  List<String> verdicts() {
    List<String> lines = new ArrayList<>();
    for (Scene scene : scenes) {
      for (Measured way : scene.ways().subList(1, scene.ways().size())) {
        if (way.blackouts().isEmpty() || scene.ours().blackouts().isEmpty()) {
          continue;
        }
        Estimate ratio = Estimate.ratio(way.blackouts(), scene.ours().blackouts());
        if (ratio.high() < 1) {
          lines.add(
              String.format(
                  Locale.ROOT,
                  "%s: \"%s\" stands shorter than HyperFresh, %.2f times as long [%.2f to %.2f].",
                  scene.name(),
                  way.label(),
                  ratio.value(),
                  ratio.low(),
                  ratio.high()));
        }
      }
    }
    return lines;
  }

  /// For programs: `version` 1.
  Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("version", 1);
    json.put("host", host.facts());
    json.put("releases", List.of(from, to));
    json.put("scenes", scenes.stream().map(BenchResult::json).toList());
    json.put("sizes", sizes.stream().map(BenchResult::json).toList());
    slope()
        .ifPresent(slope ->
            json.put(
                "slope_ms_per_gib",
                Map.of("value", slope.value(), "low", slope.low(), "high", slope.high())));
    json.put("rivals_that_win", verdicts());
    return json;
  }

  private static Map<String, Object> json(Scene scene) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guest", scene.name());
    json.put("memory_bytes", scene.memoryBytes());
    json.put("ways", scene.ways().stream().map(Measured::json).toList());
    return json;
  }
}
