package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/// Which containers there are: the names in use, those that run, those that are being started or
/// removed, the [Life] of each, and their folders. Thread-safe.
///
/// A container that has ended is nowhere but in its folder and in [Lives].
final class ContainerRegistry {
  private final Path folder;
  private final Hosts hosts;

  /// Names in use, from before anything of a container is made until nothing of it is left.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  private final Map<String, Container> running = new ConcurrentHashMap<>();

  /// Those that have ended and are being started again or removed, as they were before.
  private final Map<String, Life> busy = new ConcurrentHashMap<>();

  private final Lives lives;

  /// @param folder the folder of all containers' folders
  ContainerRegistry(Path folder, Hosts hosts, Lives lives) {
    this.folder = folder;
    this.hosts = hosts;
    this.lives = lives;
  }

  Lives lives() {
    return lives;
  }

  // Names and folders.

  /// A name is in use from now on.
  ///
  /// @return whether it was not before
  boolean claim(String name) {
    return names.add(name);
  }

  void claim(List<String> more) {
    names.addAll(more);
  }

  /// Nothing is left of the container of that name.
  void release(String name) {
    names.remove(name);
  }

  /// Whether there is, or may be, a container of that name, or its files.
  boolean mayBe(String name) {
    return names.contains(name) || hasFiles(name);
  }

  boolean hasFiles(String name) {
    return Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS);
  }

  ContainerFolder folderOf(String name) {
    return new ContainerFolder(folder.resolve(name));
  }

  /// The names of folders of containers that nobody knows, by name.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  List<String> leftOvers() {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(folder)) {
      return all.map(path -> String.valueOf(path.getFileName()))
          .filter(name -> GuestSpec.isName(name) && !names.contains(name))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + ": " + e.getMessage(), e);
    }
  }

  // Those that run.

  void add(Container container) {
    running.put(container.name(), container);
  }

  void remove(Container container) {
    running.remove(container.name(), container);
  }

  /// This daemon has none of them any more.
  void clear() {
    running.clear();
    names.clear();
  }

  Optional<Container> find(String name) {
    return Optional.ofNullable(running.get(name));
  }

  boolean has(Container container) {
    return container.equals(running.get(container.name()));
  }

  /// Those that run, by name.
  List<Container> running() {
    return running.values().stream().sorted(Comparator.comparing(Container::name)).toList();
  }

  /// The names of those that keep an OS from being ended.
  List<String> inside(String os) {
    return running().stream()
        .filter(container -> container.os().name().equals(os))
        .filter(container -> !container.state().hasEnded())
        .map(Container::name)
        .toList();
  }

  /// One that runs.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]; [Problem#CONTAINER_STATE] when it has
  ///   ended
  Container get(String name) {
    Optional<Container> container = find(name);
    if (container.isPresent()) {
      ContainerState state = container.get().state();
      if (state.hasEnded()) {
        throw Problem.CONTAINER_STATE.because(name + " has ended: " + state.how() + ".");
      }
      return container.get();
    }
    if (hosts.isInDoubt(name)) {
      throw unknown(name);
    }
    throw known(name)
        .map(life -> Problem.CONTAINER_STATE.because(name + " has ended: " + how(life) + "."))
        .orElseGet(() -> unknown(name));
  }

  private static String how(Life life) {
    return life.end().map(ContainerState::how).orElse("it is being started");
  }

  // Those that have ended.

  /// What is known of a container; of one that is being started or removed, what it was before.
  Optional<Life> known(String name) {
    return Optional.ofNullable(busy.get(name)).or(() -> lives.find(name));
  }

  /// Nobody else has to do with a container that has ended, from now on until [#done].
  ///
  /// @return what it was before
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  Life begin(String name) {
    Optional<Container> container = find(name);
    if (container.isPresent()) {
      OsVm os = container.get().os();
      throw Problem.CONTAINER_STATE.because(
          container.get().state().hasEnded()
              ? name + " has ended, but OS " + os.name() + " has not released it yet."
              : name + " runs.");
    }
    Life known = lives.find(name).orElseThrow(() -> unknown(name));
    if (hosts.isTakingBack(name)) {
      throw Problem.CONTAINER_STATE.because(
          "Container " + name + " is not reattached yet: " + hosts.waiting("Container " + name));
    }
    if (known.end().isEmpty() || busy.putIfAbsent(name, known) != null) {
      throw isBusy(name);
    }
    return known;
  }

  void done(String name) {
    busy.remove(name);
  }

  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when somebody else has to do with it
  void requireIdle(String name) {
    if (busy.containsKey(name)) {
      throw isBusy(name);
    }
  }

  private static HyperFreshException isBusy(String name) {
    return Problem.CONTAINER_STATE.because(name + " is being started or removed.");
  }

  /// Why there is no container of that name.
  HyperFreshException unknown(String name) {
    String why = hosts.waiting("Container " + name);
    if (hosts.isInDoubt(name)) {
      return Problem.RELOCATE_DOUBT.because(why);
    }
    return Problem.CONTAINER_UNKNOWN.because(
        why.isEmpty()
            ? "'" + name + "' is not a container."
            : "Container " + name + " is not reattached: " + why);
  }
}
