package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.vm.StateFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// Folders with names of their own, which stay when the container is removed that has them.
/// Thread-safe.
///
/// One container has a volume at a time: the kernels of two operating systems would not see what
/// the other one writes. Its folder is then in that container's, so it is wherever the container
/// is; otherwise it is in `volumes`. Who has it is written down before it is moved, and taken back
/// after that: so after any crash it is in one of the two places, and both are known.
final class Volumes {
  /// With this begins what is being made, or was removed: nobody's, whatever becomes of it.
  private static final String GONE = ".gone.";

  private final Path folder;

  /// @param state the state directory
  Volumes(Path state) {
    this.folder = state.resolve("volumes");
  }

  /// What is written down of a volume.
  ///
  /// @param container whose it is, if anybody's
  record Kept(String name, Instant createdAt, Optional<String> container) {
    Kept of(Optional<String> other) {
      return new Kept(name, createdAt, other);
    }
  }

  private Path home(String name) {
    return folder.resolve(name);
  }

  private Kept read(String name) {
    return find(name)
        .orElseThrow(() ->
            Problem.VOLUME_UNKNOWN.because("'" + ConfigFields.shown(name) + "' is not a volume."));
  }

  private Optional<Kept> find(String name) {
    if (!GuestSpec.isName(name)) {
      return Optional.empty();
    }
    Path file = StateFile.of(folder, name);
    Optional<Kept> found = StateFile.readWithSum(file, Kept.class);
    if (found.filter(kept -> !kept.name().equals(name)).isPresent()) {
      throw Problem.DAEMON_STATE.because(file + " does not belong to volume " + name + ".");
    }
    return found;
  }

  private void write(Kept kept) {
    StateFile.write(StateFile.of(StateFile.folder(folder), kept.name()), kept);
  }

  /// All of them, by name.
  ///
  /// @param homes the folder of a container
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  synchronized List<VolumeView> list(Function<String, ContainerFolder> homes) {
    return StateFile.names(folder).stream().map(name -> view(name, homes)).toList();
  }

  private VolumeView view(String name, Function<String, ContainerFolder> homes) {
    try {
      Kept kept = read(name);
      Path where =
          kept.container()
              .map(user -> homes.apply(user).share().resolve(ContainerFolder.VOLUMES))
              .orElse(folder);
      return new VolumeView(
          name, Optional.of(kept.createdAt()), kept.container(), where.resolve(name), "");
    } catch (HyperFreshException e) {
      return new VolumeView(name, Optional.empty(), Optional.empty(), home(name), e.detail());
    }
  }

  /// Makes an empty one.
  ///
  /// @throws HyperFreshException [Problem#SPEC_INVALID], [Problem#VOLUME_EXISTS],
  ///   [Problem#DAEMON_STATE]
  synchronized void create(String name) {
    if (!GuestSpec.isName(name)) {
      throw Problem.SPEC_INVALID.because(
          "'"
              + ConfigFields.shown(name)
              + "' is not 1 to 32 letters, digits or '-', starting with a letter.");
    }
    if (find(name).isPresent()) {
      throw Problem.VOLUME_EXISTS.because("Volume " + name + " exists already.");
    }
    make(name);
    write(new Kept(name, Instant.now(), Optional.empty()));
  }

  private void make(String name) {
    StateFile.folder(folder);
    if (Files.isDirectory(home(name), LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try {
      Path made = Files.createDirectory(home(name));
      Files.setPosixFilePermissions(made, PosixFilePermissions.fromString("rwxr-xr-x"));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home(name) + " cannot be created: " + e, e);
    }
  }

  /// Removes one that nobody has, and all that is in it.
  ///
  /// @throws HyperFreshException [Problem#VOLUME_UNKNOWN], [Problem#VOLUME_IN_USE],
  ///   [Problem#DAEMON_STATE]
  void remove(String name) {
    delete(takeAway(name));
  }

  /// Nobody has to wait until all of it is deleted.
  private synchronized Path takeAway(String name) {
    requireFree(read(name));
    Path away = folder.resolve(GONE + name + "." + System.nanoTime());
    try {
      if (Files.isDirectory(home(name))) {
        Files.move(home(name), away, StandardCopyOption.ATOMIC_MOVE);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home(name) + " cannot be removed: " + e, e);
    }
    StateFile.remove(StateFile.of(folder, name));
    return away;
  }

  private static void delete(Path path) {
    try {
      new ContainerFolder(path).delete();
    } catch (HyperFreshException e) {
      // The next daemon goes on with it.
      System.getLogger(Volumes.class.getName())
          .log(System.Logger.Level.WARNING, path + " stays", e);
    }
  }

  private static void requireFree(Kept volume) {
    volume
        .container()
        .ifPresent(user -> {
          throw Problem.VOLUME_IN_USE.because(
              volume.name() + " belongs to container " + user + ".");
        });
  }

  /// Volumes that a container is about to get. What is not kept when this is closed is as it was
  /// before: the container's folder is gone then, or was never there.
  final class Claim implements AutoCloseable {
    private final ContainerSpec spec;
    private final ContainerFolder home;
    private final List<String> created = new ArrayList<>();
    private final List<String> empty = new ArrayList<>();
    private final Map<String, Path> drafts = new HashMap<>();
    private boolean kept;

    private Claim(ContainerSpec spec, ContainerFolder home) {
      this.spec = spec;
      this.home = home;
    }

    /// Whether nothing is in a volume, before [#put].
    boolean isEmpty(String name) {
      return empty.contains(name);
    }

    /// A folder that is not there yet, for what an empty volume is to begin with.
    Path draft(String name) {
      return drafts.computeIfAbsent(
          name, _ -> folder.resolve(GONE + name + "." + System.nanoTime()));
    }

    /// The volume has from now on what is in its [#draft]: all of it, or nothing.
    void begin(String name) throws IOException {
      Files.move(draft(name), Volumes.this.home(name), StandardCopyOption.ATOMIC_MOVE);
    }

    /// They are in the container's folder from now on. No OS has that.
    void put() throws IOException {
      for (VolumeMount mount : spec.volumes()) {
        home.putVolume(mount.volume(), Volumes.this.home(mount.volume()));
      }
    }

    /// The container has them.
    void keep() {
      kept = true;
    }

    @Override
    public void close() {
      if (!kept) {
        release(spec.name(), home, _ -> {});
        drafts.values().forEach(Volumes::delete);
        empty.forEach(Volumes.this::clear);
        created.forEach(Volumes.this::remove);
      }
    }
  }

  /// Writes down that a container has its volumes, and makes those that do not exist.
  ///
  /// @throws HyperFreshException [Problem#VOLUME_IN_USE], [Problem#DAEMON_STATE]; nothing has
  ///   changed then
  synchronized Claim claim(ContainerSpec spec, ContainerFolder home) {
    List<String> names = spec.volumes().stream().map(VolumeMount::volume).toList();
    names.forEach(name -> find(name).ifPresent(Volumes::requireFree));
    Claim claim = new Claim(spec, home);
    try {
      for (String name : names) {
        if (find(name).isEmpty()) {
          create(name);
          claim.created.add(name);
        }
        if (isEmpty(name)) {
          claim.empty.add(name);
        }
        write(read(name).of(Optional.of(spec.name())));
      }
      return claim;
    } catch (HyperFreshException e) {
      claim.close();
      throw e;
    }
  }

  private boolean isEmpty(String name) {
    // One that somebody has taken away by hand begins anew.
    make(name);
    try (Stream<Path> entries = Files.list(home(name))) {
      return entries.findAny().isEmpty();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(home(name) + " cannot be read: " + e, e);
    }
  }

  private synchronized void clear(String name) {
    new ContainerFolder(home(name)).delete();
    make(name);
  }

  /// A container has its volumes no longer, and no OS has its folder.
  ///
  /// @param told one sentence for each that was not there any more
  /// @throws HyperFreshException [Problem#DAEMON_STATE]; the rest is the container's still
  synchronized void release(String container, ContainerFolder home, Consumer<String> told) {
    for (String name : StateFile.names(folder)) {
      Optional<Kept> kept = find(name, home);
      if (kept.flatMap(Kept::container).equals(Optional.of(container))) {
        bringHome(name, home, told);
        write(kept.get().of(Optional.empty()));
      }
    }
  }

  /// Of one of which cannot be read whose it is, it matters whether it is here.
  private Optional<Kept> find(String name, ContainerFolder home) {
    try {
      return find(name);
    } catch (HyperFreshException e) {
      if (Files.exists(home.share().resolve(ContainerFolder.VOLUMES).resolve(name))) {
        throw e;
      }
      return Optional.empty();
    }
  }

  private void bringHome(String name, ContainerFolder from, Consumer<String> told) {
    try {
      if (Files.isDirectory(home(name)) || from.takeVolume(name, folder)) {
        return;
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(
          "Volume " + name + " stays in " + from.share() + ": " + e.getMessage(), e);
    }
    make(name);
    told.accept("Volume " + name + " is empty: its folder is missing from " + from.share() + ".");
  }

  /// Takes volumes back from containers that were never made, or are gone.
  ///
  /// @param isKnown whether there is a container of that name
  void recover(
      Predicate<String> isKnown, Function<String, ContainerFolder> homes, Consumer<String> told) {
    List<Path> nobodys = gone();
    var _ =
        Thread.ofPlatform()
            .name("hf-volumes")
            .daemon()
            .start(() -> nobodys.forEach(Volumes::delete));
    for (String name : StateFile.names(folder)) {
      try {
        find(name)
            .flatMap(Kept::container)
            .filter(isKnown.negate())
            .ifPresent(gone -> release(gone, homes.apply(gone), told));
      } catch (HyperFreshException e) {
        told.accept(e.detail());
      }
    }
  }

  /// What an earlier daemon has not made or deleted to the end.
  private List<Path> gone() {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.filter(path -> String.valueOf(path.getFileName()).startsWith(".")).toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be read: " + e, e);
    }
  }
}
