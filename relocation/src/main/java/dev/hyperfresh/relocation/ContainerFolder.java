package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.SharedFolder;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;

/// A container's folder on this host. It is the host's alone but for one folder in it, `share`,
/// which the OS has in which the container is, and during a move both: its root file system, its
/// volumes, its configuration, its log, what programs print and the images of a move. There an OS
/// may write what it likes, so nothing in it is believed: see [SharedFolder]. The host never reads
/// the configuration back.
///
/// @param home the folder
record ContainerFolder(Path home) {
  private static final System.Logger LOG = System.getLogger(ContainerFolder.class.getName());

  /// CRIU writes some dozens.
  private static final int MOST_IMAGES = 10_000;

  /// More than a root file system of a million files has.
  private static final long MOST_ENTRIES = 10_000_000;

  private static final Duration DELETE_LIMIT = Duration.ofMinutes(5);
  private static final String IMAGES = "images";

  /// In the share: a folder for each volume that the container has.
  static final String VOLUMES = "volumes";

  /// What an OS has of it.
  Path share() {
    return home.resolve("share");
  }

  private interface Look<T> {
    T at(SharedFolder folder) throws IOException;
  }

  private <T> T look(Look<T> look) throws IOException {
    try (SharedFolder folder = SharedFolder.open(share())) {
      return look.at(folder);
    } catch (LinuxException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  /// What the container writes.
  Path log() {
    return share().resolve("log");
  }

  /// The last that the container has written, at most `most` bytes.
  byte[] log(int most) throws IOException {
    return look(folder -> folder.last("log", most))
        .orElseThrow(() -> new NoSuchFileException(log().toString()));
  }

  /// The beginning of what a program has printed into `file`, if it is there, at most `most` bytes.
  Optional<byte[]> output(String file, int most) throws IOException {
    return look(folder -> folder.first(file, most));
  }

  /// Removes such a file.
  void removeOutput(String file) throws IOException {
    look(folder -> {
      folder.remove(file);
      return file;
    });
  }

  /// Whether all that CRIU has written down of it is there.
  ///
  /// @throws TroubleException when that cannot be said
  boolean hasImages() {
    try {
      return look(folder -> folder.has(IMAGES + "/state.json"));
    } catch (IOException e) {
      throw new TroubleException(share() + " cannot be examined: " + e.getMessage(), e);
    }
  }

  /// Of all that is written down of it, in bytes; 0 when that cannot be said.
  long imageBytes() {
    try {
      return look(folder -> folder.lengths(IMAGES, MOST_IMAGES));
    } catch (IOException e) {
      LOG.log(System.Logger.Level.DEBUG, share() + " cannot be searched", e);
      return 0;
    }
  }

  /// Where its memory is in the OS that it leaves; nothing of it when that is not written down.
  PageList pages(OsVm os) {
    try {
      Optional<FileChannel> found = look(folder -> folder.read(IMAGES + "/pages"));
      if (found.isEmpty()) {
        return PageList.NONE;
      }
      try (FileChannel file = found.get()) {
        return PageList.read(file, os.memory().bytes(), os.split());
      }
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, share() + " has no list of pages", e);
      return PageList.NONE;
    }
  }

  /// The file in which the OS that the container goes to says what it has fetched, in the move in
  /// which it has the other's memory in `window`.
  static String freed(String window) {
    return "freed." + window;
  }

  /// Makes that file, in the place of whatever bears its name.
  ///
  /// @throws TroubleException when that cannot be done
  FileChannel makeFreed(String window) {
    try {
      return look(folder -> folder.createAnew(freed(window)));
    } catch (IOException e) {
      throw new TroubleException(share() + ": " + e.getMessage(), e);
    }
  }

  /// Opens that file, if it is there.
  Optional<FileChannel> findFreed(String window) {
    try {
      return look(folder -> folder.read(freed(window)));
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, share() + " does not say what was fetched", e);
      return Optional.empty();
    }
  }

  /// From now on nobody takes memory away by that file.
  void forgetFreed(String window) {
    try {
      removeOutput(freed(window));
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, freed(window) + " cannot be removed", e);
    }
  }

  /// The images go at once, or none of them does.
  void forgetImages() {
    try (SharedFolder folder = SharedFolder.open(share());
        SharedFolder deleted = SharedFolder.open(home)) {
      folder.delete(IMAGES, deleted, MOST_ENTRIES, DELETE_LIMIT);
    } catch (IOException | LinuxException e) {
      LOG.log(System.Logger.Level.WARNING, share() + "/images cannot be removed", e);
    }
  }

  /// Makes it anew, with nothing in it. No OS has it.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  void make() {
    delete();
    try {
      Files.createDirectory(
          home, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      Files.createDirectory(share());
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home + " cannot be created: " + e.getMessage(), e);
    }
  }

  /// Puts a volume's folder in here. No OS has the share.
  ///
  /// @param home the folder, which is here from then on
  void putVolume(String volume, Path home) throws IOException {
    Path volumes = Files.createDirectories(share().resolve(VOLUMES));
    Files.move(home, volumes.resolve(volume), StandardCopyOption.ATOMIC_MOVE);
  }

  /// Moves a volume's folder out of here, whatever an OS has made of the names. No OS has the share
  /// any more.
  ///
  /// @param into the folder in which it is to be, under its name
  /// @return whether there was one
  boolean takeVolume(String volume, Path into) throws IOException {
    try (SharedFolder to = SharedFolder.open(into)) {
      Optional<SharedFolder> here = SharedFolder.find(share());
      if (here.isEmpty()) {
        return false;
      }
      try (SharedFolder from = here.get()) {
        return from.giveFolder(VOLUMES, volume, to);
      }
    } catch (LinuxException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  /// Removes all of it. Does nothing when it is not there. Volumes that are in it would go too.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  void delete() {
    Path name = Objects.requireNonNull(home.getFileName());
    try (SharedFolder all = SharedFolder.open(home.resolveSibling("."))) {
      all.delete(name.toString(), all, MOST_ENTRIES, DELETE_LIMIT);
    } catch (IOException | LinuxException e) {
      throw Problem.DAEMON_STATE.because(home + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
