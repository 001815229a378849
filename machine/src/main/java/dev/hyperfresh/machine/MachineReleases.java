package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ReleaseFolders;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.qemu.DebianPackages;
import dev.hyperfresh.qemu.DebianPackages.PackagesException;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/// The machine releases under one folder, which may be the one of [QemuReleases].
///
/// Thread-safe: every change is one rename, and readers see a release whole or not at all.
public final class MachineReleases {
  private static final String DESCRIPTION = "machine.json";
  private static final ImageSources SOURCES =
      new ImageSources(
          List.of("/image/build.sh", "/image/archive.sh", "/image/agent.c", "/image/window.c"));
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private final Path directory;
  private final ReleaseFolders folders;
  private final DebianPackages packages;

  /// Uses `directory` for releases and `packages` to fetch what they are made of.
  public MachineReleases(Path directory, DebianPackages packages) {
    this.directory = directory.toAbsolutePath();
    this.folders = new ReleaseFolders(directory, DESCRIPTION);
    this.packages = packages;
  }

  /// All releases, oldest kernel first, then oldest QEMU.
  public List<MachineRelease> list() {
    return folders.descriptions().stream()
        .map(MachineReleases::read)
        .sorted(MachineRelease.BY_VERSION)
        .toList();
  }

  /// The release called `name`, or the newest one of the series that it names: `machine-6.12` and
  /// `machine-6.12+qemu-10.0` both find `machine-6.12.95+qemu-10.0.2`.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public MachineRelease get(String name) {
    return find(name)
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "'"
                    + name
                    + "' is not installed; installed machines: "
                    + (list().isEmpty()
                        ? "none"
                        : String.join(", ", list().stream().map(MachineReleases::label).toList()))
                    + "."));
  }

  private static String label(MachineRelease release) {
    return isCurrent(release)
        ? release.name()
        : release.name() + " (of another version of HyperFresh: build it again)";
  }

  /// As [#get], or empty when there is none. One that another version of HyperFresh has built, with
  /// another agent inside, does not count; it is to be built again.
  public Optional<MachineRelease> find(String name) {
    return list().reversed().stream()
        .filter(release -> release.meets(name) && isCurrent(release))
        .findFirst();
  }

  /// The release with exactly that name, also when another version of HyperFresh has built it: a
  /// machine that runs it goes on with the agent that it has.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public MachineRelease builtByAny(String name) {
    return installed(name)
        .orElseThrow(
            () -> Problem.RELEASE_UNKNOWN.because("'" + name + "' is not installed any more."));
  }

  /// Builds a release from Debian's packages, or returns the one that is here already. The same
  /// packages give the same bytes.
  ///
  /// @param kernelSeries such as `6.12` or `6.1`
  /// @param qemuSeries such as `10.0` or `7.2`
  /// @param progress gets one line for each step
  /// @throws HyperFreshException [Problem#RELEASE_FETCH] when the packages cannot be had,
  ///   [Problem#HOST_MISSING] when the host cannot build it, with what to install
  public MachineRelease build(String kernelSeries, String qemuSeries, Consumer<String> progress) {
    KernelPackage.requireSeries(kernelSeries);
    KernelPackage.requireSeries(qemuSeries);
    Path staging = folders.stage();
    try {
      KernelPackage kernel = KernelPackage.fetch(packages, kernelSeries, staging, progress);
      Path work = staging.resolve("work");
      String wanted = "qemu-" + qemuSeries;
      QemuRelease qemu =
          unpacked(wanted)
              .orElseGet(
                  () -> new QemuReleases(work.resolve("qemu"), packages).fetch(wanted, progress));
      String name = "machine-" + kernel.version() + "+qemu-" + qemu.version();
      Optional<MachineRelease> present = installed(name);
      if (present.isPresent() && isCurrent(present.get())) {
        return present.get();
      }
      progress.accept("building " + name + " from source");
      make(staging, kernel, qemu);
      ReleaseFolders.delete(work);
      ReleaseFolders.delete(kernel.root());
      return install(staging, name, kernel, qemu);
    } catch (PackagesException e) {
      throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("The machine cannot be built: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// Checks that the release's files are what they were when it was built.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED]
  public MachineRelease verify(String name) {
    MachineRelease release = get(name);
    check(release, release.kernel(), release.kernelSha256());
    check(release, release.initrd(), release.sha256());
    // Of one that an earlier version built, nothing is known of its other files.
    var _ = folders.verify(release.name());
    return release;
  }

  /// Removes the release, also one of another version of HyperFresh; the caller has made sure that
  /// no machine boots from it.
  ///
  /// @param name a full name, or one as for [#get]
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public void remove(String name) {
    ReleaseFolders.delete(folders.home(installed(name).orElseGet(() -> get(name)).name()));
  }

  /// The QEMU of that name or series whose packages are unpacked here already.
  private Optional<QemuRelease> unpacked(String name) {
    return new QemuReleases(directory, packages)
        .list().reversed().stream()
            .filter(qemu -> qemu.name().equals(name) || qemu.name().startsWith(name + "."))
            .filter(qemu -> qemu.binary().startsWith(directory))
            .filter(qemu -> Files.isDirectory(root(qemu).resolve("usr/share/qemu")))
            .findFirst();
  }

  /// Whether it has the agent of this HyperFresh.
  private static boolean isCurrent(MachineRelease release) {
    return SOURCES.sha256().equals(release.sourcesSha256());
  }

  private static void check(MachineRelease release, Path file, String sha256) {
    if (!ReleaseFolders.sha256(file).equals(sha256)) {
      throw Problem.RELEASE_DAMAGED.because(
          file + " is not the file that was built for " + release.name() + ".");
    }
  }

  private static void make(Path staging, KernelPackage kernel, QemuRelease qemu)
      throws IOException {
    SOURCES.build(
        Files.createDirectories(staging.resolve("work")),
        List.of(staging.toString(), kernel.root().toString(), root(qemu).toString()));
  }

  /// The folder that QEMU's packages were unpacked into: the binary is `usr/bin/…` in it.
  private static Path root(QemuRelease qemu) {
    Path programs = qemu.binary().resolveSibling("");
    return programs.resolve("../..").normalize();
  }

  private MachineRelease install(
      Path staging, String name, KernelPackage kernel, QemuRelease qemu) {
    Path vmlinuz = staging.resolve("vmlinuz");
    Path initrd = staging.resolve("initrd");
    MachineRelease release =
        new MachineRelease(
            name,
            kernel.version(),
            kernel.release(),
            qemu.version(),
            folders.installed(vmlinuz, staging, name),
            folders.installed(initrd, staging, name),
            ReleaseFolders.sha256(vmlinuz),
            ReleaseFolders.sha256(initrd),
            SOURCES.sha256(),
            qemu.machines(),
            qemu.cpus(),
            qemu.capabilities(),
            "Debian packages " + kernel.source() + ", " + qemu.source());
    if (installed(name).filter(old -> !isCurrent(old)).isPresent()) {
      ReleaseFolders.delete(folders.home(name));
    }
    try {
      folders.install(staging, name, JSON.writeValueAsBytes(release));
      return release;
    } catch (HyperFreshException e) {
      // Somebody else was quicker, and theirs is as good.
      return installed(name).orElseThrow(() -> e);
    }
  }

  private Optional<MachineRelease> installed(String name) {
    return list().stream().filter(release -> release.name().equals(name)).findFirst();
  }

  private static MachineRelease read(Path description) {
    try {
      return JSON.readValue(
          BoundedFile.read(description, BoundedFile.STATE_BYTES), MachineRelease.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(description + " cannot be read: " + e.getMessage(), e);
    }
  }
}
