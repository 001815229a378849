package dev.hyperfresh.testkit;

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

  BenchHost {
    facts = Map.copyOf(facts);
  }

  /// This host, now.
  static BenchHost here(KvmProbe.Result kvm) {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("when", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    facts.put("processor", processor());
    facts.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
    facts.put("kernel", System.getProperty("os.version"));
    facts.put("kvm", kvm.verdict().name().toLowerCase(Locale.ROOT));
    facts.put("load average at the end", first(LOAD, " "));
    return new BenchHost(facts);
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

  private static String first(Path file, String separator) {
    try {
      return Files.readString(file, StandardCharsets.UTF_8).split(separator)[0];
    } catch (IOException e) {
      return "unknown";
    }
  }
}
