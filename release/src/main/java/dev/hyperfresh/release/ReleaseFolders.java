package dev.hyperfresh.release;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// Releases as folders of one directory, each with a description file in it. What the description
/// says is the business of the kind of hypervisor; kinds that use different file names share a
/// directory without seeing each other's releases.
///
/// Thread-safe, also across processes: a release is made in a staging folder and appears by one
/// rename, so that readers see it whole or not at all.
public final class ReleaseFolders {
  private static final int MOST_DIFFERENCES = 5;
  private static final String STAGING = ".staging-";
  private static final Pattern STAGING_OWNER = Pattern.compile("\\.staging-([0-9]{1,10})-.*");
  private static final Set<PosixFilePermission> READABLE =
      PosixFilePermissions.fromString("rwxr-xr-x");

  private final Path directory;
  private final String description;

  /// Uses `directory`, made at the first [#stage], for releases that hold a file `description`.
  public ReleaseFolders(Path directory, String description) {
    this.directory = directory;
    this.description = description;
  }

  /// The description files of all releases, in no order.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public List<Path> descriptions() {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(directory)) {
      return folders
          .filter(folder -> !isStaging(folder))
          .map(folder -> folder.resolve(description))
          .filter(Files::isRegularFile)
          .toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(directory + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The folder of the release `name`, whether it is there or not.
  public Path home(String name) {
    return directory.resolve(name);
  }

  /// When the release `name` was installed.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Instant installedAt(String name) {
    Path file = home(name).resolve(description);
    try {
      return Files.getLastModifiedTime(file).toInstant();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The SHA-256 of all files of a staging folder, their names and their content, in lower-case
  /// hexadecimal digits.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public static String contents(Path staging) {
    try {
      return FileManifest.of(staging).sum();
    } catch (IOException | UncheckedIOException e) {
      throw Problem.DAEMON_STATE.because(staging + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// A new folder to make a release in, readable by all. Its name tells its owner, so what a killed
  /// process left is removed here. The caller ends with [#delete], which does nothing after
  /// [#install].
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Path stage() {
    try {
      if (!Files.isDirectory(directory)) {
        Files.createDirectories(directory);
        Files.setPosixFilePermissions(directory, READABLE);
      }
      removeAbandoned();
      String prefix = STAGING + ProcessHandle.current().pid() + "-";
      Path folder = Files.createTempDirectory(directory, prefix).toAbsolutePath();
      Files.setPosixFilePermissions(folder, READABLE);
      return folder;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(directory + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Puts the description and a manifest of all files into a staging folder and makes it the
  /// release `name`.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_NAME] when that is installed already,
  ///   [Problem#DAEMON_STATE]
  public void install(Path staging, String name, byte[] contents) {
    Path home = home(name);
    if (Files.exists(home)) {
      throw Problem.RELEASE_NAME.because(name + " is installed already.");
    }
    try {
      Files.write(staging.resolve(description), contents);
      FileManifest.of(staging).write(staging);
      Files.move(staging, home, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      throw new IllegalStateException("staging and releases lie on one file system", e);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Compares every file of a release with what it was when it was installed. A release that has no
  /// manifest, since an earlier version of HyperFresh installed it, gets one now.
  ///
  /// @return whether there was something to compare with
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] with the files that differ,
  ///   [Problem#DAEMON_STATE]
  public boolean verify(String name) {
    Path home = home(name);
    try {
      FileManifest now = FileManifest.of(home);
      if (!Files.exists(home.resolve(FileManifest.NAME))) {
        now.write(home);
        return false;
      }
      List<String> differences = FileManifest.read(home).differences(now, home);
      if (!differences.isEmpty()) {
        int more = differences.size() - MOST_DIFFERENCES;
        throw Problem.RELEASE_DAMAGED.because(
            name
                + " differs from what was installed: "
                + String.join(
                    " ", differences.subList(0, Math.min(differences.size(), MOST_DIFFERENCES)))
                + (more > 0 ? " And " + more + " more." : ""));
      }
      return true;
    } catch (IOException | UncheckedIOException e) {
      throw Problem.DAEMON_STATE.because(home + " cannot be verified: " + e.getMessage(), e);
    }
  }

  /// Where `path` lies once `staging` is the release `name`; other paths stay.
  public Path installed(Path path, Path staging, String name) {
    return path.startsWith(staging) ? home(name).resolve(staging.relativize(path)) : path;
  }

  /// Opens the folders of releases to all: hypervisors of guests that have users of their own start
  /// from them, and nothing in them is a secret. Does nothing where they belong to somebody else.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public void letOthersRead() {
    try {
      if (!Files.isDirectory(directory)) {
        return;
      }
      try (Stream<Path> folders = Files.list(directory)) {
        for (Path folder : Stream.concat(Stream.of(directory), folders).toList()) {
          if (Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)
              && Files.getAttribute(folder, "unix:uid").equals(Host.effectiveUid())) {
            Files.setPosixFilePermissions(folder, READABLE);
          }
        }
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(directory + " cannot be used: " + e.getMessage(), e);
    }
  }

  /// Removes the release `name`, if it is there: nobody finds a part of it. What a killed process
  /// leaves of it is removed by [#stage].
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public void remove(String name) {
    Path home = home(name);
    Path gone = directory.resolve(STAGING + ProcessHandle.current().pid() + "-gone-" + name);
    delete(gone);
    try {
      Files.move(home, gone, StandardCopyOption.ATOMIC_MOVE);
    } catch (NoSuchFileException absent) {
      return;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home + " cannot be removed: " + e.getMessage(), e);
    }
    delete(gone);
  }

  /// Removes a folder with all that is in it; one that is not there is no error.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public static void delete(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }

  /// The SHA-256 of a file in lower-case hexadecimal digits.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when it cannot be read
  public static String sha256(Path file) {
    try {
      return digest("SHA-256", file);
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The digest of a file by an algorithm that every JDK has, in lower-case hexadecimal digits.
  static String digest(String algorithm, Path file) throws IOException {
    try (DigestInputStream in =
        new DigestInputStream(Files.newInputStream(file), MessageDigest.getInstance(algorithm))) {
      in.transferTo(OutputStream.nullOutputStream());
      return HexFormat.of().formatHex(in.getMessageDigest().digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has " + algorithm, e);
    }
  }

  private void removeAbandoned() throws IOException {
    try (Stream<Path> folders = Files.list(directory)) {
      folders
          .filter(folder -> isStaging(folder) && !isOwned(folder))
          .toList()
          .forEach(ReleaseFolders::delete);
    }
  }

  private static boolean isStaging(Path folder) {
    return String.valueOf(folder.getFileName()).startsWith(STAGING);
  }

  private static boolean isOwned(Path staging) {
    Matcher owner = STAGING_OWNER.matcher(String.valueOf(staging.getFileName()));
    return owner.matches() && ProcessHandle.of(Long.parseLong(owner.group(1))).isPresent();
  }
}
