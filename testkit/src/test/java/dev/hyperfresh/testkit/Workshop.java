package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.qemu.DebianPackages;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Releases, guest images and specs for tests; what was fetched once serves all of them.
final class Workshop {
  static final Path CACHE = cache();
  static final DebianPackages PACKAGES = new DebianPackages(CACHE.resolve("apt"));
  static final QemuReleases RELEASES = new QemuReleases(CACHE.resolve("releases"), PACKAGES);
  static final KvmProbe.Result KVM = KvmProbe.probe(Path.of("/dev/kvm"));

  private Workshop() {}

  private static Path cache() {
    String named = System.getenv("HYPERFRESH_HOME");
    return named != null
        ? Path.of(named)
        : Path.of(System.getProperty("user.home"), ".cache", "hyperfresh");
  }

  static QemuRelease release(String name) {
    return RELEASES.fetch(name, Workshop::say);
  }

  static GuestImages images() {
    return GuestImages.build(CACHE, PACKAGES, Workshop::say);
  }

  static Hyperplexor hyperplexor(Path state) {
    return new Hyperplexor(state, new Qemu(), KVM, _ -> {});
  }

  static GuestSpec linux(String name, long mebibytes) {
    GuestImages images = images();
    return spec(
        name,
        mebibytes,
        AcceleratorWish.AUTO,
        new GuestSpec.KernelBoot(
            images.kernel(),
            Optional.of(images.initrd()),
            "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.ip=10.77.0.2/24"));
  }

  static GuestSpec ring3(String name, long mebibytes, AcceleratorWish accelerator) {
    return spec(
        name,
        mebibytes,
        accelerator,
        new GuestSpec.KernelBoot(images().ring3(), Optional.empty(), ""));
  }

  private static GuestSpec spec(
      String name, long mebibytes, AcceleratorWish accelerator, GuestSpec.KernelBoot boot) {
    return new GuestSpec(
        name,
        1,
        mebibytes << 20,
        "pc-q35-7.2",
        "qemu64",
        accelerator,
        Optional.of(boot),
        List.of(),
        List.of());
  }

  static void say(String line) {
    System.out.println("  " + line);
  }
}
