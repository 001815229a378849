package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianVersion;
import dev.hyperfresh.release.InstalledPackage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/// The QEMU that this host's own package manager installs, and replaces when it is upgraded. Only
/// looked at.
///
/// @param places where distributions have the emulator; the first that is there counts
/// @param records of dpkg
record HostQemu(List<Path> places, Path records) {
  /// What has the emulator, its modules and its firmware.
  private static final Pattern PACKAGES =
      Pattern.compile("qemu-(system|block-extra|kvm).*|seabios|ipxe-qemu(-.*)?|ovmf(-.*)?");

  /// Debian's and most others' place, and those of Red Hat's.
  static final HostQemu OF_THIS_HOST =
      new HostQemu(
          List.of(
              Path.of("/usr/bin/qemu-system-x86_64"),
              Path.of("/usr/libexec/qemu-kvm"),
              Path.of("/usr/bin/qemu-kvm")),
          Path.of("/var/lib/dpkg"));

  HostQemu {
    places = List.copyOf(places);
  }

  /// The emulator as it is now; empty when the host has none.
  Optional<Path> binary() {
    return places.stream().filter(Files::isRegularFile).filter(Files::isExecutable).findFirst();
  }

  /// What was given, as its packages are whole: a copy that is made while they are being changed
  /// would be of both versions.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when not, or when that cannot be read
  <T> T whole(T something) {
    try {
      List<String> changing = InstalledPackage.changing(records, PACKAGES.asMatchPredicate());
      if (!changing.isEmpty()) {
        throw Problem.RELEASE_DAMAGED.because(
            "The host's QEMU is being changed, or that did not come to its end: "
                + String.join(", ", changing)
                + ". It is copied when its packages are installed.");
      }
      return something;
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(records + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The version of the Debian package that `copy` is from; empty when it is from none.
  ///
  /// @param binary where it was copied from
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when it cannot be read
  Optional<DebianVersion> packaged(Path binary, Path copy) {
    try {
      return new InstalledPackage(records, QemuArchive.PACKAGE).versionOf(binary, copy);
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(copy + " cannot be read: " + e.getMessage(), e);
    }
  }
}
