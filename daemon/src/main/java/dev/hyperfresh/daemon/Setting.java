package dev.hyperfresh.daemon;

/// A setting of a daemon that its configuration file may hold. The shipped file and the manual page
/// are written from this table.
public enum Setting implements FileSetting {
  /// Where it keeps everything.
  STATE(
      "DIR",
      "/var/lib/hyperfresh",
      "The daemon's own directory: guests, machines, operating systems, containers, journal,"
          + " history and sockets. An absolute path of a directory that is there; where it is on a"
          + " file system of its own, add RequiresMountsFor=DIR to hyperfresh.service. Guests stay"
          + " with the directory in which they were created: stop them before you change it."),
  /// Where it keeps releases.
  RELEASES(
      "DIR",
      "/var/lib/hyperfresh/releases",
      "Where releases are kept; several daemons may share it. An absolute path. By default it is"
          + " the folder releases in the state directory."),
  /// Where apt keeps what it fetched.
  PACKAGES(
      "DIR",
      "/var/lib/hyperfresh/apt",
      "The private state and the downloads of apt, through which releases are fetched; several"
          + " daemons may share it. An absolute path. By default it is the folder apt in the state"
          + " directory."),
  /// How many guests start at once.
  STARTS(
      "N",
      "4",
      "How many guests start at once after a boot of the host, 1 to 64. By default as many as the"
          + " host has cores, 2 to 16."),
  /// What it logs.
  LOG(
      "debug|info|warning",
      "info",
      "The least grave entries that the daemon logs to standard error, which is the journal where"
          + " systemd starts it.");

  private final String form;
  private final String example;
  private final String meaning;

  Setting(String form, String example, String meaning) {
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
