package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// This machine as a Debian: its release, where its own apt takes packages from, and which
/// libraries it has. Only looked at.
///
/// @param vendor of its distribution, such as `debian`; empty when it does not say
/// @param codename of its release, such as `bookworm`
record DebianHost(String vendor, String codename) {
  private static final Path STATUS = Path.of("/var/lib/dpkg/status");
  private static final String DEBIAN = "debian";
  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9+.-]+");
  private static final Set<String> STATUS_FIELDS =
      Set.of("Package", "Version", "Architecture", "Multi-Arch", "Provides", "Essential");

  /// @throws PackagesException when it does not say which release it has
  static DebianHost ask() {
    try (Stream<String> lines = Files.lines(Path.of("/etc/os-release"))) {
      return of(lines.toList());
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT, "/etc/os-release cannot be read: " + e.getMessage(), e);
    }
  }

  /// @param lines of os-release(5)
  static DebianHost of(List<String> lines) {
    return new DebianHost(
        value(lines, "ID").orElse(""),
        value(lines, "VERSION_CODENAME")
            .orElseThrow(() ->
                new PackagesException(
                    PackagesException.Kind.NO_APT,
                    "/etc/os-release names no release (VERSION_CODENAME); packages come from Debian's"
                        + " releases, so use a Debian stable machine")));
  }

  private static Optional<String> value(List<String> lines, String key) {
    return lines.stream()
        .filter(line -> line.startsWith(key + "="))
        .map(line -> line.substring(key.length() + 1).replace("\"", ""))
        .filter(value -> NAME.matcher(value).matches())
        .findFirst();
  }

  /// As [DebianPackages#suites].
  List<Suite> suites() {
    return Stream.of(Suite.values())
        .filter(suite ->
            !suite.isWhole() || (vendor.equals(DEBIAN) && !suite.base(codename).equals(codename)))
        .toList();
  }

  /// Where its own apt takes Debian's packages from.
  ///
  /// @param directory that apt may run in
  /// @throws PackagesException when it has no source of them
  AptSources sources(Path directory) {
    // The first question is answered for archives whose index the machine has fetched, with what
    // they say of themselves; the second for the others too, without it.
    String targets =
        targets(List.of(), directory) + targets(List.of("--no-release-info"), directory);
    return AptSources.parse(targets, codename, DebianHost::readSources)
        .orElseThrow(() ->
            new PackagesException(
                PackagesException.Kind.NO_APT,
                "apt on this machine has no source for %s; add the distribution's own to /etc/apt/sources.list.d"
                    .formatted(codename)));
  }

  private static String targets(List<String> options, Path directory) {
    List<String> command = new ArrayList<>(List.of("apt-get", "indextargets"));
    command.addAll(options);
    command.addAll(
        List.of("--format", AptSources.FORMAT, "Created-By: Packages", "Component: main"));
    return AptRun.of(command, directory, AptRun.LOCAL_LIMIT).output();
  }

  private static String readSources(String file) {
    try {
      return Files.readString(Path.of(file));
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT,
          "apt's source list %s cannot be read: %s".formatted(file, e.getMessage()),
          e);
    }
  }

  /// What counts as present on it, for apt to leave out: a status file of dpkg with its shared
  /// libraries and required packages. Dependencies are left out of it: with them, a half-configured
  /// or held package of the machine would stop apt here too.
  ///
  /// @param except packages that do not count
  static String libraries(List<String> except) throws IOException {
    if (!Files.exists(STATUS)) {
      return "";
    }
    return Stream.of(Files.readString(STATUS).split("\\n\\n", -1))
        .filter(stanza -> stanza.contains(" ok installed\n"))
        .filter(stanza ->
            stanza.contains("\nMulti-Arch: same")
                || stanza.contains("\nEssential: yes")
                || stanza.contains("\nPriority: required"))
        .filter(stanza -> !except.contains(stanza.replaceFirst("(?s)Package: (\\S+).*", "$1")))
        .map(stanza ->
            stanza
                .lines()
                .filter(line -> STATUS_FIELDS.contains(line.replaceFirst(":.*", "")))
                .collect(Collectors.joining("\n", "", "\nStatus: install ok installed\n\n")))
        .collect(Collectors.joining());
  }
}
