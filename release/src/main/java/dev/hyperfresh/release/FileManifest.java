package dev.hyperfresh.release;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/// What every file and link of a folder held at one time. Logs at the top of the folder are left
/// out.
///
/// As a file: a line for each, with the SHA-256 of its content or, of a link, of where it leads,
/// the word `file` or `link`, and its path in the folder.
///
/// @param entries the sum and the word, by path
record FileManifest(SortedMap<String, String> entries) {
  /// Its own name in the folder.
  static final String NAME = "files.sha256";

  /// Some hundred files are usual.
  private static final long MAX_BYTES = 8 << 20;

  private static final int SUM = 64;

  /// Reads all of `folder`.
  static FileManifest of(Path folder) throws IOException {
    SortedMap<String, String> entries = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.filter(file -> isListed(folder, file)).toList()) {
        String path = folder.relativize(file).toString();
        if (path.indexOf('\n') >= 0) {
          throw new IOException(folder + " has a file whose name has two lines");
        }
        entries.put(
            path,
            Files.isSymbolicLink(file)
                ? sum(Files.readSymbolicLink(file).toString()) + " link"
                : ReleaseFolders.sha256(file) + " file");
      }
    }
    return new FileManifest(entries);
  }

  private static boolean isListed(Path folder, Path file) {
    boolean top = folder.equals(file.getParent());
    String name = String.valueOf(file.getFileName());
    return !Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS)
        && !(top && (name.equals(NAME) || name.endsWith(".log")));
  }

  private static String sum(String text) {
    try {
      return HexFormat.of()
          .formatHex(
              MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  /// Reads what [#write] wrote.
  static FileManifest read(Path folder) throws IOException {
    Path file = folder.resolve(NAME);
    if (Files.size(file) > MAX_BYTES) {
      throw new IOException(file + " is longer than " + MAX_BYTES + " bytes");
    }
    SortedMap<String, String> entries = new TreeMap<>();
    for (String line : Files.readAllLines(file)) {
      int path = SUM + " file ".length();
      if (line.length() <= path) {
        throw new IOException(file + " has a line that is too short");
      }
      entries.put(line.substring(path), line.substring(0, path - 1));
    }
    return new FileManifest(entries);
  }

  /// Puts it into `folder`.
  void write(Path folder) throws IOException {
    Files.writeString(folder.resolve(NAME), text());
  }

  /// The SHA-256 of itself as a file.
  String sum() {
    return sum(text());
  }

  private String text() {
    StringBuilder text = new StringBuilder();
    entries.forEach((path, sum) -> text.append(sum).append(' ').append(path).append('\n'));
    return text.toString();
  }

  /// How `now`, of the same folder, differs, one sentence for each file.
  List<String> differences(FileManifest now, Path folder) {
    List<String> differences = new ArrayList<>();
    for (Map.Entry<String, String> entry : entries.entrySet()) {
      String sum = now.entries.get(entry.getKey());
      Path file = folder.resolve(entry.getKey());
      if (sum == null) {
        differences.add(file + " is missing.");
      } else if (!sum.equals(entry.getValue())) {
        differences.add(file + " was changed.");
      }
    }
    now.entries.keySet().stream()
        .filter(path -> !entries.containsKey(path))
        .forEach(path -> differences.add(folder.resolve(path) + " is new."));
    return differences;
  }
}
