package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianPackages.Unpacked;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// One call of [DebianPackages], alone in the directory: chooses versions, downloads what the cache
/// lacks, unpacks all.
final class PackageFetch {
  private static final Pattern INSTALL =
      Pattern.compile("^Inst (\\S+)(?: \\[[^]]*])? \\((\\S+) .*", Pattern.MULTILINE);

  /// Number, place, suite, architecture, name, architecture, version and size of an archive.
  private static final Pattern DOWNLOAD =
      Pattern.compile("Get:([0-9]+) \\S+ \\S+ \\S+ (\\S+) \\S+ (\\S+) \\[([^]]+)]");

  /// A kernel's packages: of newer kernels the image is in one, the modules in another, and what
  /// both need in a third.
  private static final Pattern KERNEL =
      Pattern.compile("linux-(image-|((binary|modules|base)-[0-9]))");

  /// Whoever asks what there is wants to know of the security update of today.
  private static final Duration OFFER_AGE = Duration.ofHours(1);

  private static final Duration DOWNLOAD_LIMIT = Duration.ofMinutes(30);

  private final PrivateApt apt;
  private final Suite suite;
  private final List<String> packages;
  private final boolean withMissingLibraries;
  private final Consumer<String> progress;

  /// The parameters are those of [DebianPackages#unpack].
  PackageFetch(
      Path directory,
      Suite suite,
      List<String> packages,
      boolean withMissingLibraries,
      Consumer<String> progress) {
    this.apt = new PrivateApt(directory, suite, DebianHost.ask(), AptSources.Contents.PACKAGES);
    this.suite = suite;
    this.packages = packages;
    this.withMissingLibraries = withMissingLibraries;
    this.progress = progress;
  }

  /// @throws PackagesException as [DebianPackages#unpack]
  Unpacked unpack(Path into) throws IOException {
    List<PackageArchive> chosen = onIndex(AptIndex.DAY, this::fetch);
    Files.createDirectories(into);
    progress.accept("unpacking %d packages into %s".formatted(chosen.size(), into));
    Map<String, String> versions = new TreeMap<>();
    for (PackageArchive archive : chosen) {
      archive.extract(into);
      versions.put(archive.name(), archive.version());
    }
    return new Unpacked(into, versions);
  }

  /// The version of the first package that [#unpack] would bring.
  ///
  /// @throws PackagesException as [DebianPackages#unpack]
  String offer() throws IOException {
    String first = packages.getFirst();
    return onIndex(OFFER_AGE, this::choose).stream()
        .filter(archive -> archive.name().equals(first))
        .map(PackageArchive::version)
        .findFirst()
        .orElseThrow(() ->
            new PackagesException(
                PackagesException.Kind.UNKNOWN_PACKAGE,
                "apt would bring no %s from %s".formatted(first, apt.suiteName())));
  }

  private <T> T onIndex(Duration oldest, Supplier<T> work) throws IOException {
    boolean all = !withMissingLibraries || suite.isWhole();
    String present = all ? "" : DebianHost.libraries(packages);
    return new AptIndex(apt, progress).on(present, oldest, work);
  }

  private List<PackageArchive> fetch() {
    List<PackageArchive> chosen = choose();
    List<PackageArchive> absent =
        chosen.stream().filter(archive -> archive.file().isEmpty()).toList();
    if (!absent.isEmpty()) {
      download(absent);
    }
    return chosen;
  }

  private List<PackageArchive> choose() {
    List<String> arguments = new ArrayList<>(List.of("-qq", "--simulate", "install"));
    if (suite.isBackports()) {
      arguments.addAll(List.of("-t", apt.suiteName()));
    }
    String release = suite.isBackports() ? "/" + apt.suiteName() : "";
    packages.forEach(name -> arguments.add(name + release));
    String plan = apt.run("choosing " + packages, AptRun.LOCAL_LIMIT, arguments).output();
    Set<String> wanted = Set.copyOf(packages);
    return INSTALL
        .matcher(plan)
        .results()
        .map(found -> new PackageArchive(found.group(1), found.group(2), apt.archives()))
        .filter(a -> withMissingLibraries || wanted.contains(a.name()) || isKernelOf(wanted, a))
        .toList();
  }

  private static boolean isKernelOf(Set<String> wanted, PackageArchive archive) {
    String image = "linux-image-";
    return KERNEL.matcher(archive.name()).lookingAt()
        && wanted.stream()
            .anyMatch(meta ->
                meta.startsWith(image)
                    && archive.name().endsWith("-" + meta.substring(image.length())));
  }

  /// What a line of `apt-get download` says of the archive that it begins with, for people; empty
  /// for any other line.
  ///
  /// @param all how many there are
  static Optional<String> begun(String line, int all) {
    Matcher begun = DOWNLOAD.matcher(line);
    return begun.matches()
        ? Optional.of(
            "downloading %s of %d: %s %s, %s"
                .formatted(begun.group(1), all, begun.group(2), begun.group(3), begun.group(4)))
        : Optional.empty();
  }

  private void download(List<PackageArchive> absent) {
    progress.accept(
        absent.size() == 1
            ? "downloading %s %s".formatted(absent.getFirst().name(), absent.getFirst().version())
            : "downloading %d packages for %s"
                .formatted(absent.size(), String.join(", ", packages)));
    List<String> arguments = new ArrayList<>(List.of("-q", "download"));
    absent.forEach(archive -> arguments.add(archive.argument()));
    apt.run(
        "downloading " + packages,
        DOWNLOAD_LIMIT,
        arguments,
        apt.archives(),
        line -> begun(line, absent.size()).ifPresent(progress));
    for (PackageArchive archive : absent) {
      if (archive.file().isEmpty()) {
        throw new PackagesException(
            PackagesException.Kind.FAILED,
            "apt-get reported success but left no archive of %s in %s"
                .formatted(archive.argument(), apt.directory()));
      }
    }
  }
}
