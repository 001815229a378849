package dev.hyperfresh.qemu;

import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// Which builds may go. Kept are the newest build of each version, the one that is the host's own
/// now, and those that were installed a short time ago. Whether a guest runs on one is not known
/// here.
///
/// @param before only what was installed before this time may go
/// @param days how long ago that is, for people
public record PruneRule(Instant before, int days) {
  /// One build.
  ///
  /// @param installed when it was
  /// @param hosts whether it is the host's own now
  record Candidate(QemuRelease release, Instant installed, boolean hosts) {}

  /// What the rule says of one.
  ///
  /// @param name its full name
  /// @param kept why it stays, a sentence; empty when it may go
  public record Verdict(String name, String kept) {}

  /// What the rule says of all.
  ///
  /// @param builds oldest first
  List<Verdict> of(List<Candidate> builds) {
    Map<String, String> newest = new HashMap<>();
    builds.forEach(one -> newest.put(kind(one.release()), one.release().name()));
    return builds.stream()
        .map(one -> new Verdict(one.release().name(), kept(one, newest)))
        .toList();
  }

  private String kept(Candidate one, Map<String, String> newest) {
    String kind = kind(one.release());
    if (one.release().name().equals(newest.get(kind))) {
      return "It is the newest build of " + kind + ".";
    }
    if (one.hosts()) {
      return "It is this host's own now.";
    }
    if (!one.installed().isBefore(before)) {
      return "It was installed less than " + days + " days ago.";
    }
    return "";
  }

  /// No build replaces one with our patches but another such.
  private static String kind(QemuRelease release) {
    return release.version() + (release.isTuned() ? " with our patches" : "");
  }
}
