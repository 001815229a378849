package dev.hyperfresh.testkit;

import java.util.Locale;

/// A part of the benchmark.
enum BenchSuite {
  /// One guest in several ways.
  RIVALS,

  /// The product's blackouts by the size of the guest's memory.
  MEMORY;

  /// As it is given on a command line.
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
