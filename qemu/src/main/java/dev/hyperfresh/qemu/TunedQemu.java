package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A QEMU that is to be built from Debian's source with patches of ours. All but the emulator
/// itself is what Debian has built from the same source: firmware of another size would be another
/// machine.
///
/// @param packaged the version of the package whose source it is
record TunedQemu(DebianVersion packaged) {
  /// Where the source is from, and all that it is built with and runs on.
  static final Suite SUITE = Suite.TRIXIE;

  /// The patches, in the order in which they are applied, behind the script that applies them. A
  /// release that was built from others is another release.
  static final ImageSources RECIPE =
      new ImageSources(
          List.of("/tuned/build.sh", "/tuned/01-map-once.patch", "/tuned/02-virtio-queues.patch"));

  /// What the patches are for.
  private static final Pattern FROM = Pattern.compile("debian-(10\\.0(\\.[0-9]{1,3})?)");

  /// The newest that an archive has.
  ///
  /// @param from such as `debian-10.0`
  /// @throws HyperFreshException [Problem#RELEASE_KIND], [Problem#RELEASE_FETCH]
  /// @throws PackagesException when the archive cannot be asked
  static TunedQemu of(String from, QemuArchive archive, Consumer<String> progress) {
    Matcher asked = FROM.matcher(from);
    if (!asked.matches()) {
      throw Problem.RELEASE_KIND.because(
          "'"
              + from
              + "' is not debian-10.0 or a version of it such as debian-10.0.13; HyperFresh has"
              + " patches for no other.");
    }
    DebianVersion offered = archive.offered(SUITE, progress);
    if (!BuildName.mayBe("qemu-" + asked.group(1), offered)) {
      throw Problem.RELEASE_FETCH.because(
          "Debian 13 offers " + offered.text() + ", which is not " + asked.group(1) + ".");
    }
    return new TunedQemu(offered);
  }

  /// As [QemuRelease#source] says it.
  String source() {
    return QemuRelease.tunedSource(packaged, patches());
  }

  /// What QEMU says of its packager.
  String packager() {
    return "HyperFresh " + packaged.text() + "+tuned." + patches();
  }

  private static String patches() {
    return BuildName.shortened(RECIPE.sha256());
  }

  /// Builds it.
  ///
  /// @param staging the folder of a release that is being made; keeps what was said as `build.log`
  /// @throws HyperFreshException [Problem#HOST_MISSING] when it cannot be built,
  ///   [Problem#RELEASE_DAMAGED] when it does not run
  /// @throws PackagesException when packages cannot be had
  StagedQemu staged(QemuArchive archive, Path staging, Consumer<String> progress) {
    DebianVersion unpacked = archive.unpack(SUITE, staging.resolve("root"), progress);
    if (!unpacked.equals(packaged)) {
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "the archive has %s instead of %s by now; run it again"
              .formatted(unpacked.text(), packaged.text()));
    }
    try {
      Path work = Files.createDirectories(staging.resolve("work"));
      Path program = archive.compile(this, work, staging.resolve("build.log"), progress);
      Files.move(program, StagedQemu.binary(staging), StandardCopyOption.REPLACE_EXISTING);
      ReleaseFolders.delete(work);
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("The QEMU cannot be built: " + e.getMessage(), e);
    }
    progress.accept("asking it what it supports");
    return StagedQemu.unpacked(staging, source());
  }
}
