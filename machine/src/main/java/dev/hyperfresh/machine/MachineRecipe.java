package dev.hyperfresh.machine;

import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.release.KernelPackage;
import dev.hyperfresh.vm.VmRecipe;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSources;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// How releases of machines are made: beside the kernel stands a QEMU.
public final class MachineRecipe implements VmRecipe<MachineRelease> {
  private static final ImageSources SOURCES =
      VmSources.with(List.of("/image/build.sh", "/image/window.c"));

  private static final About<MachineRelease> ABOUT =
      new About<>(
          MachineRelease.class,
          MachineRelease.KIND,
          "machines",
          MachineRelease.BY_VERSION,
          SOURCES);

  private MachineRecipe() {}

  /// The machine releases under one folder, which may be the one of [QemuReleases].
  public static VmReleases<MachineRelease> releases(Path directory, DebianPackages packages) {
    return new VmReleases<>(new MachineRecipe(), directory, packages);
  }

  /// What images of machines are built from beside packages.
  public static ImageSources sources() {
    return SOURCES;
  }

  @Override
  public About<MachineRelease> about() {
    return ABOUT;
  }

  /// @param series of QEMU, such as `10.0` or `7.2`
  @Override
  public void check(String series) {
    KernelPackage.requireSeries(series);
  }

  @Override
  public Draft<MachineRelease> draft(KernelPackage kernel, String series, Bench bench) {
    String wanted = "qemu-" + series;
    QemuRelease qemu =
        unpacked(wanted, bench)
            .orElseGet(() ->
                new QemuReleases(bench.work().resolve("qemu"), bench.packages())
                    .fetch(wanted, bench.progress()));
    return new WithQemu(kernel, qemu);
  }

  /// The QEMU of that name or series whose packages are unpacked here already.
  private static Optional<QemuRelease> unpacked(String name, Bench bench) {
    return new QemuReleases(bench.releases(), bench.packages())
        .all(name).reversed().stream()
            .filter(qemu -> qemu.binary().startsWith(bench.releases()))
            .filter(qemu -> Files.isDirectory(root(qemu).resolve("usr/share/qemu")))
            .findFirst();
  }

  /// The folder that QEMU's packages were unpacked into: the binary is `usr/bin/…` in it.
  private static Path root(QemuRelease qemu) {
    Path programs = qemu.binary().resolveSibling("");
    return programs.resolve("../..").normalize();
  }

  private record WithQemu(KernelPackage kernel, QemuRelease qemu) implements Draft<MachineRelease> {
    @Override
    public String name() {
      return MachineRelease.KIND + "-" + kernel.version() + "+qemu-" + qemu.version();
    }

    @Override
    public Path gather() {
      return root(qemu);
    }

    @Override
    public MachineRelease describe(Image image) {
      return new MachineRelease(
          name(),
          kernel.version(),
          kernel.release(),
          qemu.version(),
          image.kernel(),
          image.initrd(),
          image.kernelSha256(),
          image.sha256(),
          image.sourcesSha256(),
          qemu.machines(),
          qemu.cpus(),
          qemu.capabilities(),
          qemu.deprecated(),
          "Debian packages " + kernel.source() + ", " + qemu.source());
    }
  }
}
