package dev.hyperfresh.host;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// A folder that looks like the root of a host.
record FakeHost(Path root) {
  static final String HALT = "sys/module/kvm/parameters/halt_poll_ns";
  static final String PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
  static final String SHMEM = "sys/kernel/mm/transparent_hugepage/shmem_enabled";
  static final String KSM = "sys/kernel/mm/ksm/run";

  /// A server of Intel's with everything, nothing of it applied that can be at run time.
  static FakeHost intel(Path root) {
    return new FakeHost(root)
        .common()
        .file("sys/module/kvm_intel/parameters/nested", "Y")
        .file("sys/module/kvm_intel/parameters/ept", "Y")
        .file("sys/module/kvm_intel/parameters/enable_shadow_vmcs", "Y")
        .file("sys/module/kvm_intel/parameters/enable_apicv", "Y")
        .file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "9c0000c40660462")
        .link("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0")
        .card("0000:3b:00.0", "42", "ixgbe")
        .card("0000:3b:10.0", "43", "vfio-pci")
        .file("sys/bus/pci/devices/0000:00:1f.0/class", "0x060100");
  }

  /// One of AMD's, whose kernel does not say whether devices post interrupts.
  static FakeHost amd(Path root) {
    return new FakeHost(root)
        .common()
        .file("sys/module/kvm_amd/parameters/nested", "1")
        .file("sys/module/kvm_amd/parameters/npt", "Y")
        .file("sys/module/kvm_amd/parameters/avic", "Y")
        .file("sys/class/iommu/ivhd0/amd-iommu/features", "f77ef22294ada")
        .card("0000:41:00.0", "7", "mlx5_core");
  }

  private FakeHost common() {
    return file(HALT, "200000")
        .file(PAGES, "0")
        .file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0")
        .file(SHMEM, "always within_size advise [never] deny force")
        .file(KSM, "1")
        .file("sys/devices/system/cpu/online", "0-15")
        .file("sys/devices/system/cpu/isolated", "4-15")
        .file("sys/devices/system/cpu/nohz_full", "4-15")
        .file("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB")
        .file("proc/1/cmdline", "/sbin/init\0")
        .file("proc/2/cmdline", "");
  }

  private FakeHost card(String address, String group, String driver) {
    String device = "sys/bus/pci/devices/" + address;
    return file(device + "/class", "0x020000")
        .link(device + "/driver", "../../../../bus/pci/drivers/" + driver)
        .link(device + "/iommu_group", "../../../../kernel/iommu_groups/" + group)
        .file("sys/kernel/iommu_groups/" + group + "/devices/" + address, "");
  }

  FakeHost file(String path, String text) {
    try {
      Path file = root.resolve(path);
      Files.createDirectories(file.resolveSibling(""));
      Files.writeString(file, text + "\n");
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  FakeHost link(String path, String target) {
    try {
      Path link = root.resolve(path);
      Files.createDirectories(link.resolveSibling(""));
      Files.createSymbolicLink(link, Path.of(target));
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  FakeHost readOnly(String path) {
    try {
      Files.setPosixFilePermissions(
          root.resolve(path), PosixFilePermissions.fromString("r--r--r--"));
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String text(String path) {
    try {
      return Files.readString(root.resolve(path)).strip();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Every file with its text, to compare a host with itself.
  Map<String, String> everything() {
    try (Stream<Path> files = Files.walk(root)) {
      return files
          .filter(Files::isRegularFile)
          .map(file -> root.relativize(file).toString())
          .collect(Collectors.toMap(file -> file, this::text, (a, b) -> a, TreeMap::new));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Writes as the kernel does: a list keeps its words, and only the brackets move.
  static void asTheKernel(Path file, String value) {
    Sysfs.writeOnce(
        file,
        file.endsWith("shmem_enabled")
            ? "always within_size advise never deny force".replace(value, "[" + value + "]")
            : value);
  }
}
