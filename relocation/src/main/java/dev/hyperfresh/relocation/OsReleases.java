package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ReleaseFolders;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.machine.ImageSources;
import dev.hyperfresh.machine.KernelPackage;
import dev.hyperfresh.qemu.DebianPackages;
import dev.hyperfresh.qemu.DebianPackages.PackagesException;
import dev.hyperfresh.qemu.DebianPackages.Suite;
import dev.hyperfresh.qemu.DebianPackages.Unpacked;
import dev.hyperfresh.relocation.OsRelease.FileServer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/// The OS releases under one folder, which may be that of other kinds of releases.
///
/// Thread-safe: every change is one rename, and readers see a release whole or not at all.
public final class OsReleases {
  /// The only userland there is: the first Debian whose CRIU restores on kernels of today.
  public static final String USERLAND = "trixie";

  private static final String DESCRIPTION = "os.json";
  private static final List<String> PACKAGES = List.of("criu", "runc", "busybox-static", "tar");
  private static final String SUCCESSOR = "virtiofsd";
  private static final String PREDECESSOR = "qemu-system-common";
  static final ImageSources SOURCES =
      new ImageSources(
          List.of(
              "/os/build.sh",
              "/os/init",
              "/os/setup",
              "/os/rehearse",
              "/os/container",
              "/os/tasks",
              "/os/relocate.c",
              "/os/gate.c",
              "/os/keep.c",
              "/os/log.c",
              "/os/memory.c",
              "/os/list.c",
              "/os/images.c",
              "/os/obstacles.c",
              "/os/hook.c",
              "/os/show.c",
              "/os/timers.c",
              "/os/tar.c",
              "/os/archive.c",
              "/os/within.c",
              "/os/drain.c",
              "/os/extents.c",
              "/os/window.c",
              "/os/gather.c",
              "/os/priority.c",
              "/os/relocate.h",
              "/os/parts.h",
              "/os/memory.h",
              "/os/list.h",
              "/os/images.h",
              "/os/hook.h",
              "/os/extents.h",
              "/os/window.h",
              "/image/archive.sh",
              "/image/agent.c"));
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private final ReleaseFolders folders;
  private final DebianPackages packages;

  /// Uses `directory` for releases and `packages` to fetch what they are made of.
  public OsReleases(Path directory, DebianPackages packages) {
    this.folders = new ReleaseFolders(directory.toAbsolutePath(), DESCRIPTION);
    this.packages = packages;
  }

  /// All releases, oldest kernel first.
  public List<OsRelease> list() {
    return folders.descriptions().stream()
        .map(OsReleases::read)
        .sorted(OsRelease.BY_VERSION)
        .toList();
  }

  /// The release called `name`, or the newest one of the series that it names, of this version of
  /// HyperFresh.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public OsRelease get(String name) {
    return find(name)
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "'"
                    + name
                    + "' is not installed; installed operating systems: "
                    + (list().isEmpty()
                        ? "none"
                        : String.join(", ", list().stream().map(OsReleases::label).toList()))
                    + "."));
  }

  private static String label(OsRelease release) {
    return isCurrent(release)
        ? release.name()
        : release.name() + " (of another version of HyperFresh: build it again)";
  }

  /// As [#get], or empty when there is none.
  public Optional<OsRelease> find(String name) {
    return list().reversed().stream()
        .filter(release -> release.meets(name) && isCurrent(release))
        .findFirst();
  }

  /// The release with exactly that name, also when another version of HyperFresh has built it: an
  /// OS that runs it goes on with the programs that it has.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public OsRelease builtByAny(String name) {
    return installed(name)
        .orElseThrow(
            () -> Problem.RELEASE_UNKNOWN.because("'" + name + "' is not installed any more."));
  }

  private static boolean isCurrent(OsRelease release) {
    return SOURCES.sha256().equals(release.sourcesSha256());
  }

  /// Builds a release from Debian's packages, or returns the one that is here already. The same
  /// packages give the same bytes.
  ///
  /// @param kernelSeries such as `6.12` or `6.1`
  /// @param userland [#USERLAND]
  /// @param progress gets one line for each step
  /// @throws HyperFreshException [Problem#RELEASE_FETCH] when the packages cannot be had,
  ///   [Problem#HOST_MISSING] when the host cannot build it, with what to install
  public OsRelease build(String kernelSeries, String userland, Consumer<String> progress) {
    KernelPackage.requireSeries(kernelSeries);
    if (!userland.equals(USERLAND)) {
      throw Problem.RELEASE_FETCH.because(
          "'" + userland + "' is no userland of an OS release; there is " + USERLAND + ".");
    }
    Path staging = folders.stage();
    try {
      KernelPackage kernel = KernelPackage.fetch(packages, kernelSeries, staging, progress);
      String name = OsRelease.KIND + "-" + kernel.version() + "+" + userland;
      Optional<OsRelease> present = installed(name);
      if (present.isPresent() && isCurrent(present.get())) {
        return present.get();
      }
      Path work = Files.createDirectories(staging.resolve("work"));
      Unpacked user =
          packages.unpack(Suite.TRIXIE, PACKAGES, true, work.resolve("userland"), progress);
      FileServer server = fileServer(staging, progress);
      progress.accept("building " + name + " from source");
      SOURCES.build(
          work, List.of(staging.toString(), kernel.root().toString(), user.root().toString()));
      ReleaseFolders.delete(work);
      ReleaseFolders.delete(kernel.root());
      return install(staging, name, kernel, user, server);
    } catch (PackagesException e) {
      throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("The OS cannot be built: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// Debian 12 has virtiofsd in a package of QEMU, later ones in one of its own.
  private FileServer fileServer(Path staging, Consumer<String> progress) {
    Path root = staging.resolve("host");
    boolean isSuccessor = true;
    try {
      var _ = packages.unpack(Suite.STABLE, List.of(SUCCESSOR), true, root, progress);
    } catch (PackagesException e) {
      if (e.kind() != PackagesException.Kind.UNKNOWN_PACKAGE) {
        throw e;
      }
      isSuccessor = false;
      var _ = packages.unpack(Suite.STABLE, List.of(PREDECESSOR), false, root, progress);
    }
    return new FileServer(
        root.resolve(isSuccessor ? "usr/libexec/virtiofsd" : "usr/lib/qemu/virtiofsd"),
        List.of(root.resolve("usr/lib/x86_64-linux-gnu"), root.resolve("lib/x86_64-linux-gnu")),
        isSuccessor);
  }

  /// Checks that the release's files are what they were when it was built.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED]
  public OsRelease verify(String name) {
    OsRelease release = get(name);
    check(release, release.kernel(), release.kernelSha256());
    check(release, release.initrd(), release.sha256());
    // Of one that an earlier version built, nothing is known of its other files.
    var _ = folders.verify(release.name());
    return release;
  }

  private static void check(OsRelease release, Path file, String sha256) {
    if (!ReleaseFolders.sha256(file).equals(sha256)) {
      throw Problem.RELEASE_DAMAGED.because(
          file + " is not the file that was built for " + release.name() + ".");
    }
  }

  /// Removes the release; the caller has made sure that no OS boots from it.
  ///
  /// @param name a full name, or one as for [#get]
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public void remove(String name) {
    ReleaseFolders.delete(folders.home(installed(name).orElseGet(() -> get(name)).name()));
  }

  private OsRelease install(
      Path staging, String name, KernelPackage kernel, Unpacked user, FileServer server) {
    Path vmlinuz = staging.resolve("vmlinuz");
    Path initrd = staging.resolve("initrd");
    OsRelease release =
        new OsRelease(
            name,
            kernel.version(),
            kernel.release(),
            USERLAND,
            version(user, "criu"),
            version(user, "runc"),
            folders.installed(vmlinuz, staging, name),
            folders.installed(initrd, staging, name),
            new FileServer(
                folders.installed(server.program(), staging, name),
                server.libraries().stream()
                    .map(folder -> folders.installed(folder, staging, name))
                    .toList(),
                server.isSuccessor()),
            ReleaseFolders.sha256(vmlinuz),
            ReleaseFolders.sha256(initrd),
            SOURCES.sha256(),
            "Debian packages "
                + kernel.source()
                + ", criu "
                + version(user, "criu")
                + ", runc "
                + version(user, "runc"));
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

  private static String version(Unpacked user, String name) {
    return String.valueOf(user.versions().get(name));
  }

  private Optional<OsRelease> installed(String name) {
    return list().stream().filter(release -> release.name().equals(name)).findFirst();
  }

  private static OsRelease read(Path description) {
    try {
      return JSON.readValue(
          BoundedFile.read(description, BoundedFile.STATE_BYTES), OsRelease.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(description + " cannot be read: " + e.getMessage(), e);
    }
  }
}
