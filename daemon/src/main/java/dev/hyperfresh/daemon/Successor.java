package dev.hyperfresh.daemon;

import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// How what takes another's place is called: `m1` is followed by `m1-2`, and that by `m1-3`.
final class Successor {
  private static final Pattern COUNTED = Pattern.compile("(.*)-([0-9]{1,6})");
  private static final int LONGEST_NAME = 32;

  private Successor() {}

  /// The first such name that is not `taken`.
  static String of(String name, Predicate<String> taken) {
    Matcher counted = COUNTED.matcher(name);
    String stem = counted.matches() ? counted.group(1) : name;
    int count = counted.matches() ? Integer.parseInt(counted.group(2)) : 1;
    String next;
    do {
      count++;
      String ending = "-" + count;
      next = stem.substring(0, Math.min(stem.length(), LONGEST_NAME - ending.length())) + ending;
    } while (taken.test(next));
    return next;
  }
}
