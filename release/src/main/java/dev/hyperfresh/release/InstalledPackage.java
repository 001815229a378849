package dev.hyperfresh.release;

import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// A package that this host's own package manager may have installed. Its records are only read.
///
/// @param records where dpkg keeps them, such as `/var/lib/dpkg`
/// @param name of the package
public record InstalledPackage(Path records, String name) {
  /// Far more than the records of all packages of a host.
  private static final int MOST_BYTES = 64 << 20;

  private static final Set<String> CHANGING =
      Set.of("half-installed", "unpacked", "half-configured");

  /// The name of a package and its state, which dpkg writes right after it.
  private static final Pattern STATE =
      Pattern.compile("(?m)^Package: (\\S+)\nStatus: \\S+ \\S+ (\\S+)$");

  /// The version of the package, when it is installed and has `file` with the content of `copy`;
  /// empty when not, or when this host has no dpkg.
  ///
  /// @param file where the package has it, an absolute path
  /// @param copy of it, or the file itself
  /// @throws IOException when `copy` or the records cannot be read
  public Optional<DebianVersion> versionOf(Path file, Path copy) throws IOException {
    Path sums = records.resolve("info").resolve(name + ".md5sums");
    Path status = records.resolve("status");
    if (!Files.isRegularFile(sums) || !Files.isRegularFile(status)) {
      return Optional.empty();
    }
    // dpkg keeps MD5; nothing rests on its being hard to forge.
    String line = ReleaseFolders.digest("MD5", copy) + "  " + file.toString().substring(1);
    return text(sums).lines().anyMatch(line::equals) ? version(status) : Optional.empty();
  }

  /// Those packages whose files are being changed, or whose change did not come to its end, each
  /// with its state; none on a host without dpkg.
  ///
  /// @param records as in [InstalledPackage]
  /// @param which of all packages
  /// @throws IOException when the records cannot be read
  public static List<String> changing(Path records, Predicate<String> which) throws IOException {
    Path status = records.resolve("status");
    if (!Files.isRegularFile(status)) {
      return List.of();
    }
    Map<String, String> states = new TreeMap<>();
    note(text(status), which, states);
    for (Path update : updates(records.resolve("updates"))) {
      note(text(update), which, states);
    }
    return states.entrySet().stream()
        .filter(one -> CHANGING.contains(one.getValue()))
        .map(one -> one.getKey() + " is " + one.getValue())
        .toList();
  }

  /// What dpkg has written down since it wrote its whole status last, in its order.
  private static List<Path> updates(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> String.valueOf(file.getFileName()).matches("[0-9]+"))
          .sorted()
          .toList();
    }
  }

  private static void note(String text, Predicate<String> which, Map<String, String> states) {
    Matcher matcher = STATE.matcher(text);
    while (matcher.find()) {
      if (which.test(matcher.group(1))) {
        states.put(matcher.group(1), matcher.group(2));
      }
    }
  }

  /// Packages write their names and descriptions in whatever encoding they like.
  private static String text(Path file) throws IOException {
    return new String(BoundedFile.read(file, MOST_BYTES), StandardCharsets.ISO_8859_1);
  }

  private Optional<DebianVersion> version(Path status) throws IOException {
    return Stream.of(text(status).split("\\n\\n", -1))
        .filter(stanza -> (stanza + "\n").startsWith("Package: " + name + "\n"))
        .filter(stanza -> stanza.contains(" ok installed\n"))
        .flatMap(String::lines)
        .filter(line -> line.startsWith("Version: "))
        .findFirst()
        .flatMap(line -> DebianVersion.parse(line.substring("Version: ".length())));
  }
}
