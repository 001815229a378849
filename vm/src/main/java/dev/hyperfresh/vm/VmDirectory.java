package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ProcessIdentity;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// What is written down of the virtual machines of one kind: each has a folder. Thread-safe.
///
/// @param path where the folders are
/// @param earlierFile in which an earlier version of HyperFresh wrote one down
/// @param definitions what they are made of
record VmDirectory(Path path, String earlierFile, VmDefinitions definitions) {
  /// The folder with the logs of one, which may be gone.
  Path files(String name) {
    return path.resolve(name);
  }

  /// Those of all of them, sorted.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  List<Path> folders() {
    if (!Files.isDirectory(path)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(path)) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// What is written of one that runs; empty when it cannot be read.
  static Optional<VmFile> legible(Path folder) {
    try {
      return VmFile.read(folder);
    } catch (HyperFreshException damaged) {
      return Optional.empty();
    }
  }

  /// The process that is the hardware of one, if it lives.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when that cannot be told
  Optional<ProcessIdentity> living(String name) {
    return VmFile.read(files(name)).map(VmFile::process).filter(ProcessIdentity::lives);
  }

  /// See [VmStock#on].
  List<String> on(String release) {
    return folders().stream()
        .filter(folder -> mayUse(folder, release))
        .map(folder -> String.valueOf(folder.getFileName()))
        .toList();
  }

  /// What cannot be read counts: its release must not be removed under it.
  private boolean mayUse(Path folder, String release) {
    try {
      Optional<VmFile> file = VmFile.read(folder);
      if (definitions.mayBoot(String.valueOf(folder.getFileName()), release)) {
        return true;
      }
      if (file.isPresent()) {
        VmFile vm = file.get();
        return (vm.release().equals(release) || vm.hardware().equals(release))
            && vm.process().lives();
      }
      Path earlier = folder.resolve(earlierFile);
      return Files.exists(earlier) && EarlierFile.read(earlier).mayUse(release);
    } catch (HyperFreshException damaged) {
      return true;
    }
  }

  /// Removes the folder of one.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void delete(String name) {
    try (Stream<Path> files = Files.walk(files(name))) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException | UncheckedIOException e) {
      throw Problem.DAEMON_STATE.because(files(name) + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
