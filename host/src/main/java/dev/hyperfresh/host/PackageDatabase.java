package dev.hyperfresh.host;

import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// What dpkg has written down of the packages of a Debian host, read without dpkg. On a host with
/// other packages it knows nothing.
///
/// @param folder that of dpkg, `/var/lib/dpkg` but in tests
public record PackageDatabase(Path folder) {
  private static final int STATUS_BYTES = 64 << 20;
  private static final int LIST_BYTES = 1 << 20;
  private static final int MOST_LISTS = 200;
  private static final String LIST = ".list";

  /// An installed package.
  public record Installed(String name, String version) {}

  /// The package that a file belongs to, among those whose names `candidates` accepts.
  ///
  /// @return empty when it belongs to none of them, or dpkg's files cannot be read
  public Optional<Installed> owner(Path file, Predicate<String> candidates) {
    try {
      return packageOf(file.toString(), candidates).flatMap(this::installed);
    } catch (IOException absent) {
      return Optional.empty();
    }
  }

  private Optional<String> packageOf(String file, Predicate<String> candidates) throws IOException {
    List<String> spellings =
        file.startsWith("/usr/") ? List.of(file, file.substring(4)) : List.of(file, "/usr" + file);
    List<Path> lists;
    try (Stream<Path> all = Files.list(folder.resolve("info"))) {
      lists =
          all.filter(list -> candidates.test(name(list)))
              .filter(list -> list.toString().endsWith(LIST))
              .sorted()
              .limit(MOST_LISTS)
              .toList();
    }
    for (Path list : lists) {
      if (lines(list, LIST_BYTES).anyMatch(spellings::contains)) {
        return Optional.of(name(list));
      }
    }
    return Optional.empty();
  }

  /// `qemu-system-x86` of `qemu-system-x86.list` and of `qemu-system-x86:amd64.list`.
  private static String name(Path list) {
    return String.valueOf(list.getFileName()).replaceFirst("(:[a-z0-9-]+)?\\.list$", "");
  }

  private Optional<Installed> installed(String name) {
    try {
      return lines(folder.resolve("status"), STATUS_BYTES)
          .dropWhile(line -> !line.equals("Package: " + name))
          .takeWhile(line -> !line.isEmpty())
          .filter(line -> line.startsWith("Version: "))
          .map(line -> new Installed(name, line.substring("Version: ".length()).strip()))
          .findFirst();
    } catch (IOException absent) {
      return Optional.empty();
    }
  }

  private static Stream<String> lines(Path file, int most) throws IOException {
    return new String(BoundedFile.read(file, most), StandardCharsets.ISO_8859_1).lines();
  }
}
