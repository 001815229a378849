package dev.hyperfresh.daemon;

import dev.hyperfresh.daemon.HostQemu.Installed;
import dev.hyperfresh.daemon.HostQemu.Verdict;
import dev.hyperfresh.host.PackageDatabase;
import dev.hyperfresh.host.ProgramFile;
import dev.hyperfresh.host.RunningProgram;
import dev.hyperfresh.host.RunningProgram.Standing;
import dev.hyperfresh.host.RunningPrograms;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.qemu.ForeignGuest;
import dev.hyperfresh.qemu.ForeignGuest.Owner;
import dev.hyperfresh.qemu.QemuBuild;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/// Every QEMU on this host, whoever started it, beside the build that is installed. Needs no
/// daemon, starts nothing and changes nothing. Not thread-safe.
///
/// A QEMU is outdated when another build has taken the place of its program. A release that
/// HyperFresh installed stays where it is; who runs it is outdated when a newer release of the same
/// series is installed, or when this host's own QEMU is newer and of the same series. Of a release
/// that is a copy of this host's own, a newer one of any series is the successor.
public final class HostQemus {
  /// What of HyperFresh a QEMU is.
  ///
  /// @param role `guest`, or what its guest is: `machine` or `os`
  /// @param release that it runs; empty when that is not known
  public record Owned(String role, String name, String release) {}

  /// What a QEMU is to be replaced by.
  ///
  /// @param name for `--to`
  private record Successor(String name, Installed installed) {}

  /// The role of a guest that is neither a machine nor an OS.
  public static final String GUEST = "guest";

  /// A name from a command line may hold what a shell would do.
  private static final Pattern SHELL_SAFE = Pattern.compile("[A-Za-z0-9._][A-Za-z0-9._-]*");

  private static final String MACHINE = "machine";
  private static final String OS = "os";

  private final RunningPrograms programs;
  private final PackageDatabase packages;
  private final List<QemuRelease> releases;
  private final Map<Object, String> packaged = new HashMap<>();
  private final Optional<Path> own;

  private HostQemus(Path root, List<QemuRelease> releases) {
    this.programs = programs(root);
    this.packages = new PackageDatabase(root.resolve("var/lib/dpkg"));
    this.releases = releases;
    this.own =
        QemuReleases.places().stream()
            .map(place -> root.resolve(Path.of("/").relativize(place)))
            .filter(Files::isExecutable)
            .findFirst();
  }

  /// Those of the host, or of a folder that looks like one.
  ///
  /// @param root the folder that the host's files lie under
  /// @param config which releases are HyperFresh's own
  public static HostQemus under(Path root, DaemonConfig config) {
    return new HostQemus(root, releases(config));
  }

  /// The QEMUs that run below a folder that looks like a host.
  static RunningPrograms programs(Path root) {
    return new RunningPrograms(
        new ProcFs(root.resolve("proc")), QemuBuild::isProgram, QemuBuild.MARK);
  }

  private static List<QemuRelease> releases(DaemonConfig config) {
    try {
      return new QemuReleases(config.releases(), new DebianPackages(config.packages())).list();
    } catch (HyperFreshException closed) {
      // They are another user's. Then a process is compared with the file at its path alone.
      return List.of();
    }
  }

  /// All of them, and how many run another build than the installed one, as `--json` shows it.
  ///
  /// @param owned what a daemon says of its own, by the numbers of their processes
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the kernel does not show its processes
  public Map<String, Object> look(Map<Integer, Owned> owned) {
    List<HostQemu> qemus;
    try {
      qemus =
          programs.find().stream()
              .map(program -> look(program, Optional.ofNullable(owned.get(program.pid()))))
              .toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because("The processes cannot be read: " + e.getMessage(), e);
    }
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("qemus", qemus.stream().map(HostQemu::json).toList());
    json.put("outdated", qemus.stream().filter(HostQemu::isOutdated).count());
    json.put("unknown", qemus.stream().filter(qemu -> qemu.standing() == Standing.UNKNOWN).count());
    return json;
  }

  private HostQemu look(RunningProgram program, Optional<Owned> told) {
    ForeignGuest guest = guest(program);
    Optional<QemuRelease> release =
        releases.stream().filter(r -> r.binary().equals(program.program())).findFirst();
    Optional<Successor> newer =
        program.standing() == Standing.CURRENT
            ? release.flatMap(this::successor)
            : inPlace(program);
    boolean isMoved = program.standing() == Standing.CURRENT && newer.isPresent();
    Optional<Owned> owned = told.or(() -> owned(guest, release));
    Installed installed =
        newer.filter(_ -> isMoved).map(Successor::installed).orElseGet(() -> installed(program));
    return new HostQemu(
        program,
        guest,
        owned,
        running(program, isMoved ? Installed.NOTHING : installed),
        installed,
        isMoved ? Standing.OUTDATED : program.standing(),
        owned.map(own -> verdict(own, newer)).orElseGet(() -> verdict(program, guest)));
  }

  /// What a process tells of its guest.
  static ForeignGuest guest(RunningProgram program) {
    return ForeignGuest.of(program.arguments(), program.whole(), program.group(), version(program));
  }

  /// What the program that runs says of its version; empty when that is nothing.
  static String version(RunningProgram program) {
    return program.running().map(HostQemus::build).map(QemuBuild::version).orElse("");
  }

  /// What a release that stays where it is has been overtaken by: the newest release of its series,
  /// unless this host's own QEMU is at least as new.
  private Optional<Successor> successor(QemuRelease release) {
    Optional<QemuRelease> newest = newer(release);
    Optional<Successor> host =
        own.flatMap(programs::read)
            .map(file -> new Installed(build(file), "", Optional.of(file.changedAt())))
            .filter(installed -> installed.build().isKnown())
            .filter(installed -> isOvertaken(release, installed.build()))
            .filter(installed ->
                newest.stream().noneMatch(other -> other.isNewerThan(installed.build())))
            .map(installed -> new Successor(QemuReleases.INSTALLED, installed));
    return host.or(() -> newest.map(other -> new Successor(other.name(), installed(other))));
  }

  private static boolean isOvertaken(QemuRelease release, QemuBuild host) {
    return release.isOlderThan(host)
        && (release.ofHost() || build(release).series().equals(host.series()));
  }

  /// One that was started where the package manager replaces it.
  private Optional<Successor> inPlace(RunningProgram program) {
    return own.filter(program.program()::equals)
        .filter(_ -> program.standing() == Standing.OUTDATED)
        .map(_ -> new Successor(QemuReleases.INSTALLED, Installed.NOTHING));
  }

  /// The newest release of the same series, if that is a newer one.
  private Optional<QemuRelease> newer(QemuRelease release) {
    String series = build(release).series();
    return QemuReleases.plain(releases).reversed().stream()
        .filter(other -> build(other).series().equals(series))
        .filter(other -> other.isNewerThan(release))
        .findFirst();
  }

  private static QemuBuild build(QemuRelease release) {
    return new QemuBuild(release.version(), "", "");
  }

  private Installed installed(QemuRelease release) {
    Optional<ProgramFile> file = programs.read(release.binary());
    QemuBuild build = file.map(HostQemus::build).filter(QemuBuild::isKnown).orElse(build(release));
    return new Installed(build, "", file.map(ProgramFile::changedAt));
  }

  private Installed installed(RunningProgram program) {
    if (program.installed().isEmpty()) {
      return Installed.NOTHING;
    }
    ProgramFile file = program.installed().get();
    String by = packaged.computeIfAbsent(file.key(), _ -> packaged(program.program(), file));
    QemuBuild build = build(file);
    // One that says nothing of itself is known by its package.
    QemuBuild named =
        build.isKnown() || by.isEmpty()
            ? build
            : new QemuBuild(by.replaceFirst(".* ", ""), "", build.buildId());
    return new Installed(named, by, Optional.of(file.changedAt()));
  }

  /// The package that `file` came with. A process in a container may see another file at the path.
  private String packaged(Path path, ProgramFile file) {
    try {
      Object here = Files.readAttributes(path, BasicFileAttributes.class).fileKey();
      return file.key().equals(here)
          ? packages
              .owner(path, QemuBuild::mayBeIn)
              .map(owner -> owner.name() + " " + owner.version())
              .orElse("")
          : "";
    } catch (IOException absent) {
      return "";
    }
  }

  private static QemuBuild build(ProgramFile file) {
    return QemuBuild.of(file.text(), file.buildId());
  }

  /// @param installed at its path
  private static QemuBuild running(RunningProgram program, Installed installed) {
    QemuBuild build = program.running().map(HostQemus::build).orElse(QemuBuild.UNKNOWN);
    return !build.isKnown() && program.standing() == Standing.CURRENT && installed.build().isKnown()
        ? installed.build()
        : build;
  }

  /// What it is if it looks like one of ours, where no daemon says so.
  private static Optional<Owned> owned(ForeignGuest guest, Optional<QemuRelease> release) {
    if (guest.manager() != Owner.HYPERFRESH) {
      return Optional.empty();
    }
    String role =
        List.of(MACHINE, OS).stream()
            .filter(_ -> guest.ports().contains(VirtualMachine.AGENT_PORT))
            .filter(word -> guest.name().startsWith(word + "-"))
            .findFirst()
            .orElse(GUEST);
    String name = role.equals(GUEST) ? guest.name() : guest.name().substring(role.length() + 1);
    return Optional.of(new Owned(role, name, release.map(QemuRelease::name).orElse("")));
  }

  private static Verdict verdict(Owned owned, Optional<Successor> newer) {
    String name = SHELL_SAFE.matcher(owned.name()).matches() ? owned.name() : "NAME";
    String command =
        switch (owned.role()) {
          case MACHINE -> "hyperfresh replace --machine " + name + " --to RELEASE";
          case OS -> "hyperfresh os replace " + name + " --to RELEASE";
          default ->
              "hyperfresh replace %s --to %s"
                  .formatted(name, newer.map(Successor::name).orElse("RELEASE"));
        };
    return new Verdict(
        true,
        owned.role().equals(GUEST) ? newer.map(Successor::name).orElse("") : "",
        owned.role().equals(GUEST)
            ? "`" + command + "` replaces it."
            : "`" + command + "` boots a new one on the newest installed QEMU.");
  }

  private static Verdict verdict(RunningProgram program, ForeignGuest guest) {
    return switch (guest.manager()) {
      case LIBVIRT -> underLibvirt(guest);
      case PROXMOX ->
          no(
              "Proxmox VE manages it as "
                  + guest.number()
                  + ", so it is replaced only when Proxmox VE stops and starts it.");
      case HYPERFRESH, OTHER -> adoption(program, guest);
    };
  }

  /// The name is that on its command line, which libvirt has written.
  private static Verdict underLibvirt(ForeignGuest guest) {
    String name = SHELL_SAFE.matcher(guest.name()).matches() ? guest.name() : "NAME";
    return new Verdict(
        false,
        "",
        "libvirt manages it: `hyperfresh replace --libvirt "
            + name
            + " --to "
            + QemuReleases.INSTALLED
            + " --dry-run` says whether it can be replaced in place.");
  }

  private static Verdict no(String sentence) {
    return new Verdict(false, "", sentence);
  }

  private static Verdict adoption(RunningProgram program, ForeignGuest guest) {
    if (program.running().isEmpty()) {
      return no("Its program cannot be read by this user; root can.");
    }
    if (guest.obstacle().isPresent()) {
      return no("It cannot be adopted as it is: " + guest.obstacle().get());
    }
    if (program.uid() != Host.effectiveUid() && Host.effectiveUid() != 0) {
      return no(
          "It runs as user "
              + program.uid()
              + ", and only a daemon of that user, or one that is root, can adopt it.");
    }
    String command = "`hyperfresh guest adopt NAME --pid " + program.pid() + " --qmp SOCKET";
    return new Verdict(
        true,
        "",
        guest.copyNeeded()
            ? "Its memory is private: "
                + command
                + " --copy` checks it further and replaces it by copying its memory once."
            : command + "` checks it further, and `hyperfresh replace` replaces it then.");
  }
}
