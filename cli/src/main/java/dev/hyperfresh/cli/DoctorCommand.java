package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.daemon.Doctor;
import dev.hyperfresh.host.Finding;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `hyperfresh doctor`.
@Command(
    name = "doctor",
    description = "Show what works on this host and what to do about the rest. Changes nothing.",
    footer = {"", "Examples:", "  hyperfresh doctor", "  hyperfresh doctor --json"})
final class DoctorCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Override
  public void run() {
    DaemonConfig config = DaemonConfig.under(options.state());
    List<Finding> findings = Doctor.examine(config);
    if (options.printed(Map.of("findings", findings.stream().map(DoctorCommand::json).toList()))) {
      return;
    }
    for (Finding finding : findings) {
      System.out.printf(
          "%-8s %-12s %s%n", finding.verdict().word(), finding.subject(), finding.finding());
      if (!finding.remedy().isEmpty()) {
        System.out.printf("%-8s %-12s → %s%n", "", "", finding.remedy());
      }
    }
  }

  private static Map<String, Object> json(Finding finding) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("verdict", finding.verdict().word());
    json.put("subject", finding.subject());
    json.put("finding", finding.finding());
    json.put("remedy", finding.remedy());
    return json;
  }
}
