package dev.hyperfresh.host;

import java.util.Optional;
import java.util.OptionalLong;

/// The host's memory as proc_meminfo(5) tells it, in MiB.
record HostMemory(long totalMib, long availableMib) {
  private static final String MEMINFO = "proc/meminfo";

  /// @return empty when the file or one of its lines is not there
  static Optional<HostMemory> of(Sysfs sysfs) {
    String text = sysfs.read(MEMINFO).orElse("");
    OptionalLong total = kib(text, "MemTotal:");
    OptionalLong available = kib(text, "MemAvailable:");
    return total.isEmpty() || available.isEmpty()
        ? Optional.empty()
        : Optional.of(new HostMemory(total.getAsLong() >> 10, available.getAsLong() >> 10));
  }

  long usedMib() {
    return totalMib - availableMib;
  }

  private static OptionalLong kib(String text, String field) {
    return text.lines()
        .map(line -> line.split("\\s+"))
        .filter(words -> words.length == 3 && words[0].equals(field))
        .mapToLong(words -> Long.parseLong(words[1]))
        .findFirst();
  }
}
