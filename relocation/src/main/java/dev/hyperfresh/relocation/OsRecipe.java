package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianPackages.Unpacked;
import dev.hyperfresh.release.DebianVersion;
import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.release.KernelPackage;
import dev.hyperfresh.relocation.OsRelease.FileServer;
import dev.hyperfresh.vm.VmRecipe;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSources;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// How releases of operating systems are made: beside the kernel stands a userland with runc and
/// CRIU.
public final class OsRecipe implements VmRecipe<OsRelease> {
  /// The only userland there is: the first Debian whose CRIU restores on kernels of today.
  public static final String USERLAND = "trixie";

  /// Kernels that have dropped what some CRIU asks for.
  ///
  /// @param kernel the first of them
  /// @param criu the first that does without
  private record Break(DebianVersion kernel, DebianVersion criu) {}

  private static final List<Break> BREAKS =
      List.of(
          // TCP sockets are not asked for `SO_PASSCRED` any more.
          new Break(new DebianVersion("6.16"), new DebianVersion("4.2")),
          // There is no UDP-Lite any more, which CRIU 4.2 still asks for.
          new Break(new DebianVersion("7.1"), new DebianVersion("4.2.99")));

  private static final List<String> PACKAGES = List.of("criu", "runc", "busybox-static", "tar");
  private static final String SUCCESSOR = "virtiofsd";
  private static final String PREDECESSOR = "qemu-system-common";
  static final ImageSources SOURCES =
      VmSources.with(
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
              "/os/sleeps.c",
              "/os/tar.c",
              "/os/archive.c",
              "/os/within.c",
              "/os/drain.c",
              "/os/extents.c",
              "/os/window.c",
              "/os/gather.c",
              "/os/priority.c",
              "/os/clock.c",
              "/os/relocate.h",
              "/os/parts.h",
              "/os/memory.h",
              "/os/list.h",
              "/os/images.h",
              "/os/hook.h",
              "/os/extents.h",
              "/os/window.h"));

  private static final About<OsRelease> ABOUT =
      new About<>(
          OsRelease.class, OsRelease.KIND, "operating systems", OsRelease.BY_VERSION, SOURCES);

  private OsRecipe() {}

  /// The OS releases under one folder, which may be that of other kinds of releases.
  public static VmReleases<OsRelease> releases(Path directory, DebianPackages packages) {
    return new VmReleases<>(new OsRecipe(), directory, packages);
  }

  /// What images of operating systems are built from beside packages.
  public static ImageSources sources() {
    return SOURCES;
  }

  @Override
  public About<OsRelease> about() {
    return ABOUT;
  }

  /// @param userland [#USERLAND]
  @Override
  public void check(String userland) {
    if (!userland.equals(USERLAND)) {
      throw Problem.RELEASE_KIND.because(
          "'" + userland + "' is not a userland of an OS release; use " + USERLAND + ".");
    }
  }

  @Override
  public Draft<OsRelease> draft(KernelPackage kernel, String userland, Bench bench) {
    return new WithUserland(kernel, bench);
  }

  /// Refuses an OS that no container could leave.
  ///
  /// @param kernel its version
  /// @param criu the version of the package
  static void requireMatch(String kernel, String criu) {
    Optional<DebianVersion> linux = DebianVersion.parse(kernel);
    Optional<DebianVersion> own =
        DebianVersion.parse(criu).map(it -> new DebianVersion(it.upstream()));
    Optional<Break> broken =
        BREAKS.stream()
            .filter(it -> linux.filter(version -> version.compareTo(it.kernel()) >= 0).isPresent())
            .filter(it -> own.filter(version -> version.compareTo(it.criu()) < 0).isPresent())
            .findFirst();
    if (broken.isPresent()) {
      throw Problem.RELEASE_KIND.because(
          "CRIU "
              + criu
              + " cannot freeze a container on Linux "
              + kernel
              + ", so none could leave such an OS; build one with a kernel before "
              + broken.get().kernel()
              + ", such as os-6.12.");
    }
  }

  private static final class WithUserland implements Draft<OsRelease> {
    private final KernelPackage kernel;
    private final Bench bench;
    private String criu = "";
    private String runc = "";
    private Path host = Path.of("");
    private boolean isSuccessor = true;

    WithUserland(KernelPackage kernel, Bench bench) {
      this.kernel = kernel;
      this.bench = bench;
    }

    @Override
    public String name() {
      return OsRelease.KIND + "-" + kernel.version() + "+" + USERLAND;
    }

    @Override
    public Path gather() {
      Consumer<String> progress = bench.progress();
      Unpacked user =
          bench
              .packages()
              .unpack(Suite.TRIXIE, PACKAGES, true, bench.work().resolve("userland"), progress);
      criu = String.valueOf(user.versions().get("criu"));
      requireMatch(kernel.version(), criu);
      runc = String.valueOf(user.versions().get("runc"));
      host = bench.staging().resolve("host");
      gatherFileServer(progress);
      return user.root();
    }

    /// Debian 12 has virtiofsd in a package of QEMU, later ones in one of its own.
    private void gatherFileServer(Consumer<String> progress) {
      DebianPackages packages = bench.packages();
      try {
        var _ = packages.unpack(Suite.STABLE, List.of(SUCCESSOR), true, host, progress);
      } catch (PackagesException e) {
        if (e.kind() != PackagesException.Kind.UNKNOWN_PACKAGE) {
          throw e;
        }
        isSuccessor = false;
        var _ = packages.unpack(Suite.STABLE, List.of(PREDECESSOR), false, host, progress);
      }
    }

    @Override
    public OsRelease describe(Image image) {
      String program = isSuccessor ? "usr/libexec/virtiofsd" : "usr/lib/qemu/virtiofsd";
      return new OsRelease(
          name(),
          kernel.version(),
          kernel.release(),
          USERLAND,
          criu,
          runc,
          image.kernel(),
          image.initrd(),
          new FileServer(
              image.installed().apply(host.resolve(program)),
              List.of(
                  image.installed().apply(host.resolve("usr/lib/x86_64-linux-gnu")),
                  image.installed().apply(host.resolve("lib/x86_64-linux-gnu"))),
              isSuccessor),
          image.kernelSha256(),
          image.sha256(),
          image.sourcesSha256(),
          "Debian packages " + kernel.source() + ", criu " + criu + ", runc " + runc);
    }
  }
}
