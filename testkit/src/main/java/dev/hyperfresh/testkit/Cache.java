package dev.hyperfresh.testkit;

import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.relocation.OsRecipe;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.vm.VmReleases;
import java.nio.file.Path;
import java.util.function.Consumer;

/// What is fetched or built once and used by every demonstration and test: releases, packages,
/// guest images. It can be deleted at any time.
final class Cache {
  private final Path folder;
  private final DebianPackages packages;

  private Cache(Path folder) {
    this.folder = folder;
    this.packages = new DebianPackages(folder.resolve("apt"));
  }

  /// The folder that the launcher chose, which tests and demonstrations share.
  static Cache ofThisUser() {
    String chosen = System.getProperty("hyperfresh.cache", System.getenv("HYPERFRESH_HOME"));
    return new Cache(
        chosen == null
            ? Path.of(System.getProperty("user.home"), ".cache", "hyperfresh")
            : Path.of(chosen));
  }

  Path folder() {
    return folder;
  }

  QemuReleases releases() {
    return new QemuReleases(folder.resolve("releases"), packages);
  }

  VmReleases<MachineRelease> machineReleases() {
    return MachineRecipe.releases(folder.resolve("releases"), packages);
  }

  VmReleases<OsRelease> osReleases() {
    return OsRecipe.releases(folder.resolve("releases"), packages);
  }

  GuestImages images(Consumer<String> progress) {
    return GuestImages.build(folder, packages, progress);
  }
}
