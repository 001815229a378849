package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import tools.jackson.databind.json.JsonMapper;

/// A folder of releases for one test: the real ones, and ones that go wrong in a chosen way.
final class TestReleases {
  private final Path folder;

  /// The real releases stay where they are; only their descriptions are copied.
  TestReleases(Path folder) throws IOException {
    this.folder = folder;
    describe(Workshop.release("qemu-7.2"));
    describe(Workshop.release("qemu-10.0"));
  }

  Path folder() {
    return folder;
  }

  /// The release itself where a user who owns nothing can read it, else a copy in this folder.
  QemuRelease reachable(QemuRelease release) throws IOException, InterruptedException {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    if (Unprivileged.closedOn(release.binary()).isEmpty()) {
      return release;
    }
    // RELEASE/root/usr/bin/qemu-system-x86_64
    Path from = release.binary().resolve("../../../..").normalize();
    Path to = folder.resolve(release.name());
    if (new ProcessBuilder("cp", "-a", from + "/.", to.toString()).inheritIO().start().waitFor()
        != 0) {
      throw new IOException(from + " cannot be copied");
    }
    Files.setPosixFilePermissions(to, PosixFilePermissions.fromString("rwxr-xr-x"));
    QemuRelease copy =
        new QemuRelease(
            release.name(),
            release.version(),
            to.resolve(from.relativize(release.binary())),
            release.arguments().stream()
                .map(argument -> argument.replace(from.toString(), to.toString()))
                .toList(),
            release.libraries().stream().map(path -> to.resolve(from.relativize(path))).toList(),
            release.sha256(),
            release.machines(),
            release.cpus(),
            release.capabilities(),
            "a test");
    describe(copy);
    return copy;
  }

  /// A release that claims to be like `like` and is the bash script `body`; in it `REAL` stands for
  /// the real binary.
  QemuRelease script(String name, QemuRelease like, String body) throws IOException {
    String text = "#!/bin/bash\n" + body.replace("REAL", like.binary().toString()) + "\n";
    return binary(name, like, text.getBytes(java.nio.charset.StandardCharsets.US_ASCII));
  }

  /// A release whose binary holds `content`.
  QemuRelease binary(String name, QemuRelease like, byte[] content) throws IOException {
    Path home = Files.createDirectories(folder.resolve(name));
    Path binary = home.resolve("hypervisor");
    Files.write(binary, content);
    Files.setPosixFilePermissions(binary, PosixFilePermissions.fromString("rwxr-xr-x"));
    QemuRelease release =
        new QemuRelease(
            name,
            like.version(),
            binary,
            like.arguments(),
            like.libraries(),
            like.sha256(),
            like.machines(),
            like.cpus(),
            like.capabilities(),
            "a test");
    describe(release);
    return release;
  }

  private void describe(QemuRelease release) throws IOException {
    Path home = Files.createDirectories(folder.resolve(release.name()));
    Files.write(home.resolve("release.json"), JsonMapper.shared().writeValueAsBytes(release));
  }

  /// The names of all that are there.
  List<String> names() throws IOException {
    try (var homes = Files.list(folder)) {
      return homes.map(home -> home.getFileName().toString()).sorted().toList();
    }
  }
}
