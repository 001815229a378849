package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/// Whose rights one process of QEMU gets: its guest's own user's, or the daemon's where that user
/// could not reach what the release or the accelerator needs. The instances of a guest that was
/// adopted from another user get what its first process had, and nothing else.
///
/// @param id the user, or empty for the daemon's
/// @param group one more group, or empty
/// @param reason why it is the daemon's, as half a sentence, or empty
/// @param rights of the process that was adopted, where they are not the daemon's
record QemuUser(OptionalInt id, OptionalInt group, String reason, Optional<ProcessRights> rights) {
  private static final Path KVM = Path.of("/dev/kvm");

  // linux/stat.h
  private static final int GROUP_READ_WRITE = 060;
  private static final int OTHERS_READ_WRITE = 06;

  static QemuUser of(Launch launch) {
    Optional<RunAs> runAs = launch.adopted().flatMap(AdoptedMachine::runAs);
    if (runAs.isPresent()) {
      return new QemuUser(OptionalInt.empty(), OptionalInt.empty(), "", runAs.map(RunAs::rights));
    }
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
        : own(confinement.user(), OptionalInt.empty());
  }

  private static QemuUser daemons(String reason) {
    return new QemuUser(OptionalInt.empty(), OptionalInt.empty(), reason, Optional.empty());
  }

  private static QemuUser own(OptionalInt user, OptionalInt group) {
    return new QemuUser(user, group, "", Optional.empty());
  }

  /// Why the instances of a guest that was adopted from another user cannot run a release, as half
  /// a sentence; empty when they can. The daemon's rights are none that they could have instead.
  static Optional<String> obstacle(Launch launch, QemuRelease release) {
    return launch
        .adopted()
        .flatMap(AdoptedMachine::runAs)
        .map(runAs -> runAs.rights().files())
        .flatMap(user ->
            files(release)
                .filter(file -> !canRead(user, file))
                .map(file ->
                    "%s cannot be reached by %s, as whom the guest runs, since that user may not read %s"
                        .formatted(release.name(), user, file))
                .findFirst());
  }

  /// Why the control groups of another user have no room for a first process, as half a sentence.
  /// Nothing of the user's is started outside of all bounds. Where a group is gone, as that of a
  /// systemd scope is after its last process, HyperFresh has another one ([GuestGroups]).
  static Optional<String> narrow(Launch launch) {
    return launch
        .adopted()
        .flatMap(AdoptedMachine::runAs)
        .filter(runAs -> runAs.rights().uid() != Host.effectiveUid())
        .map(RunAs::cgroups)
        .filter(groups -> groups.gone().isEmpty() || new GuestGroups(launch, 0).own().isEmpty())
        .flatMap(CgroupPlace::narrow)
        .map(why -> "control group " + why);
  }

  /// In which control groups of another user a process begins. Who gets a copy of the first one's
  /// memory would fill them with it, and comes there with [QemuProcess#settle].
  ///
  /// @param waiting whether it is a target
  static Optional<CgroupPlace> groups(Launch launch, boolean waiting) {
    boolean follows = AdoptedMachine.isFirst(launch.generation() - 1);
    return launch
        .adopted()
        .filter(machine -> !(waiting && follows && machine.hasPrivateMemory()))
        .flatMap(AdoptedMachine::runAs)
        .map(RunAs::cgroups);
  }

  private static boolean canRead(FileUser user, Path file) {
    try (Fd _ = user.open(file, OpenFlags.READ_ONLY)) {
      return true;
    } catch (LinuxException e) {
      return false;
    }
  }

  /// What of the release a user who owns nothing cannot read.
  private static Optional<Path> closed(QemuRelease release) {
    return files(release).map(Unprivileged::closedOn).flatMap(Optional::stream).findFirst();
  }

  private static Stream<Path> files(QemuRelease release) {
    return Stream.of(
            Stream.of(release.binary()),
            release.libraries().stream(),
            release.arguments().stream().filter(argument -> argument.startsWith("/")).map(Path::of))
        .flatMap(paths -> paths)
        .filter(Files::exists);
  }

  private static QemuUser withKvm(OptionalInt user) {
    try {
      int mode = (int) Files.getAttribute(KVM, "unix:mode");
      int group = (int) Files.getAttribute(KVM, "unix:gid");
      if ((mode & OTHERS_READ_WRITE) == OTHERS_READ_WRITE) {
        return own(user, OptionalInt.empty());
      }
      // Root's group would open more than the device.
      return (mode & GROUP_READ_WRITE) == GROUP_READ_WRITE && group != 0
          ? own(user, OptionalInt.of(group))
          : daemons(KVM + " is open only to root");
    } catch (IOException e) {
      return daemons(KVM + " cannot be examined");
    }
  }

  /// The program with the label of the process that was adopted, if it had one. What is to run
  /// between [#command] and the program stands before this.
  List<String> labelled(List<String> program) {
    return rights.map(those -> Unprivileged.labelled(program, those)).orElse(program);
  }

  /// The command that becomes `line` with these rights.
  List<String> command(List<String> line, QemuRelease release) {
    if (rights.isPresent()) {
      return Unprivileged.command(line, release.environment(), rights.get(), rightsOfThisProcess());
    }
    return id.isPresent()
        ? Unprivileged.command(line, release.environment(), id.getAsInt(), group)
        : line;
  }

  static ProcessRights rightsOfThisProcess() {
    try {
      return ProcessRights.of(ProcFs.HOST, Math.toIntExact(ProcessHandle.current().pid()));
    } catch (IOException e) {
      throw new UncheckedIOException("this process cannot be looked at: " + e.getMessage(), e);
    }
  }

  /// The environment of [#command].
  Map<String, String> environment(QemuRelease release) {
    return id.isPresent() || rights.isPresent()
        ? Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin")
        : release.environment();
  }

  /// What process `pid` really has, for people.
  static String describe(Launch launch, int pid) {
    Optional<RunAs> runAs = launch.adopted().flatMap(AdoptedMachine::runAs);
    return runAs.isPresent()
        ? describe(runAs.get(), pid)
            + "; "
            + new GuestGroups(launch, pid).describe(runAs.get().cgroups())
        : describe(launch, pid, of(launch));
  }

  private static String describe(RunAs runAs, int pid) {
    String user =
        "user " + Host.processUid(pid).orElse(0) + ", as something else started it at first";
    String network = runAs.network().isPresent() ? "; in its network namespace" : "";
    return user + network;
  }

  private static String describe(Launch launch, int pid, QemuUser given) {
    Confinement confinement = launch.confinement();
    int wanted = confinement.user().orElse(-1);
    String user =
        Host.processUid(pid).orElse(0) == wanted
            ? "user " + wanted + ", its own"
            : "the daemon's user (" + given.reason() + ")";
    String cgroup =
        confinement
            .cgroup()
            .map(group ->
                group.holds(pid) ? "cgroup " + group.name() : "not in its cgroup " + group.name())
            .orElse("no cgroup");
    return user + "; " + cgroup;
  }
}
