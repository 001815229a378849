package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.release.DebianVersion;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A QEMU build, with all it said of itself when it was added. Immutable.
///
/// @param name `qemu-`, the version, and what tells the build from others of its version
/// @param version as `query-version` reported it, such as `7.2.22`
/// @param binary the emulator
/// @param arguments what every start of it needs, such as where its firmware lies
/// @param libraries folders with the libraries it needs beside the host's, or with all that it
///   needs and a loader among them
/// @param sha256 of the binary when it was added
/// @param machines from `query-machines`, aliases left out
/// @param cpus from `query-cpu-definitions`
/// @param capabilities from `query-migrate-capabilities`
/// @param deprecated of its machine types and CPU models, those that a later version is to lose;
///   none when an earlier version of HyperFresh has described it
/// @param source where it came from, for people
public record QemuRelease(
    String name,
    String version,
    Path binary,
    List<String> arguments,
    List<Path> libraries,
    String sha256,
    Set<String> machines,
    Set<String> cpus,
    Set<String> capabilities,
    Set<String> deprecated,
    String source)
    implements Release {

  private static final String LOADER = "ld-linux-x86-64.so.2";

  /// The variable that names the folder of its modules.
  private static final String MODULES = "QEMU_MODULE_DIR";

  private static final String PACKAGE = "Debian package " + QemuArchive.PACKAGE + " ";

  private static final Pattern TUNED =
      Pattern.compile("Debian source package qemu (\\S+) with HyperFresh's patches ([0-9a-f]{8})");

  /// Before every version that a package can have.
  private static final DebianVersion LEAST = new DebianVersion("0~~");

  /// Oldest version first; `10.0.0` comes after `9.2.4`. Of one version, those from elsewhere come
  /// before those from packages, which are in Debian's order. One with our patches is as old as the
  /// package whose source it is.
  static final Comparator<QemuRelease> BY_VERSION =
      Comparator.comparing(QemuRelease::numbers, Arrays::compare)
          .thenComparing(QemuRelease::revision);

  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");

  public QemuRelease {
    arguments = List.copyOf(arguments);
    libraries = List.copyOf(libraries);
    machines = Set.copyOf(machines);
    cpus = Set.copyOf(cpus);
    capabilities = Set.copyOf(capabilities);
    deprecated = Set.copyOf(Objects.requireNonNullElse(deprecated, Set.of()));
  }

  /// One that deprecates nothing.
  public QemuRelease(
      String name,
      String version,
      Path binary,
      List<String> arguments,
      List<Path> libraries,
      String sha256,
      Set<String> machines,
      Set<String> cpus,
      Set<String> capabilities,
      String source) {
    this(
        name,
        version,
        binary,
        arguments,
        libraries,
        sha256,
        machines,
        cpus,
        capabilities,
        Set.of(),
        source);
  }

  /// This host's own QEMU as it is, of which nothing is known.
  static QemuRelease nameless(Path binary) {
    return new QemuRelease(
        QemuReleases.INSTALLED,
        "",
        binary,
        List.of(),
        List.of(),
        "",
        Set.of(),
        Set.of(),
        Set.of(),
        binary.toString());
  }

  /// What [#source] says of a build from a package.
  static String sourceOf(DebianVersion packaged) {
    return PACKAGE + packaged.text();
  }

  /// The version of the package that it is from, or empty when it is from elsewhere.
  public Optional<DebianVersion> packaged() {
    return source.startsWith(PACKAGE)
        ? DebianVersion.parse(source.substring(PACKAGE.length()))
        : Optional.empty();
  }

  /// What [#source] says of a build of a package's source with patches of HyperFresh.
  ///
  /// @param patches 8 digits that tell them from others
  static String tunedSource(DebianVersion packaged, String patches) {
    return "Debian source package qemu "
        + packaged.text()
        + " with HyperFresh's patches "
        + patches;
  }

  /// Whether it has patches of HyperFresh. Such a build is only used where it is named.
  public boolean isTuned() {
    return TUNED.matcher(source).matches();
  }

  /// The name of a build with patches of HyperFresh; empty when it has none.
  Optional<String> tunedName() {
    Matcher tuned = TUNED.matcher(source);
    return tuned.matches()
        ? DebianVersion.parse(tuned.group(1))
            .map(packaged -> BuildName.ofTuned(version, packaged, tuned.group(2)))
        : Optional.empty();
  }

  private DebianVersion revision() {
    Matcher tuned = TUNED.matcher(source);
    return packaged()
        .or(() -> tuned.matches() ? DebianVersion.parse(tuned.group(1)) : Optional.empty())
        .orElse(LEAST);
  }

  /// Whether this is a later version than `other`.
  public boolean isNewerThan(QemuRelease other) {
    return BY_VERSION.compare(this, other) > 0;
  }

  /// Whether a build is a later one: by its version, and of one version by its package's, as far as
  /// it names one.
  public boolean isOlderThan(QemuBuild build) {
    return against(build) < 0;
  }

  /// The other way round.
  public boolean isNewerThan(QemuBuild build) {
    return against(build) > 0;
  }

  private int against(QemuBuild build) {
    int order = Arrays.compare(numbersOf(version), numbersOf(build.version()));
    return order == 0 ? revision().compareTo(build.packaged().orElse(LEAST)) : order;
  }

  /// Whether it was copied from this host's own package: it needs the host's libraries.
  public boolean ofHost() {
    return packaged().isPresent() && libraries.isEmpty();
  }

  private int[] numbers() {
    return numbersOf(version);
  }

  private static int[] numbersOf(String version) {
    return NUMBER.matcher(version).results().mapToInt(n -> Integer.parseInt(n.group())).toArray();
  }

  @Override
  public String kind() {
    return Qemu.KIND;
  }

  @Override
  public Map<String, String> parts() {
    return Map.of("qemu", version);
  }

  @Override
  public boolean keepsSuspended() {
    return keepsSuspended(version);
  }

  /// QEMU before 9.0 wakes a sleeping guest when it sends its state, and cannot wake one whose
  /// state it got.
  public static boolean keepsSuspended(String version) {
    Matcher major = NUMBER.matcher(version);
    return major.find() && Integer.parseInt(major.group()) >= 9;
  }

  /// The words that every start of it begins with: the emulator, run by the loader among its
  /// libraries if there is one. A C library works with the loader that it came with only, and the
  /// emulator itself asks for the host's.
  public List<String> program() {
    return loader()
        .map(loader ->
            List.of(
                loader.toString(),
                "--inhibit-cache",
                "--library-path",
                libraryPath(),
                binary.toString()))
        .orElseGet(() -> List.of(binary.toString()));
  }

  /// The dynamic loader that it brought along; empty when it runs on the host's C library.
  public Optional<Path> loader() {
    return libraries.stream()
        .map(folder -> folder.resolve(LOADER))
        .filter(Files::isRegularFile)
        .findFirst();
  }

  /// The environment of every process of this release. One that a loader runs does not find its
  /// modules by the way from its own file, and newer ones look for them where the host has its own.
  public Map<String, String> environment() {
    Map<String, String> environment = new TreeMap<>(Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin"));
    Optional<Path> loader = loader();
    if (loader.isPresent()) {
      environment.put(MODULES, loader.get().resolveSibling("qemu").toString());
      return environment;
    }
    libraries.stream()
        .map(folder -> folder.resolve("qemu"))
        .filter(Files::isDirectory)
        .findFirst()
        .ifPresent(modules -> environment.put(MODULES, modules.toString()));
    if (!libraries.isEmpty()) {
      environment.put("LD_LIBRARY_PATH", libraryPath());
    }
    return environment;
  }

  private String libraryPath() {
    return String.join(":", libraries.stream().map(Path::toString).toList());
  }

  /// The folder of the boot ROMs of network cards, which Debian installs beside the others; empty
  /// when there is none. Guests of HyperFresh's own have no such ROMs.
  Optional<Path> bootRoms() {
    return Optional.ofNullable(binary.getParent())
        .map(programs -> programs.resolveSibling("lib").resolve("ipxe").resolve("qemu"))
        .filter(Files::isDirectory);
  }

  /// The folders that it is told to look for its firmware in, as far as they are there.
  List<Path> firmware() {
    List<Path> folders = new ArrayList<>();
    for (int i = 0; i + 1 < arguments.size(); i++) {
      if (arguments.get(i).equals("-L")) {
        folders.add(Path.of(arguments.get(i + 1)));
      }
    }
    return folders.stream().filter(Files::isDirectory).toList();
  }

  /// Machine types in alphabetical order.
  public Set<String> sortedMachines() {
    return new TreeSet<>(machines);
  }
}
