package dev.hyperfresh.daemon;

import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.relocation.OsRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/// Releases of each kind as they are described where they are installed. Nothing of them is there
/// but the description.
final class Installed {
  private Installed() {}

  /// As an earlier version of HyperFresh named it.
  static QemuRelease qemu(String version) {
    return build("qemu-" + version, version, "a test");
  }

  /// The build of a Debian package.
  static QemuRelease build(String name, String packaged) {
    String version = name.replaceFirst("qemu-([0-9.]+).*", "$1");
    return build(name, version, "Debian package qemu-system-x86 " + packaged);
  }

  private static QemuRelease build(String name, String version, String source) {
    return new QemuRelease(
        name,
        version,
        Path.of("/q"),
        List.of(),
        List.of(),
        "00",
        Set.of("pc-q35-7.2"),
        Set.of("qemu64"),
        Set.of("events"),
        source);
  }

  static MachineRelease machine(String kernel, String qemu) {
    return new MachineRelease(
        "machine-" + kernel + "+qemu-" + qemu,
        kernel,
        kernel + "+deb12-cloud-amd64",
        qemu,
        Path.of("/vmlinuz"),
        Path.of("/initrd"),
        "00",
        "00",
        "00",
        Set.of("pc-q35-7.2"),
        Set.of("qemu64"),
        Set.of("events"),
        Set.of(),
        "a test");
  }

  static OsRelease os(String kernel, String userland) {
    return new OsRelease(
        "os-" + kernel + "+" + userland,
        kernel,
        kernel + "+deb13-cloud-amd64",
        userland,
        "4.1.1-1",
        "1.1.15+ds1-2",
        Path.of("/vmlinuz"),
        Path.of("/initrd"),
        new OsRelease.FileServer(Path.of("/virtiofsd"), List.of(), true),
        "00",
        "00",
        "00",
        "a test");
  }

  static void add(Path releases, QemuRelease release) {
    describe(releases.resolve(release.name()), "release.json", release);
  }

  static void add(Path releases, MachineRelease release) {
    describe(releases.resolve(release.name()), "machine.json", release);
  }

  static void add(Path releases, OsRelease release) {
    describe(releases.resolve(release.name()), "os.json", release);
  }

  private static void describe(Path home, String file, Object release) {
    try {
      Files.write(Files.createDirectories(home).resolve(file), Api.JSON.writeValueAsBytes(release));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
