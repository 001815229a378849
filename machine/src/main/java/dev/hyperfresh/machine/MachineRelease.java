package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.vm.VmRelease;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Pattern;

/// A kernel and an initramfs with QEMU and the agent in it. Immutable.
///
/// @param name such as `machine-6.12.95+qemu-10.0.2`
/// @param kernelVersion the kernel's own version, such as `6.12.95`
/// @param kernelRelease as `uname -r` says it inside, such as `6.12.95+deb12-cloud-amd64`
/// @param qemuVersion as QEMU inside says it, such as `10.0.2`
/// @param kernel the kernel's image
/// @param initrd the machine's whole user space, an uncompressed initramfs
/// @param kernelSha256 of the image when it was added
/// @param sha256 of the initramfs when it was added
/// @param sourcesSha256 of what the agent and the image were built from
/// @param machines the machine types QEMU inside knows, aliases left out
/// @param cpus the CPU models it knows
/// @param capabilities its migration capabilities
/// @param deprecated of its machine types and CPU models, those that a later QEMU is to lose; none
///   when an earlier version of HyperFresh has built it
/// @param source where the parts came from, for people
public record MachineRelease(
    String name,
    String kernelVersion,
    String kernelRelease,
    String qemuVersion,
    Path kernel,
    Path initrd,
    String kernelSha256,
    String sha256,
    String sourcesSha256,
    Set<String> machines,
    Set<String> cpus,
    Set<String> capabilities,
    Set<String> deprecated,
    String source)
    implements Release, VmRelease {

  /// What [#kind] says.
  public static final String KIND = "machine";

  /// QEMU, inside. It finds its firmware by itself.
  public static final String QEMU = "/usr/bin/qemu-system-x86_64";

  /// Inside, for `LD_PRELOAD` of a QEMU before 8.1: maps the window that the environment variable
  /// [#WINDOW_VARIABLE] names where QEMU asks for the start of `/dev/mem`.
  public static final String WINDOW_LIBRARY = "/usr/lib/hyperfresh/window.so";

  /// Its value is `ADDRESS:BYTES`, both decimal.
  public static final String WINDOW_VARIABLE = "HF_WINDOW";

  /// The first QEMU whose `memory-backend-file` has the option `offset`.
  private static final int[] PLACES_MAPPINGS = {8, 1};

  /// Oldest kernel first, then oldest QEMU.
  static final Comparator<MachineRelease> BY_VERSION =
      Comparator.<MachineRelease, int[]>comparing(
              release -> numbers(release.kernelVersion()), Arrays::compare)
          .thenComparing(release -> numbers(release.qemuVersion()), Arrays::compare);

  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");

  /// Copies the sets.
  public MachineRelease {
    machines = Set.copyOf(machines);
    cpus = Set.copyOf(cpus);
    capabilities = Set.copyOf(capabilities);
    deprecated = Set.copyOf(Objects.requireNonNullElse(deprecated, Set.of()));
  }

  private static int[] numbers(String version) {
    return NUMBER.matcher(version).results().mapToInt(n -> Integer.parseInt(n.group())).toArray();
  }

  /// Whether the QEMU inside can itself be told where in `/dev/mem` a guest's memory begins.
  boolean placesMappings() {
    return Arrays.compare(numbers(qemuVersion), PLACES_MAPPINGS) >= 0;
  }

  @Override
  public Map<String, String> parts() {
    return Map.of("kernel", kernelVersion, "qemu", qemuVersion);
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public boolean keepsSuspended() {
    return QemuRelease.keepsSuspended(qemuVersion);
  }

  /// Both versions, such as `6.12.95+qemu-10.0.2`.
  @Override
  public String version() {
    return kernelVersion + "+qemu-" + qemuVersion;
  }

  /// Whether this is the release that `wanted` names, or one of the series: `machine-6.12`,
  /// `machine-6.12+qemu-10.0` and the full name all fit `machine-6.12.95+qemu-10.0.2`.
  @Override
  public boolean meets(String wanted) {
    String[] part = wanted.split("\\+", 2);
    return fits(part[0], KIND + "-" + kernelVersion)
        && (part.length == 1 || fits(part[1], "qemu-" + qemuVersion));
  }

  private static boolean fits(String wanted, String name) {
    return name.equals(wanted) || name.startsWith(wanted + ".");
  }
}
