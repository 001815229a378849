package dev.hyperfresh.daemon;

/// A setting of the policy file: what is done about guests that run an older QEMU than the one that
/// is installed. The shipped file and the manual page are written from this table.
public enum PolicySetting implements FileSetting {
  /// What is done.
  ACTION(
      "report|dry-run|replace",
      "report",
      "What is done when guests run an older QEMU than the one that is installed. report says so,"
          + " dry-run also checks and rehearses each move and touches no guest, replace moves the"
          + " guests."),
  /// How many go first.
  CANARY("N", "1", "How many guests move first and are watched before the rest; 0 for none."),
  /// How long they are watched.
  SOAK(
      "TIME",
      "5m",
      "How long the first ones are watched, such as 30s, 10m or 2h, at most 24h. They must stay on"
          + " the new release, and their heartbeats must continue."),
  /// How many at a time.
  PARALLEL(
      "N",
      "1",
      "How many guests are prepared at a time, 1 to 64. They switch one after the other."),
  /// When.
  WINDOW(
      "DAYS HH:MM-HH:MM",
      "any",
      "When guests may begin to move, in this host's time zone: 02:00-05:00 for every day, or with"
          + " days before it, such as Sat..Sun 02:00-05:00 or Mon,Wed 22:00-04:00. A window that"
          + " goes on after midnight belongs to the day on which it opens. any is at any time. Who"
          + " is being moved when it closes is moved to the end."),
  /// How long a guest may stand.
  BLACKOUT(
      "TIME",
      "1s",
      "How long a switch may take, 1ms to 60s. One that takes longer is rolled back, and no other"
          + " guest is moved."),
  /// Who stays.
  EXCEPT(
      "[GUEST, ...]",
      "[]",
      "The names of guests that are left as they are. If no guest has one of these names, replace"
          + " moves nobody.");

  private final String form;
  private final String example;
  private final String meaning;

  PolicySetting(String form, String example, String meaning) {
    this.form = form;
    this.example = example;
    this.meaning = meaning;
  }

  @Override
  public String form() {
    return form;
  }

  @Override
  public String example() {
    return example;
  }

  @Override
  public String meaning() {
    return meaning;
  }
}
