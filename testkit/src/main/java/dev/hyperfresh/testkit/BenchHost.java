package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/// On what a benchmark ran: its figures mean nothing without it.
///
/// @param facts by their names, for people
record BenchHost(Map<String, String> facts) {
  private static final Path CPUS = Path.of("/proc/cpuinfo");
  private static final Path LOAD = Path.of("/proc/loadavg");
  private static final String BEFORE = "load average before";

  /// What a host has that does nothing else.
  private static final double IDLE = 0.5;

  BenchHost {
    facts = Map.copyOf(facts);
  }

  /// This host, now.
  ///
  /// @param loadBefore what [#load] said before the run
  static BenchHost here(KvmProbe.Result kvm, String loadBefore) {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("when", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    facts.put("processor", processor());
    facts.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
    facts.put("kernel", System.getProperty("os.version"));
    facts.put("kvm", kvm.verdict().name().toLowerCase(Locale.ROOT));
    facts.put("memory, MiB", Long.toString(Host.totalMemoryBytes() >> 20));
    facts.put(BEFORE, loadBefore);
    facts.put("load average at the end", load());
    return new BenchHost(facts);
  }

  /// How many tasks wanted a processor in the last minute, or `unknown`.
  static String load() {
    try {
      return Files.readString(LOAD, StandardCharsets.UTF_8).split(" ", 2)[0];
    } catch (IOException e) {
      return "unknown";
    }
  }

  /// Whether other work was seen before the run, which may have moved every figure.
  boolean wasBusy() {
    try {
      return Double.parseDouble(facts.getOrDefault(BEFORE, "")) > IDLE;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static String processor() {
    try {
      return Files.readAllLines(CPUS, StandardCharsets.UTF_8).stream()
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElse("unknown");
    } catch (IOException e) {
      return "unknown";
    }
  }
}
