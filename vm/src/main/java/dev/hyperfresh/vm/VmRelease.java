package dev.hyperfresh.vm;

import java.nio.file.Path;

/// What a virtual machine boots: a kernel and an initramfs with everything else. Immutable, written
/// down as JSON.
public interface VmRelease {
  /// Such as `machine-6.12.95+qemu-10.0.2`.
  String name();

  /// The kernel's own version, such as `6.12.95`.
  String kernelVersion();

  /// As `uname -r` says it inside.
  String kernelRelease();

  /// The kernel's image.
  Path kernel();

  /// The whole user space, an uncompressed initramfs.
  Path initrd();

  /// Of the kernel's image when it was added.
  String kernelSha256();

  /// Of the initramfs when it was added.
  String sha256();

  /// Of what the initramfs was built from, packages left out.
  String sourcesSha256();

  /// Whether this is the release that `wanted` names, or one of the series that it names.
  boolean meets(String wanted);
}
