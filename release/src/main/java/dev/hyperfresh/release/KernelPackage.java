package dev.hyperfresh.release;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianPackages.Unpacked;
import dev.hyperfresh.release.Offers.Offer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// An unpacked kernel package of Debian.
///
/// @param root where it was unpacked
/// @param release as `uname -r` says it
/// @param version the kernel's own, such as `6.12.95`
/// @param source the package and its version
public record KernelPackage(Path root, String release, String version, String source) {
  private static final String PACKAGE = "linux-image-cloud-amd64";
  private static final String IMAGE_PREFIX = "linux-image-";
  private static final Pattern SERIES = Pattern.compile("[0-9]{1,4}\\.[0-9]{1,4}(\\.[0-9]{1,4})?");

  /// Checks that `series` can be one of a kernel or of QEMU.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_KIND] when not
  public static void requireSeries(String series) {
    if (!SERIES.matcher(series).matches()) {
      throw Problem.RELEASE_KIND.because("'" + series + "' is not of the form 6.12 or 6.12.95.");
    }
  }

  /// Brings the newest kernel of a series that this host's own archives offer, or else others.
  ///
  /// @param series such as `6.12` or `6.1`
  /// @param staging the folder to unpack below
  /// @param progress gets one line for each step
  /// @throws HyperFreshException [Problem#RELEASE_FETCH] when no archive offers one
  /// @throws PackagesException when packages cannot be had
  public static KernelPackage fetch(
      DebianPackages packages, String series, Path staging, Consumer<String> progress) {
    Function<Suite, DebianVersion> ask = suite -> packages.offered(suite, PACKAGE, progress);
    Offers own = Offers.ofOwn(packages.suites(), ask, progress);
    Optional<Offer> newest = newest(own, series);
    if (newest.isEmpty()) {
      Offers others = Offers.ofOthers(packages.suites(), ask, progress);
      newest = newest(others, series);
      if (newest.isEmpty()) {
        own.requireAll();
        others.requireAll();
        throw Problem.RELEASE_FETCH.because(
            "This host's package archives offer the kernels "
                + Stream.of(own, others)
                    .flatMap(offers -> offers.versions().stream())
                    .map(DebianVersion::version)
                    .collect(Collectors.joining(", "))
                + ", none of which is "
                + series
                + ".");
      }
    }
    Path root = staging.resolve("kernel");
    KernelPackage kernel =
        of(packages.unpack(newest.get().suite(), List.of(PACKAGE), false, root, progress));
    // The index may have been fetched anew meanwhile.
    if (!isOf(series, kernel.version())) {
      throw Problem.RELEASE_FETCH.because(
          "The archive offers Linux " + kernel.version() + " now, which is not " + series + ".");
    }
    return kernel;
  }

  private static Optional<Offer> newest(Offers offers, String series) {
    return offers.newestFirst(offered -> isOf(series, offered.version())).stream().findFirst();
  }

  private static boolean isOf(String series, String version) {
    return (version + ".").startsWith(series + ".");
  }

  private static KernelPackage of(Unpacked unpacked) {
    String image =
        unpacked.versions().keySet().stream()
            .filter(name -> name.startsWith(IMAGE_PREFIX) && !name.equals(PACKAGE))
            .findFirst()
            .orElseThrow(
                () -> Problem.RELEASE_FETCH.because(PACKAGE + " contains no kernel package."));
    String version = String.valueOf(unpacked.versions().get(image));
    return new KernelPackage(
        unpacked.root(),
        image.substring(IMAGE_PREFIX.length()),
        new DebianVersion(version).version(),
        image + " " + version);
  }
}
