package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.testkit.BenchResult.Figure;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Whether a result is worse than an earlier one. What is compared hardly depends on how fast a
/// host is: ratios of blackouts that were measured in turns, and what more memory adds.
///
/// @param file where the earlier one was read from
/// @param earlier its figures by their names
record BenchCheck(Path file, Map<String, Figure> earlier) {
  /// Far more than any result has.
  private static final int MOST_BYTES = 4 << 20;

  private static final Comparator<Figure> BY_NAME = Comparator.comparing(Figure::name);

  BenchCheck {
    earlier = Map.copyOf(earlier);
  }

  /// What a check says.
  ///
  /// @param worse what got worse, or was not compared though it could have been; a line each
  /// @param compared how many figures were compared
  /// @param unmeasured what the earlier result has of guests that the later one has not
  record Verdict(List<String> worse, int compared, List<String> unmeasured) {
    Verdict {
      worse = List.copyOf(worse);
      unmeasured = List.copyOf(unmeasured);
    }
  }

  /// Reads what `bench --json` printed.
  ///
  /// @throws IllegalArgumentException when it cannot be read or is something else; the message says
  ///   so in one line
  static BenchCheck read(Path file) {
    JsonNode json;
    try {
      json = JsonMapper.shared().readTree(BoundedFile.read(file, MOST_BYTES));
    } catch (NoSuchFileException e) {
      throw new IllegalArgumentException("there is no file " + file, e);
    } catch (IOException e) {
      throw new IllegalArgumentException(file + " cannot be read: " + e.getMessage(), e);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(file + " is no JSON: " + e.getOriginalMessage(), e);
    }
    int version = json.path("version").asInt(0);
    if (version != BenchResult.VERSION) {
      throw new IllegalArgumentException(
          version == 0
              ? file + " is no result of bench --json"
              : file + " has version " + version + "; this is " + BenchResult.VERSION);
    }
    Map<String, Figure> figures = new LinkedHashMap<>();
    for (JsonNode one : json.path("figures")) {
      Figure figure =
          figure(one)
              .orElseThrow(
                  () -> new IllegalArgumentException(file + " has a figure without value: " + one));
      figures.put(figure.name(), figure);
    }
    if (figures.isEmpty()) {
      throw new IllegalArgumentException(file + " has no figures to compare");
    }
    return new BenchCheck(file, figures);
  }

  private static Optional<Figure> figure(JsonNode json) {
    String name = json.path("name").asString("");
    JsonNode value = json.path("value");
    JsonNode low = json.path("low");
    JsonNode high = json.path("high");
    boolean whole = !name.isEmpty() && value.isNumber() && low.isNumber() && high.isNumber();
    return whole
        ? Optional.of(
            new Figure(
                name,
                json.path("way").asString(""),
                new Estimate(value.doubleValue(), low.doubleValue(), high.doubleValue())))
        : Optional.empty();
  }

  /// Compares. A figure got worse when its whole interval lies above that of the earlier one.
  Verdict of(BenchResult now) {
    Map<String, Figure> figures = new LinkedHashMap<>();
    now.figures().forEach(figure -> figures.put(figure.name(), figure));
    List<String> worse = new ArrayList<>();
    List<String> unmeasured = new ArrayList<>();
    int compared = 0;
    for (Figure was : earlier.values().stream().sorted(BY_NAME).toList()) {
      Optional<Figure> is = Optional.ofNullable(figures.get(was.name()));
      if (is.isPresent()) {
        compared++;
        is.filter(figure -> figure.value().low() > was.value().high())
            .ifPresent(figure -> worse.add(worse(figure, was)));
      } else if (now.has(guest(was))) {
        worse.add(was.name() + " could not be told; it was " + BenchText.words(was.value()));
      } else {
        unmeasured.add(was.name());
      }
    }
    if (compared == 0 && worse.isEmpty()) {
      worse.add("nothing of " + file + " was measured in this run");
    }
    return new Verdict(worse, compared, unmeasured);
  }

  /// Which guests it is of: what stands before the last colon.
  private static String guest(Figure figure) {
    return figure.name().substring(0, Math.max(0, figure.name().lastIndexOf(": ")));
  }

  private static String worse(Figure is, Figure was) {
    return is.name()
        + ": "
        + BenchText.words(is.value())
        + beside(is)
        + ", was "
        + BenchText.words(was.value())
        + beside(was);
  }

  private static String beside(Figure figure) {
    return figure.way().isEmpty() ? "" : " (" + figure.way() + ")";
  }
}
