package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;

/// The program that a process of another user runs, also when the package manager has replaced its
/// file since: as a release, it is the way back. Nothing but the file counts, no argument and no
/// variable of the process, since they are the user's.
///
/// @param pid of the process
record RunningBuild(int pid) {
  private static final int OTHERS_WRITE = 0022;
  private static final String NAME = "qemu-system-x86_64";

  private Path program() {
    return Path.of("/proc", Integer.toString(pid), "exe");
  }

  /// Whether the file is root's, and nobody else can have written it.
  boolean isOfRoot() {
    try {
      return (int) Files.getAttribute(program(), "unix:uid") == 0
          && ((int) Files.getAttribute(program(), "unix:mode") & OTHERS_WRITE) == 0;
    } catch (IOException ended) {
      return false;
    }
  }

  /// Makes a release of it: with its modules and its firmware where it was installed, unless its
  /// file has been replaced.
  ///
  /// @param folder that only this daemon can write to
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED] when it does
  ///   not run
  QemuRelease add(QemuReleases releases, Path folder) {
    Path copy = folder.resolve(NAME);
    try {
      Path named = Files.readSymbolicLink(program());
      if (Files.exists(named) && Files.isSameFile(named, program())) {
        return releases.add(named);
      }
      Files.createDirectories(folder);
      try {
        Files.copy(program(), copy, StandardCopyOption.REPLACE_EXISTING);
        Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rwx------"));
        return releases.add(copy);
      } finally {
        Files.deleteIfExists(copy);
        Files.deleteIfExists(folder);
      }
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(
          "The program of process " + pid + " cannot be copied: " + e.getMessage() + ".", e);
    }
  }
}
