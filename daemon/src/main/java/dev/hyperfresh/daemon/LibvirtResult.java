package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalDouble;

/// What came, or would come, of replacing QEMU under domains of libvirt.
///
/// @param rollout the domains
/// @param dryRun whether nothing was done
/// @param service how libvirt runs here; empty when nobody had to know
/// @param awayMs how long it did not answer; empty when it was not ended, or stays down
record LibvirtResult(
    Rollout.Result<ReplacementRecord> rollout,
    boolean dryRun,
    String service,
    OptionalDouble awayMs) {
  Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>(Views.rollout(rollout));
    json.put("dry_run", dryRun);
    json.put("service", service);
    if (awayMs.isPresent()) {
      json.put("away_ms", awayMs.getAsDouble());
    }
    return json;
  }
}
