package dev.hyperfresh.daemon;

import dev.hyperfresh.host.RunningProgram;
import dev.hyperfresh.host.RunningProgram.Standing;
import dev.hyperfresh.qemu.ForeignGuest;
import dev.hyperfresh.qemu.QemuBuild;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// A QEMU that runs on this host, whoever started it, beside the build that is installed.
/// Immutable.
///
/// @param program what the process is and runs
/// @param guest what its command line tells
/// @param owned what of HyperFresh it is; empty when it is something else's
/// @param running the build that it runs
/// @param installed the build that would be started in its place
/// @param standing how the two compare
/// @param verdict whether it can be replaced
record HostQemu(
    RunningProgram program,
    ForeignGuest guest,
    Optional<HostQemus.Owned> owned,
    QemuBuild running,
    Installed installed,
    Standing standing,
    Verdict verdict) {

  private static final int PATH_CHARACTERS = 250;

  /// What is installed. All empty when it is nothing, or not known.
  ///
  /// @param packaged the package that it came with, such as `qemu-system-x86 1:10.0.2+ds-2`; empty
  ///   when it came with none
  /// @param since when it was installed
  record Installed(QemuBuild build, String packaged, Optional<Instant> since) {
    static final Installed NOTHING = new Installed(QemuBuild.UNKNOWN, "", Optional.empty());
  }

  /// Whether HyperFresh can replace a QEMU while its guest runs, as far as can be seen without
  /// asking it.
  ///
  /// @param to the release that takes its place, as commands name it; empty when it is not known
  /// @param sentence how, or why not
  record Verdict(boolean replaceable, String to, String sentence) {}

  /// Who starts and stops it.
  ForeignGuest.Owner manager() {
    return owned.isPresent() ? ForeignGuest.Owner.HYPERFRESH : guest.manager();
  }

  /// What people call its guest; empty when it has no name.
  String name() {
    return owned.map(HostQemus.Owned::name).orElse(guest.name());
  }

  /// What has become of the file that it runs, in a word or two.
  String file() {
    if (program.running().isEmpty()) {
      return "unreadable";
    }
    if (program.standing() == Standing.REMOVED) {
      return "deleted";
    }
    return program.isReplaced() ? "replaced" : "in place";
  }

  /// Whether it runs another build than the one that is installed.
  boolean isOutdated() {
    return standing == Standing.OUTDATED || standing == Standing.REMOVED;
  }

  /// As `--json` shows it.
  Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", name());
    json.put("pid", program.pid());
    json.put("uid", program.uid());
    json.put("manager", manager().word());
    json.put("role", owned.map(HostQemus.Owned::role).orElse(""));
    json.put("number", guest.number());
    json.put("release", owned.map(HostQemus.Owned::release).orElse(""));
    json.put("state", standing.word());
    json.put("file", file());
    json.put("program", ForeignGuest.clean(program.program().toString(), PATH_CHARACTERS));
    json.put("running", json(running));
    json.put("started_at", program.startedAt().toString());
    json.put("installed", json(installed.build()));
    json.put("package", installed.packaged());
    json.put("installed_at", installed.since().map(Object::toString).orElse(""));
    json.put("replaceable", verdict.replaceable());
    json.put("to", verdict.to());
    json.put("verdict", verdict.sentence());
    return json;
  }

  private static Map<String, Object> json(QemuBuild build) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("label", build.label());
    json.put("short", build.shortLabel());
    json.put("version", build.version());
    json.put("packaging", build.packaging());
    json.put("build_id", build.buildId());
    return json;
  }
}
