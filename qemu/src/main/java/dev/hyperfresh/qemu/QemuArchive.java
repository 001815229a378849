package dev.hyperfresh.qemu;

import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/// Where packages with QEMUs come from.
interface QemuArchive {
  /// The package that has the emulator.
  String PACKAGE = "qemu-system-x86";

  /// The package that has its modules for SPICE.
  String SPICE = "qemu-system-modules-spice";

  /// The first version of which they are in that package, and not among what the emulator's needs.
  DebianVersion SPICE_APART = new DebianVersion("1:8.1.0+ds-1~exp2~");

  /// The suites to ask, the host's own first.
  List<Suite> suites();

  /// The version of the package that a suite offers now.
  ///
  /// @throws PackagesException when nobody can be asked, or the suite has none
  DebianVersion offered(Suite suite, Consumer<String> progress);

  /// Unpacks it with all that the host lacks for it.
  ///
  /// @return the version that was unpacked
  /// @throws PackagesException when it cannot be had
  DebianVersion unpack(Suite suite, Path root, Consumer<String> progress);

  /// Builds an emulator from its source.
  ///
  /// @param work an empty folder
  /// @param log gets what was said
  /// @return the program, in `work`
  /// @throws IOException when it cannot be built, with what was said of that
  /// @throws PackagesException when the source, or what it is built with, cannot be had
  Path compile(TunedQemu qemu, Path work, Path log, Consumer<String> progress) throws IOException;

  /// What is unpacked of a version. SPICE needs OpenGL, which brings Mesa and LLVM along where the
  /// host's own libraries do not serve: it is left out there.
  static List<String> wanted(Suite suite, DebianVersion version) {
    return suite.isWhole() || version.compareTo(SPICE_APART) < 0
        ? List.of(PACKAGE)
        : List.of(PACKAGE, SPICE);
  }

  /// The archives of this host's apt.
  static QemuArchive of(DebianPackages packages) {
    return new QemuArchive() {
      @Override
      public List<Suite> suites() {
        return packages.suites();
      }

      @Override
      public DebianVersion offered(Suite suite, Consumer<String> progress) {
        return packages.offered(suite, PACKAGE, progress);
      }

      @Override
      public DebianVersion unpack(Suite suite, Path root, Consumer<String> progress) {
        List<String> wanted = wanted(suite, offered(suite, progress));
        String version =
            packages
                .unpack(suite, wanted, true, root, progress)
                .versions()
                .getOrDefault(PACKAGE, "");
        return DebianVersion.parse(version)
            .orElseThrow(() ->
                new PackagesException(
                    PackagesException.Kind.FAILED,
                    "apt brought no version of " + PACKAGE + ", but '" + version + "'"));
      }

      @Override
      public Path compile(TunedQemu qemu, Path work, Path log, Consumer<String> progress)
          throws IOException {
        return new TunedBuild(packages, work, progress).program(qemu, log);
      }
    };
  }
}
