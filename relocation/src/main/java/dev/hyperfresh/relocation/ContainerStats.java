package dev.hyperfresh.relocation;

import dev.hyperfresh.vm.TroubleException;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// What a container uses, by its cgroup.
///
/// @param memoryBytes all memory that is charged to it, page cache included
/// @param memoryMaxBytes the most it may have, if that is limited
/// @param cpuMicros the CPU time of all its processes in the OS in which it is, since it came there
/// @param pids processes and threads
/// @param pidsMax the most it may have, if that is limited
public record ContainerStats(
    long memoryBytes,
    OptionalLong memoryMaxBytes,
    long cpuMicros,
    long pids,
    OptionalLong pidsMax) {
  private static final Pattern SAID =
      Pattern.compile(
          "memory ([0-9]{1,18}) (max|[0-9]{1,18}) cpu_us ([0-9]{1,18})"
              + " pids ([0-9]{1,18}) (max|[0-9]{1,18})");

  /// @param line as an OS says it
  /// @throws TroubleException when it is anything else
  static ContainerStats parse(String line) {
    Matcher said = SAID.matcher(line);
    if (!said.matches()) {
      throw new TroubleException("its figures cannot be understood");
    }
    return new ContainerStats(
        Long.parseLong(said.group(1)),
        limit(said.group(2)),
        Long.parseLong(said.group(3)),
        Long.parseLong(said.group(4)),
        limit(said.group(5)));
  }

  private static OptionalLong limit(String text) {
    return text.equals("max") ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(text));
  }
}
