package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/// Whose rights one process of QEMU gets: its guest's own user's, or the daemon's where that user
/// could not reach what the release or the accelerator needs.
///
/// @param id the user, or empty for the daemon's
/// @param group one more group, or empty
/// @param reason why it is the daemon's, as half a sentence, or empty
record QemuUser(OptionalInt id, OptionalInt group, String reason) {
  private static final Path KVM = Path.of("/dev/kvm");

  // linux/stat.h
  private static final int GROUP_READ_WRITE = 060;
  private static final int OTHERS_READ_WRITE = 06;

  static QemuUser of(Launch launch) {
    Confinement confinement = launch.confinement();
    if (confinement.user().isEmpty()) {
      return daemons(confinement.shortcoming());
    }
    Optional<Path> closed = closed((QemuRelease) launch.release());
    if (closed.isPresent()) {
      return daemons(
          launch.release().name() + " cannot be reached, since " + closed.get() + " is closed");
    }
    return launch.accelerator() == Accelerator.KVM
        ? withKvm(confinement.user())
        : new QemuUser(confinement.user(), OptionalInt.empty(), "");
  }

  private static QemuUser daemons(String reason) {
    return new QemuUser(OptionalInt.empty(), OptionalInt.empty(), reason);
  }

  /// What of the release a user who owns nothing cannot read.
  private static Optional<Path> closed(QemuRelease release) {
    return Stream.of(
            Stream.of(release.binary()),
            release.libraries().stream(),
            release.arguments().stream().filter(argument -> argument.startsWith("/")).map(Path::of))
        .flatMap(paths -> paths)
        .filter(Files::exists)
        .map(Unprivileged::closedOn)
        .flatMap(Optional::stream)
        .findFirst();
  }

  private static QemuUser withKvm(OptionalInt user) {
    try {
      int mode = (int) Files.getAttribute(KVM, "unix:mode");
      int group = (int) Files.getAttribute(KVM, "unix:gid");
      if ((mode & OTHERS_READ_WRITE) == OTHERS_READ_WRITE) {
        return new QemuUser(user, OptionalInt.empty(), "");
      }
      // Root's group would open more than the device.
      return (mode & GROUP_READ_WRITE) == GROUP_READ_WRITE && group != 0
          ? new QemuUser(user, OptionalInt.of(group), "")
          : daemons(KVM + " is open only to root");
    } catch (IOException e) {
      return daemons(KVM + " cannot be examined");
    }
  }

  /// The command that becomes `line` with these rights.
  List<String> command(List<String> line, QemuRelease release) {
    return id.isPresent()
        ? Unprivileged.command(line, release.environment(), id.getAsInt(), group)
        : line;
  }

  /// The environment of [#command].
  Map<String, String> environment(QemuRelease release) {
    return id.isPresent() ? Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin") : release.environment();
  }

  /// What process `pid` really has, for people.
  static String describe(Launch launch, int pid) {
    Confinement confinement = launch.confinement();
    int wanted = confinement.user().orElse(-1);
    String user =
        Host.processUid(pid).orElse(0) == wanted
            ? "user " + wanted + ", its own"
            : "the daemon's user (" + of(launch).reason() + ")";
    String cgroup =
        confinement
            .cgroup()
            .map(group ->
                group.holds(pid) ? "cgroup " + group.name() : "not in its cgroup " + group.name())
            .orElse("no cgroup");
    return user + "; " + cgroup;
  }
}
