package dev.hyperfresh.daemon;

import java.time.DayOfWeek;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneId;
import java.time.format.TextStyle;
import java.time.zone.ZoneOffsetTransition;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A time of day, on some days of the week, in which something may be done. One that goes on after
/// midnight belongs to the day on which it opens. Immutable.
///
/// @param days on which it opens
/// @param opens the time of day
/// @param minutes how long it is open where no clock is changed
public record MaintenanceWindow(Set<DayOfWeek> days, LocalTime opens, int minutes) {
  private static final int DAY = 24 * 60;

  /// In minutes. Whoever looks every few minutes finds it open.
  private static final int SHORTEST = 15;

  /// Every day in it has a window that a clock change leaves, as no clock is changed so often.
  private static final int DAYS_TO_LOOK = 21;

  private static final Pattern FORM =
      Pattern.compile(
          "(?:(\\S+) +)?([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})", Pattern.CASE_INSENSITIVE);

  /// The days that are written `Mon`, or longer, or `Mon..Fri`.
  private static final Pattern RANGE = Pattern.compile("([a-z]+)(?:\\.\\.([a-z]+))?");

  /// One time that it is open.
  ///
  /// @param closes the first instant at which it is not open any more
  public record Opening(Instant opens, Instant closes) {
    /// Whether it is open.
    public boolean contains(Instant now) {
      return !now.isBefore(opens) && now.isBefore(closes);
    }
  }

  public MaintenanceWindow {
    days = Set.copyOf(days);
  }

  /// Reads `Sat..Sun 02:00-05:00`, `Mon,Wed 22:00-04:00` or `02:00-05:00`.
  ///
  /// @throws IllegalArgumentException with what is wrong, in words that follow the text
  static MaintenanceWindow parse(String text) {
    Matcher form = FORM.matcher(text.strip());
    if (!form.matches()) {
      throw new IllegalArgumentException("is not of the form 'Sat..Sun 02:00-05:00'");
    }
    int opens = minute(form.group(2), form.group(3));
    int closes = minute(form.group(4), form.group(5));
    if (opens == DAY) {
      throw new IllegalArgumentException("opens at 24:00; that is 00:00 of the next day");
    }
    if (opens == closes) {
      throw new IllegalArgumentException(
          "opens and closes at the same time; a whole day is 00:00-24:00");
    }
    int minutes = closes > opens ? closes - opens : closes + DAY - opens;
    if (minutes < SHORTEST) {
      throw new IllegalArgumentException("is shorter than " + SHORTEST + " minutes");
    }
    String days = form.group(1);
    return new MaintenanceWindow(
        days == null ? EnumSet.allOf(DayOfWeek.class) : days(days.toLowerCase(Locale.ROOT)),
        LocalTime.ofSecondOfDay(opens * 60L),
        minutes);
  }

  private static int minute(String hours, String minutes) {
    int minute = Integer.parseInt(hours) * 60 + Integer.parseInt(minutes);
    if (Integer.parseInt(minutes) > 59 || minute > DAY) {
      throw new IllegalArgumentException("has " + hours + ":" + minutes + ", which is no time");
    }
    return minute;
  }

  private static Set<DayOfWeek> days(String list) {
    Set<DayOfWeek> days = EnumSet.noneOf(DayOfWeek.class);
    for (String part : list.split(",", -1)) {
      Matcher range = RANGE.matcher(part);
      if (!range.matches()) {
        throw new IllegalArgumentException("has '" + part + "', which is no day of the week");
      }
      DayOfWeek first = day(range.group(1));
      DayOfWeek last = range.group(2) == null ? first : day(range.group(2));
      // Fri..Mon goes over the end of the week.
      for (DayOfWeek day = first; ; day = day.plus(1)) {
        days.add(day);
        if (day == last) {
          break;
        }
      }
    }
    return days;
  }

  private static DayOfWeek day(String word) {
    return Arrays.stream(DayOfWeek.values())
        .filter(day -> word.length() >= 3)
        .filter(day -> day.name().toLowerCase(Locale.ROOT).startsWith(word))
        .findFirst()
        .orElseThrow(
            () -> new IllegalArgumentException("has '" + word + "', which is no day of the week"));
  }

  /// When it is open next: the first opening that is not over at `now`, so that it may have begun.
  ///
  /// A time of day that a clock change leaves out counts as the instant of that change, and of one
  /// that comes twice the first counts. An opening of which nothing is left is left out.
  public Opening next(Instant now, ZoneId zone) {
    LocalDate yesterday = now.atZone(zone).toLocalDate().minusDays(1);
    for (int i = 0; i < DAYS_TO_LOOK; i++) {
      LocalDateTime day = yesterday.plusDays(i).atTime(opens);
      Opening opening = new Opening(at(day, zone), at(day.plusMinutes(minutes), zone));
      if (days.contains(day.getDayOfWeek())
          && opening.opens().isBefore(opening.closes())
          && now.isBefore(opening.closes())) {
        return opening;
      }
    }
    throw new IllegalStateException(this + " never opens");
  }

  private static Instant at(LocalDateTime local, ZoneId zone) {
    ZoneOffsetTransition change = zone.getRules().getTransition(local);
    return change != null && change.isGap()
        ? change.getInstant()
        : local.atZone(zone).withEarlierOffsetAtOverlap().toInstant();
  }

  /// How long it is open where no clock is changed.
  public Duration length() {
    return Duration.ofMinutes(minutes);
  }

  /// As [#parse] reads it.
  public String text() {
    String times = opens + "-" + closes();
    if (days.size() == DayOfWeek.values().length) {
      return times;
    }
    List<String> words = new ArrayList<>();
    for (DayOfWeek day : DayOfWeek.values()) {
      if (days.contains(day)) {
        words.add(day.getDisplayName(TextStyle.SHORT, Locale.ENGLISH));
      }
    }
    return String.join(",", words) + " " + times;
  }

  private String closes() {
    int closes = opens.toSecondOfDay() / 60 + minutes;
    return closes == DAY ? "24:00" : LocalTime.ofSecondOfDay(closes % DAY * 60L).toString();
  }
}
