package dev.hyperfresh.release;

import static java.util.Objects.requireNonNull;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/// Debian packages unpacked beside the system: downloaded by this machine's apt from the mirror it
/// is configured with, checked by apt against the distribution's keys, and unpacked into a folder.
/// Nothing is installed, upgraded or removed, and any user may do it. [PackageFetch] is one call,
/// [PrivateApt] the apt that acts on a directory of ours.
///
/// Instances may be used from any thread; downloads into the same directory wait for each other,
/// also across processes.
public final class DebianPackages {

  /// Where packages come from.
  public enum Suite {
    /// The machine's own release with its updates and security fixes.
    STABLE,
    /// Newer versions rebuilt for the machine's own release, `<codename>-backports`.
    BACKPORTS,
    /// Debian 13, whatever the machine itself runs: for what runs on libraries of its own, its C
    /// library among them.
    TRIXIE,
    /// The same of newer versions rebuilt for Debian 13.
    TRIXIE_BACKPORTS;

    String of(String codename) {
      return isBackports() ? base(codename) + "-backports" : base(codename);
    }

    /// The release that the suite belongs to.
    ///
    /// @param codename of the machine's own
    String base(String codename) {
      return isWhole() ? DEBIAN_13 : codename;
    }

    boolean isBackports() {
      return this == BACKPORTS || this == TRIXIE_BACKPORTS;
    }

    /// Whether what it has comes with all libraries, so that nothing of it needs the machine's.
    public boolean isWhole() {
      return this == TRIXIE || this == TRIXIE_BACKPORTS;
    }

    private static final String DEBIAN_13 = "trixie";
  }

  /// What was unpacked.
  ///
  /// @param root the folder given to [#unpack]
  /// @param versions the Debian version of every package unpacked, by package name
  public record Unpacked(Path root, Map<String, String> versions) {
    /// Copies the map; iteration is by name.
    public Unpacked {
      requireNonNull(root, "root");
      versions = Collections.unmodifiableMap(new TreeMap<>(versions));
    }
  }

  /// Why packages could not be had. The message is one sentence that names what was wanted and what
  /// to do.
  public static final class PackagesException extends RuntimeException {

    /// What kind of obstacle it was.
    public enum Kind {
      /// `apt-get` or `dpkg-deb` is not on this machine, or apt is configured without Debian.
      NO_APT,
      /// No mirror could be reached and the cache does not hold what is wanted.
      UNREACHABLE,
      /// The archive's signature does not check against the machine's keys.
      UNTRUSTED,
      /// The suite has no such package.
      UNKNOWN_PACKAGE,
      /// Anything else, such as a full disk; the message quotes it.
      FAILED
    }

    private final Kind kind;

    /// @param message one sentence
    public PackagesException(Kind kind, String message) {
      super(message);
      this.kind = kind;
    }

    PackagesException(Kind kind, String message, Throwable cause) {
      super(message, cause);
      this.kind = kind;
    }

    /// Returns what kind of obstacle it was.
    public Kind kind() {
      return kind;
    }
  }

  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9+.-]+");

  // A file lock excludes other processes only; this one excludes the rest of this process.
  private static final ReentrantLock IN_PROCESS = new ReentrantLock();

  private final Path directory;

  /// Names the directory for apt's private state and its cache of downloaded packages.
  ///
  /// @param directory made with mode 0700 at the first use; its path may not contain `"` or control
  ///   characters, which apt's configuration cannot express
  /// @throws IllegalArgumentException for such a path
  public DebianPackages(Path directory) {
    this.directory = directory.toAbsolutePath().normalize();
    if (this.directory.toString().chars().anyMatch(c -> c == '"' || c < ' ')) {
      throw new IllegalArgumentException(
          "apt cannot work in '%s': choose a path without quotes and control characters"
              .formatted(this.directory));
    }
  }

  /// The suites in which this machine may find newer packages than its own, its own first: those of
  /// Debian 13 on a Debian of another release, whose mirror and keys have them too.
  ///
  /// @throws PackagesException when it does not say which release it has
  public List<Suite> suites() {
    return DebianHost.ask().suites();
  }

  /// Downloads packages where the cache does not have them and unpacks them.
  ///
  /// The package index is fetched when it is older than a day or lacks a package; otherwise, and
  /// with the packages in the cache, no network is used. A meta-package of the form
  /// `linux-image-<flavour>` brings the kernel package that it stands for.
  ///
  /// @param suite where the named packages come from
  /// @param packages Debian package names
  /// @param withMissingLibraries whether to bring along what they depend on, at any depth, apart
  ///   from shared libraries and required packages that are installed on this machine. Data and
  ///   firmware packages are always brought, so that `into` does not rest on the machine's. From a
  ///   suite that [Suite#isWhole] everything is brought.
  /// @param into the folder to unpack into; created when absent, and left incomplete on an error
  /// @param progress gets one line for every step
  /// @return the folder and the versions in it
  /// @throws PackagesException with one sentence, when apt, the network, the signature or a package
  ///   is missing
  /// @throws IllegalArgumentException when a name is not a package name
  public Unpacked unpack(
      Suite suite,
      List<String> packages,
      boolean withMissingLibraries,
      Path into,
      Consumer<String> progress) {
    return alone(
        packages,
        () ->
            new PackageFetch(directory, suite, packages, withMissingLibraries, progress)
                .unpack(into));
  }

  /// The version of a package that [#unpack] would bring now. Nothing is downloaded but the package
  /// index, when it is older than an hour; where no mirror answers, the index that is here counts.
  ///
  /// @param suite where it comes from
  /// @param name a Debian package name
  /// @param progress gets one line for every step
  /// @throws PackagesException as [#unpack]
  public DebianVersion offered(Suite suite, String name, Consumer<String> progress) {
    List<String> packages = List.of(name);
    String version =
        alone(packages, () -> new PackageFetch(directory, suite, packages, true, progress).offer());
    return DebianVersion.parse(version)
        .orElseThrow(() ->
            new PackagesException(
                PackagesException.Kind.FAILED,
                "apt says that %s has version '%s', which is none".formatted(name, version)));
  }

  /// Downloads a source package: its description, and the archives of its authors and of Debian.
  /// Nothing is unpacked.
  ///
  /// @param suite where it comes from
  /// @param name of the source package
  /// @param version exactly this one
  /// @param into an existing folder
  /// @param progress gets one line for every step
  /// @throws PackagesException as [#unpack]
  public void source(
      Suite suite, String name, DebianVersion version, Path into, Consumer<String> progress) {
    var _ =
        alone(
            List.of(name),
            () -> new SourceFetch(directory, suite, progress).download(name, version, into));
  }

  /// What is done alone in the directory.
  private interface Work<T> {
    T get() throws IOException;
  }

  private <T> T alone(List<String> packages, Work<T> work) {
    for (String name : packages) {
      if (!NAME.matcher(name).matches()) {
        throw new IllegalArgumentException("'%s' is not a Debian package name".formatted(name));
      }
    }
    IN_PROCESS.lock();
    try {
      Files.createDirectories(
          directory,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      try (FileChannel file =
              FileChannel.open(
                  directory.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock held = file.lock()) {
        requireNonNull(held, "lock");
        return work.get();
      }
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "packages %s could not be had from apt in %s: %s".formatted(packages, directory, e),
          e);
    } finally {
      IN_PROCESS.unlock();
    }
  }
}
