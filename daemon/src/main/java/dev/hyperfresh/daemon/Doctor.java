package dev.hyperfresh.daemon;

import dev.hyperfresh.host.Finding;
import dev.hyperfresh.host.HostFindings;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/// Examines the host for a daemon that need not run.
public final class Doctor {
  private Doctor() {}

  /// What works on this host with the releases under `config`, and what to do about the rest.
  /// Changes nothing.
  public static List<Finding> examine(DaemonConfig config) {
    SequencedMap<String, Path> releases = new LinkedHashMap<>();
    for (QemuRelease release :
        new QemuReleases(config.releases(), new DebianPackages(config.packages())).list()) {
      releases.put(release.name(), release.binary());
    }
    return HostFindings.examine(releases, config.state());
  }
}
