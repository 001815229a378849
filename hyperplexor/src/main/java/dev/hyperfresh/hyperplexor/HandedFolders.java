package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest.Earlier;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// The folders of guests that were handed back. A process that HyperFresh started may still read
/// files of its guest's folder, and writes its log there, so the folder stays until the process has
/// ended. It lies apart from those of guests: the next daemon is not to take the process for one of
/// a guest.
///
/// @param directory the state directory
record HandedFolders(Path directory) {
  private static final System.Logger LOG = System.getLogger(HandedFolders.class.getName());

  private Path folder() {
    return directory.resolve("handed");
  }

  /// Moves the folder of a guest here, at once: before this the guest is one of this state
  /// directory, and afterwards it is not.
  ///
  /// @param files the guest's folder, called as the guest
  /// @param running its instance
  /// @param borrowed the process that it was borrowed with
  /// @throws HyperFreshException [Problem#DAEMON_STATE]; nothing was moved
  void keep(Path files, Instance running, int borrowed) {
    OwnFolder.closed(folder());
    // One process may be handed back several times, and what it was kept for stays.
    sweep();
    Path kept =
        folder()
            .resolve(
                "%s.%d.%d.%d"
                    .formatted(files.getFileName(), running.pid(), borrowed, running.generation()));
    try {
      Files.move(files, kept, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(
          files + " cannot become " + kept + ": " + e.getMessage(), e);
    }
  }

  /// How a process was started that was handed back.
  Optional<Earlier> find(int pid) {
    for (Path kept : all()) {
      Optional<GuestFile> file =
          Contained.get("reading " + kept, () -> GuestFile.read(kept), Optional.empty());
      Optional<AdoptedMachine> machine =
          file.filter(HandedFolders::isInUse)
              .filter(known -> known.running().pid() == pid)
              .flatMap(GuestFile::adopted);
      if (machine.isPresent()) {
        return machine.map(known -> new Earlier(kept, known.words()));
      }
    }
    return Optional.empty();
  }

  /// The names of the guests whose processes run a release. One that cannot be read may.
  List<String> on(String release) {
    return all().stream()
        .filter(kept ->
            Contained.get(
                "reading " + kept,
                () ->
                    GuestFile.read(kept)
                        .filter(HandedFolders::isInUse)
                        .filter(known -> known.running().release().equals(release))
                        .isPresent(),
                true))
        .map(kept -> String.valueOf(kept.getFileName()).split("\\.")[0])
        .toList();
  }

  /// Removes those of processes that have ended.
  void sweep() {
    for (Path kept : all()) {
      try {
        if (GuestFile.read(kept).filter(HandedFolders::isInUse).isEmpty()) {
          OwnFolder.delete(kept);
        }
      } catch (HyperFreshException e) {
        LOG.log(System.Logger.Level.WARNING, kept + " stays", e);
      }
    }
  }

  /// The process that something else started uses nothing of its guest's folder.
  private static boolean isInUse(GuestFile file) {
    return !AdoptedMachine.isFirst(file.running().generation()) && file.running().processLives();
  }

  private List<Path> all() {
    if (!Files.isDirectory(folder())) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(folder())) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder() + " cannot be read: " + e.getMessage(), e);
    }
  }
}
