package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class MaintenanceWindowTest {
  /// Its clocks go forward at 02:00 on 29 March 2026, and back at 03:00 on 25 October 2026.
  private static final ZoneId BERLIN = ZoneId.of("Europe/Berlin");

  private static Instant berlin(String local) {
    return LocalDateTime.parse(local).atZone(BERLIN).toInstant();
  }

  private static MaintenanceWindow.Opening next(String window, String now) {
    return MaintenanceWindow.parse(window).next(berlin(now), BERLIN);
  }

  /// 2 November 2026 is a Monday.
  @ParameterizedTest
  @CsvSource({
    "02:00-05:00,               2026-11-02T01:59:59, 2026-11-02T02:00, 2026-11-02T05:00",
    "02:00-05:00,               2026-11-02T02:00:00, 2026-11-02T02:00, 2026-11-02T05:00",
    "02:00-05:00,               2026-11-02T04:59:59, 2026-11-02T02:00, 2026-11-02T05:00",
    "02:00-05:00,               2026-11-02T05:00:00, 2026-11-03T02:00, 2026-11-03T05:00",
    "Sat..Sun 02:00-05:00,      2026-11-02T03:00:00, 2026-11-07T02:00, 2026-11-07T05:00",
    "Sat..Sun 02:00-05:00,      2026-11-07T06:00:00, 2026-11-08T02:00, 2026-11-08T05:00",
    "22:00-04:00,               2026-11-02T03:00:00, 2026-11-01T22:00, 2026-11-02T04:00",
    "Sun 22:00-04:00,           2026-11-02T03:00:00, 2026-11-01T22:00, 2026-11-02T04:00",
    "Mon 22:00-04:00,           2026-11-02T03:00:00, 2026-11-02T22:00, 2026-11-03T04:00",
    "'Mon,wednesday 9:00-10:00',2026-11-02T10:00:00, 2026-11-04T09:00, 2026-11-04T10:00",
    "Fri..Mon 00:00-24:00,      2026-11-03T00:00:00, 2026-11-06T00:00, 2026-11-07T00:00",
    "Fri..Mon 00:00-24:00,      2026-11-02T23:59:59, 2026-11-02T00:00, 2026-11-03T00:00",
    "Mon 02:00-05:00,           2026-11-02T05:00:00, 2026-11-09T02:00, 2026-11-09T05:00"
  })
  void itOpensAsItSays(String window, String now, String opens, String closes) {
    MaintenanceWindow.Opening opening = next(window, now);

    assertThat(opening.opens()).isEqualTo(berlin(opens));
    assertThat(opening.closes()).isEqualTo(berlin(closes));
    assertThat(opening.contains(berlin(now))).isEqualTo(!berlin(now).isBefore(berlin(opens)));
  }

  @Test
  void aTimeThatAClockChangeLeavesOutIsTheInstantOfTheChange() {
    Instant change = Instant.parse("2026-03-29T01:00:00Z");
    MaintenanceWindow.Opening late = next("02:30-04:00", "2026-03-29T01:00:00");
    assertThat(late.opens()).isEqualTo(change);
    assertThat(late.closes()).isEqualTo(Instant.parse("2026-03-29T02:00:00Z"));
    assertThat(next("01:00-02:30", "2026-03-29T00:30:00").closes()).isEqualTo(change);
    // Nothing of it is left that day.
    assertThat(next("02:15-02:45", "2026-03-29T01:00:00").opens())
        .isEqualTo(berlin("2026-03-30T02:15"));
    assertThat(next("Sun 02:15-02:45", "2026-03-29T01:00:00").opens())
        .isEqualTo(berlin("2026-04-05T02:15"));
  }

  @Test
  void ofATimeThatComesTwiceTheFirstCounts() {
    MaintenanceWindow.Opening opening = next("01:00-02:30", "2026-10-25T00:30:00");
    assertThat(opening.opens()).isEqualTo(Instant.parse("2026-10-24T23:00:00Z"));
    assertThat(opening.closes()).isEqualTo(Instant.parse("2026-10-25T00:30:00Z"));
    MaintenanceWindow.Opening later = next("02:30-04:00", "2026-10-25T00:30:00");
    assertThat(Duration.between(later.opens(), later.closes())).isEqualTo(Duration.ofMinutes(150));
  }

  @Test
  void theZoneOfTheHostCounts() {
    Instant now = Instant.parse("2026-11-02T02:30:00Z");
    MaintenanceWindow window = MaintenanceWindow.parse("02:00-03:00");

    assertThat(window.next(now, ZoneOffset.UTC).contains(now)).isTrue();
    assertThat(window.next(now, BERLIN).contains(now)).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "Sat..Sun 02:00-05:00,      'Sat,Sun 02:00-05:00'",
    "22:00-04:00,               22:00-04:00",
    "0:00-24:00,                00:00-24:00",
    "Fri..Mon 23:30-24:00,      'Mon,Fri,Sat,Sun 23:30-24:00'"
  })
  void itIsWrittenAsItIsRead(String window, String text) {
    MaintenanceWindow read = MaintenanceWindow.parse(window);

    assertThat(read.text()).isEqualTo(text);
    assertThat(MaintenanceWindow.parse(text)).isEqualTo(read);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "always",
        "02:00",
        "02:00 - 05:00",
        "2-5",
        "02:00-05:60",
        "02:00-24:01",
        "24:00-02:00",
        "25:00-26:00",
        "03:00-03:00",
        "02:01-02:14",
        "23:55-00:09",
        "Sat..Sun",
        "So 02:00-05:00",
        "Sa 02:00-05:00",
        "Sat.Sun 02:00-05:00",
        "Sat,,Sun 02:00-05:00",
        "Sat..Sunny 02:00-05:00"
      })
  void whatIsNoWindowIsRefusedInWords(String window) {
    assertThatThrownBy(() -> MaintenanceWindow.parse(window))
        .isInstanceOf(IllegalArgumentException.class)
        .message()
        .matches("(is not of the form|is shorter than|has|opens) .*");
  }
}
