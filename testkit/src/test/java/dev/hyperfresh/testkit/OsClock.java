package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.relocation.OsVm;
import java.time.Duration;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The wall clock of an operating system, as the host sees it.
final class OsClock {
  private static final Pattern CLOCK =
      Pattern.compile("(?s).*tv_sec: *([0-9]+).*tv_usec: *([0-9]+).*");
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private OsClock() {}

  /// How far it is ahead of the host's, in milliseconds: by a program in it, whose start and end
  /// are seen from here; the least of some, since that takes some milliseconds.
  static double offsetMs(OsVm os) {
    double least = Double.MAX_VALUE;
    for (int i = 0; i < 5; i++) {
      double before = System.currentTimeMillis();
      String said = os.run(List.of("sh", "-c", "adjtimex | grep -E 'tv_(u)?sec'"), LIMIT);
      double after = System.currentTimeMillis();
      Matcher clock = CLOCK.matcher(said);
      assertThat(clock.matches()).as(said).isTrue();
      double inside = Long.parseLong(clock.group(1)) * 1e3 + Long.parseLong(clock.group(2)) / 1e3;
      double offset = inside < before ? inside - before : Math.max(0, inside - after);
      if (Math.abs(offset) < Math.abs(least)) {
        least = offset;
      }
    }
    return least;
  }
}
