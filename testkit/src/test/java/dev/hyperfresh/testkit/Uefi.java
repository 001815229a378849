package dev.hyperfresh.testkit;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// Debian's UEFI firmware that boots only what is signed, fetched once for all tests.
///
/// @param code what runs
/// @param variables what a guest gets a copy of
record Uefi(Path code, Path variables) {
  private static final String FOLDER = "usr/share/OVMF";

  /// The firmware; the test is left out where it cannot be had.
  static Uefi get() throws IOException {
    Path home = Workshop.CACHE.resolve("ovmf");
    if (!Files.isDirectory(home)) {
      fetch(home);
    }
    return new Uefi(
        home.resolve(FOLDER).resolve("OVMF_CODE_4M.secboot.fd"),
        home.resolve(FOLDER).resolve("OVMF_VARS_4M.ms.fd"));
  }

  private static void fetch(Path home) throws IOException {
    Path work = Files.createTempDirectory(Workshop.CACHE, ".ovmf-");
    try {
      Workshop.PACKAGES.unpack(
          Suite.STABLE, List.of("ovmf"), false, work.resolve("root"), Workshop::say);
      GuestImages.keep(work.resolve("root"), home);
    } catch (PackagesException e) {
      Workshop.require(false, "ovmf cannot be had: " + e.getMessage());
    } finally {
      GuestImages.delete(work);
    }
  }

  /// Describes it in a folder, as QEMU's firmware is described.
  void describe(Path folder) throws IOException {
    Files.writeString(
        folder.resolve("10-test.json"),
        """
        {"interface-types": ["uefi"],
         "mapping": {"device": "flash",
          "executable": {"filename": "%s", "format": "raw"},
          "nvram-template": {"filename": "%s", "format": "raw"}},
         "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
         "features": ["enrolled-keys", "requires-smm", "secure-boot"]}
        """
            .formatted(code, variables));
  }
}
