package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.FileCopies;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// The files of a QEMU that somebody else has installed, copied: the emulator, its modules and its
/// firmware, in the places in which it looks for them beside its own. Shared libraries stay the
/// host's, whose packages keep them compatible.
///
/// @param binary the copy of the emulator; the emulator itself when it works only where it is
/// @param sha256 of it
/// @param arguments that tell it where the copied firmware lies
record QemuCopy(Path binary, String sha256, List<String> arguments) {
  /// Where distributions have firmware, beside the folder of the programs.
  private static final List<String> FIRMWARE =
      List.of(
          "share/qemu",
          "share/qemu-kvm",
          "share/qemu-firmware",
          "share/seabios",
          "share/seavgabios",
          "share/ipxe/qemu");

  /// What else an emulator has there: its modules, and the boot ROMs of network cards.
  private static final List<String> MODULES =
      List.of(
          "lib/x86_64-linux-gnu/qemu", "lib64/qemu", "lib64/qemu-kvm", "lib/qemu", "lib/ipxe/qemu");

  /// What a QEMU that was not installed has beside it: links into the folder that it was built in.
  private static final String BUILD_FOLDER = "qemu-bundle";

  /// Copies what belongs to an emulator. One that lies where it was built is left there.
  ///
  /// @param binary without links in its path
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when it was replaced meanwhile
  static QemuCopy of(Path binary, Path staging) {
    try {
      if (Files.exists(binary.resolveSibling(BUILD_FOLDER))) {
        return new QemuCopy(binary, ReleaseFolders.sha256(binary), List.of());
      }
      // The names of the folders are kept: it finds its modules by the way from its own.
      Path root = staging.resolve("root/usr");
      Path programs = binary.resolveSibling("");
      Path copy =
          root.resolve(String.valueOf(programs.getFileName()))
              .resolve(String.valueOf(binary.getFileName()));
      FileCopies.file(binary, copy);
      List<String> arguments = new ArrayList<>();
      for (String folder : FIRMWARE) {
        if (copied(programs, folder, root)) {
          arguments.addAll(List.of("-L", root.resolve(folder).toString()));
        }
      }
      for (String folder : MODULES) {
        var _ = copied(programs, folder, root);
      }
      String sha256 = ReleaseFolders.sha256(copy);
      if (!ReleaseFolders.sha256(binary).equals(sha256)) {
        throw Problem.RELEASE_DAMAGED.because(
            binary + " was replaced while it was copied; add it again.");
      }
      return new QemuCopy(copy, sha256, arguments);
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(binary + " cannot be copied: " + e.getMessage(), e);
    }
  }

  /// Copies what belongs to the emulator that a process runs; where its file has been replaced, the
  /// emulator alone, out of the process.
  ///
  /// @param named where the process found it
  /// @param program the emulator, opened
  /// @param sha256 of it
  /// @return the copy of it
  /// @throws HyperFreshException as [#of]
  static Path ofProcess(Path named, Path program, String sha256, Path staging) throws IOException {
    if (Files.isExecutable(named) && ReleaseFolders.sha256(named).equals(sha256)) {
      QemuCopy copy = of(named, staging);
      if (!copy.sha256().equals(sha256)) {
        throw Problem.RELEASE_DAMAGED.because(
            named + " was replaced while it was copied; adopt the guest again.");
      }
      return copy.binary();
    }
    Path binary = staging.resolve("qemu-system-x86_64");
    FileCopies.file(program, binary);
    return binary;
  }

  private static boolean copied(Path programs, String folder, Path root) throws IOException {
    Path from = programs.resolve("..").resolve(folder).normalize();
    if (!Files.isDirectory(from)) {
      return false;
    }
    FileCopies.folder(from, root.resolve(folder));
    return true;
  }
}
