package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.StateFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/// The [Life] of each container, in memory and in a folder. Thread-safe.
///
/// No OS can write here.
final class Lives {
  private final Path folder;
  private final Map<String, Life> all = new ConcurrentHashMap<>();

  Lives(Path folder) {
    this.folder = folder;
  }

  /// Reads what an earlier daemon has written. What cannot be read is told, and left alone.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the folder cannot be read
  void load(Consumer<String> told) {
    for (String name : StateFile.names(folder)) {
      try {
        StateFile.read(file(name), Life.class)
            .filter(life -> life.name().equals(name) && life.spec().faults().isEmpty())
            .ifPresentOrElse(
                life -> all.put(name, life),
                () -> told.accept(file(name) + " does not belong to container " + name + "."));
      } catch (HyperFreshException e) {
        told.accept(e.detail());
      }
    }
  }

  private Path file(String name) {
    return StateFile.of(folder, name);
  }

  /// All of them, by name.
  List<Life> list() {
    return all.values().stream().sorted(Comparator.comparing(Life::name)).toList();
  }

  Optional<Life> find(String name) {
    return Optional.ofNullable(all.get(name));
  }

  /// A container's first, or another one in its place.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]; it is as it was then
  void put(Life life) {
    write(life);
    all.put(life.name(), life);
  }

  /// Changes what is known of a container, if it is known.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]; it is as it was then
  void change(String name, UnaryOperator<Life> change) {
    all.computeIfPresent(
        name,
        (_, life) -> {
          Life next = change.apply(life);
          if (!next.equals(life)) {
            write(next);
          }
          return next;
        });
  }

  /// As [#put], of one that is there whether it can be written down or not.
  void found(Life life) {
    try {
      put(life);
    } catch (HyperFreshException e) {
      unwritten(life.name(), e);
      all.put(life.name(), life);
    }
  }

  private static void unwritten(String name, HyperFreshException why) {
    System.getLogger(Lives.class.getName())
        .log(System.Logger.Level.WARNING, name + " is still recorded as it was", why);
  }

  /// As [#change], of what has happened whether it can be written down or not.
  void note(String name, UnaryOperator<Life> change) {
    try {
      change(name, change);
    } catch (HyperFreshException e) {
      unwritten(name, e);
      all.computeIfPresent(name, (_, life) -> change.apply(life));
    }
  }

  private void write(Life life) {
    try {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + ": " + e.getMessage(), e);
    }
    StateFile.keep(file(life.name()), life);
  }

  /// Nothing is known of a container any more.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void forget(String name) {
    StateFile.forget(file(name));
    all.remove(name);
  }
}
