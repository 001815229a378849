package dev.hyperfresh.relocation;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// How is found out whether a container works: a program that runs in it now and then. Immutable.
///
/// @param command the program and its arguments; with exit code 0 it says that the container works
/// @param interval between the end of one check and the next, 1 s to 1 h
/// @param timeout how long a check may take, 1 s to 60 s; one that takes longer is killed and has
///   failed
/// @param retries how many checks have to fail one after the other until the container is
///   unhealthy, 1 to 100
/// @param startPeriod for how long after its start failures do not count, unless one check has gone
///   well; at most 1 h
public record HealthCheck(
    List<String> command, Duration interval, Duration timeout, int retries, Duration startPeriod) {
  /// How often is looked unless it is said.
  public static final Duration INTERVAL = Duration.ofSeconds(30);

  /// How long a check may take unless it is said.
  public static final Duration TIMEOUT = Duration.ofSeconds(10);

  /// How many have to fail unless it is said.
  public static final int RETRIES = 3;

  private static final Duration LONGEST_TIMEOUT = Duration.ofSeconds(60);
  private static final Duration LONGEST = Duration.ofHours(1);
  private static final int MOST_RETRIES = 100;
  private static final int MOST_WORDS = 64;
  private static final int MOST_CHARACTERS = 2000;

  /// Copies the list.
  public HealthCheck {
    command = List.copyOf(command);
  }

  /// Every fault; empty when there is none.
  List<String> faults() {
    List<String> faults = new ArrayList<>();
    int characters = command.stream().mapToInt(String::length).sum();
    boolean printable = command.stream().allMatch(word -> word.chars().noneMatch(c -> c < ' '));
    if (command.isEmpty() || command.getFirst().isBlank()) {
      faults.add("health: there is no command");
    } else if (command.size() > MOST_WORDS || characters > MOST_CHARACTERS || !printable) {
      faults.add(
          "health: a command has at most 64 words and 2000 characters, none of them a control"
              + " character");
    }
    within("interval", interval, Duration.ofSeconds(1), LONGEST, faults);
    within("timeout", timeout, Duration.ofSeconds(1), LONGEST_TIMEOUT, faults);
    within("start period", startPeriod, Duration.ZERO, LONGEST, faults);
    if (retries < 1 || retries > MOST_RETRIES) {
      faults.add("health: retries are not between 1 and " + MOST_RETRIES);
    }
    return faults;
  }

  private static void within(
      String what, Duration value, Duration least, Duration most, List<String> faults) {
    if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
      faults.add(
          "health: the "
              + what
              + " is not between "
              + least.toSeconds()
              + " and "
              + most.toSeconds()
              + " s");
    }
  }
}
