package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/// What executes the guest's code: the CPU model and the accelerator of a foreign command line. The
/// accelerator is pinned to the one that the guest runs on, and the processor to what it has there.
final class ForeignProcessor implements ForeignSubject {
  private static final Pattern PRINTABLE = Pattern.compile("[ -~]{1,64}");

  /// What can be given to no later instance.
  private record Obstacle(String trait, String value, String why, String action) {
    boolean isIn(Map<String, String> features) {
      return value.equals(features.get(trait));
    }
  }

  private static final List<Obstacle> OBSTACLES =
      List.of(
          new Obstacle(
              "migratable",
              "off",
              "with migratable=off it has features that QEMU cannot move",
              "leave that out"),
          new Obstacle(
              "hv-passthrough",
              "on",
              "QEMU cannot move a guest with hv-passthrough",
              "name the hv- features that it needs, such as hv-time"),
          new Obstacle(
              "host-cache-info",
              "on",
              "with host-cache-info=on it shows the host's caches, which cannot be pinned",
              "leave that out"));

  /// Only what its owner says of the TSC is said again.
  private static final Set<String> RATES = Set.of("tsc-freq", "tsc-frequency");

  private final ForeignPieces pieces;
  private final LiveMachine live;
  private String cpu;
  private boolean cpuGiven;
  private boolean acceleratorGiven;

  ForeignProcessor(ForeignPieces pieces, LiveMachine live) {
    this.pieces = pieces;
    this.live = live;
    this.cpu = live.defaultCpu();
  }

  /// The CPU model with its features, as its owner wrote it.
  String cpu() {
    return cpu;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case CPU -> model(piece);
      case ACCEL -> accelerator(piece);
      default -> ForeignVerdict.of(piece);
    };
  }

  private ForeignVerdict model(ForeignPiece piece) {
    cpu = piece.value();
    cpuGiven = true;
    String model = cpu.split(",", 2)[0];
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Map<String, String> features = features(piece.value());
    Map<String, String> traits = live.processor().traits();
    OBSTACLES.stream()
        .filter(obstacle -> obstacle.isIn(features) || obstacle.isIn(traits))
        .forEach(obstacle -> verdict.refuse(obstacle.why(), obstacle.action()));
    return LiveProcessor.UNSTEADY.contains(model)
        ? pinned(model, features, verdict)
        : verdict.words("-cpu", live.processor().asItIs(cpu));
  }

  /// Of a model that is another processor on each release.
  private ForeignVerdict pinned(
      String model, Map<String, String> features, ForeignVerdict verdict) {
    LiveProcessor processor = live.processor();
    if (pieces
        .of(ForeignOption.OVERCOMMIT)
        .anyMatch(overcommit -> overcommit.pairs("").isOn("cpu-pm"))) {
      verdict.refuse(
          "with -overcommit cpu-pm=on it shows how the host's processor waits, which cannot be"
              + " pinned",
          "leave that out, or name a model such as EPYC");
    }
    if (!live.isSeen()) {
      return verdict.unknown(
          "it keeps the features that it has now, and whether the target offers them is known when"
              + " it is adopted",
          "");
    }
    if (!processor.model().equals(model)) {
      return verdict.refuse(
          "what it has is not known, since the running QEMU has the model '"
              + ForeignPiece.excerpt(processor.model())
              + "'");
    }
    if (processor.traits().containsKey(LiveProcessor.RETIRED)) {
      verdict.remark(
          "With its first replacement, its processor loses "
              + LiveProcessor.RETIRED
              + ", which newer QEMUs do not offer and no processor that was built has.");
    }
    Map<String, String> pinned = processor.pinned();
    RATES.stream()
        .filter(features::containsKey)
        .forEach(rate -> pinned.put(rate, features.getOrDefault(rate, "")));
    return write(pinned, verdict);
  }

  private static ForeignVerdict write(Map<String, String> pinned, ForeignVerdict verdict) {
    List<String> cpu = new ArrayList<>(List.of("base"));
    List<String> apart = new ArrayList<>();
    pinned.forEach((property, value) -> {
      if (!PRINTABLE.matcher(value).matches()) {
        verdict.refuse("its " + property + " cannot be written on a command line");
      } else if (value.contains(",")) {
        // A comma always ends a feature of `-cpu`, also a doubled one.
        apart.addAll(List.of("-global", "base-x86_64-cpu." + property + "=" + value));
      } else {
        cpu.add(property + "=" + value);
      }
    });
    return verdict.words("-cpu", String.join(",", cpu)).words(apart.toArray(String[]::new));
  }

  /// As QEMU reads them: `+x`, `-x`, `x`, `x=y`, with `_` for `-` in names.
  private static Map<String, String> features(String cpu) {
    Map<String, String> features = new TreeMap<>();
    String[] words = cpu.split(",");
    for (int i = 1; i < words.length; i++) {
      String word = words[i];
      boolean sign = word.startsWith("+") || word.startsWith("-");
      String[] pair = (sign ? word.substring(1) : word).split("=", 2);
      String name = pair[0].replace('_', '-');
      String value = sign ? (word.startsWith("+") ? "on" : "off") : "on";
      features.put(name, pair.length == 2 ? spelled(pair[1]) : value);
    }
    return features;
  }

  private static String spelled(String value) {
    return switch (value.toLowerCase(Locale.ROOT)) {
      case "on", "yes", "true", "y" -> "on";
      case "off", "no", "false", "n" -> "off";
      default -> value;
    };
  }

  /// Of several the first that works is taken by QEMU; that is known by now.
  private ForeignVerdict accelerator(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions accelerator = verdict.pairs(piece, "accel");
    String label = live.accelerator().label();
    if (accelerator.get("accel", "").equals(label) && accelerator.values().size() > 1) {
      verdict.words("-accel", accelerator.text());
      acceleratorGiven = true;
    }
    return verdict;
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    if (!cpuGiven && !live.processor().lacking().isEmpty()) {
      verdict.words("-cpu", live.processor().asItIs(cpu));
    }
    return acceleratorGiven ? verdict : verdict.words("-accel", live.accelerator().label());
  }
}
