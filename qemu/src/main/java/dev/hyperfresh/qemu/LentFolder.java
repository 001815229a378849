package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;

/// Where the copies of an adopted guest's files are. The guest's folder is closed to everybody but
/// the daemon's user. So the instances of another user get one folder in it as a descriptor, and
/// find there what their command lines name.
///
/// @param real as this process finds it
/// @param named as the instances do
record LentFolder(Path real, Path named) {
  private static final String NAME = "lent";
  private static final String LOG = "console.log";

  /// For the instances of a guest whose folder is `files`.
  static LentFolder of(ForeignUser who, Path files) {
    return who.rights().uid() == Host.effectiveUid()
        ? new LentFolder(files, files)
        : new LentFolder(files.resolve(NAME), Path.of(Descriptors.own(Descriptors.LENT)));
  }

  /// Where this process finds what instances find at a path.
  Path real(Path path) {
    return real.resolve(named.relativize(path));
  }

  private boolean isLent() {
    return !real.equals(named);
  }

  /// Makes it, with a log for the console, which is the user's own file: the user's QEMU opens it
  /// anew.
  void make(ForeignUser who) throws IOException {
    if (!isLent()) {
      return;
    }
    Files.createDirectory(real);
    Files.setPosixFilePermissions(real, PosixFilePermissions.fromString("rwxr-xr-x"));
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
        .flatMap(AdoptedMachine::runAs)
        .filter(runAs -> runAs.rights().uid() != Host.effectiveUid())
        .map(_ -> Fd.open(launch.files().resolve(NAME), OpenFlags.READ_ONLY));
  }
}
