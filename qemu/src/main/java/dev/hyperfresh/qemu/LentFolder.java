package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Where the copies of an adopted guest's files are. The guest's folder is closed to everybody but
/// the daemon's user. So the instances of another user get one folder in it as a descriptor, and
/// find there what their command lines name. Those of a guest that was borrowed get it, too: where
/// the folder is may change while they run.
///
/// @param real as this process finds it
/// @param named as the instances do
record LentFolder(Path real, Path named) {
  private static final String NAME = "lent";
  private static final String LOG = "console.log";

  /// For the instances of a guest whose folder is `files`.
  static LentFolder of(ForeignUser who, Path files, boolean borrowed) {
    return who.rights().uid() == Host.effectiveUid() && !borrowed
        ? new LentFolder(files, files)
        : new LentFolder(files.resolve(NAME), Path.of(Descriptors.own(Descriptors.LENT)));
  }

  /// The words of a process by which it was started, with the paths of what it was lent as this
  /// process finds it now.
  ///
  /// @param files the folder that was its guest's
  static List<String> found(List<String> words, Path files) {
    String lent = Descriptors.own(Descriptors.LENT) + "/";
    String here = files.resolve(NAME) + "/";
    List<String> found = new ArrayList<>();
    for (String word : words) {
      // What the guest's kernel is told may look like anything.
      boolean isGuests = !found.isEmpty() && found.getLast().equals(ForeignOption.APPEND.word());
      found.add(isGuests ? word : word.replace(lent, here));
    }
    return found;
  }

  /// Where this process finds what instances find at a path.
  Path real(Path path) {
    return real.resolve(named.relativize(path));
  }

  private boolean isLent() {
    return !real.equals(named);
  }

  /// Makes it, with a log for the console, which is the user's own file: the user's QEMU opens it
  /// anew. A guest that was borrowed has no such console.
  void make(ForeignUser who, boolean borrowed) throws IOException {
    if (!isLent()) {
      return;
    }
    Files.createDirectory(real);
    Files.setPosixFilePermissions(real, PosixFilePermissions.fromString("rwxr-xr-x"));
    if (borrowed) {
      return;
    }
    Path log = real.resolveSibling(LOG);
    try {
      Files.createFile(
          log, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    } catch (FileAlreadyExistsException e) {
      throw new IOException(log + " is there already", e);
    }
    Files.setAttribute(log, "unix:uid", who.rights().uid());
    Files.createLink(real.resolve(LOG), log);
  }

  /// What an instance gets to find it by, if it needs that.
  static Optional<Fd> open(Launch launch) {
    return launch
        .adopted()
        .filter(machine ->
            machine.borrowed().isPresent()
                || machine
                    .runAs()
                    .filter(runAs -> runAs.rights().uid() != Host.effectiveUid())
                    .isPresent())
        .map(_ -> Fd.open(launch.files().resolve(NAME), OpenFlags.READ_ONLY));
  }
}
