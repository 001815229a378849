package dev.hyperfresh.testkit;

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
