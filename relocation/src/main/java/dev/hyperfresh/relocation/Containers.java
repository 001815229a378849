package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// All containers of a state directory: those that run, and those that have ended and were not
/// removed. Thread-safe.
///
/// A container that has ended is nowhere but in its folder and in [Lives]: its OS, its network port
/// and its placement are free. Its files are only removed by [#remove].
final class Containers implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Containers.class.getName());

  /// The least that an OS must have left for a container that comes to it because its own has
  /// ended.
  private static final long LEAST_ROOM_BYTES = 64L << 20;

  /// How long the end of a container that was brought about may take to be told.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

  private final Path folder;
  private final ContainerStart starting;
  private final Hosts hosts;
  private final Occupancy occupancy;
  private final SystemsWatch watch;

  /// Names in use, as `container/NAME`: from before anything of a container is made until nothing
  /// of it is left.
  private final Set<String> names;

  private final Map<String, Container> running = new ConcurrentHashMap<>();
  private final Lives lives;
  private final Volumes volumes;
  private final ContainerLife life =
      new ContainerLife(this::clearUp, container -> changed(container.name()));
  private final HealthWatch health = new HealthWatch(life, container -> changed(container.name()));
  private final Restarts restarts;

  /// Those that have ended and are being started again or removed, as they were before.
  private final Map<String, Life> busy = new ConcurrentHashMap<>();

  private volatile Consumer<String> told = line -> LOG.log(System.Logger.Level.INFO, line);

  /// The operating systems.
  interface Hosts {
    /// @throws HyperFreshException [Problem#OS_UNKNOWN]
    OsVm get(String name);

    Optional<OsVm> find(String name);

    List<OsVm> list();

    /// Why something of an earlier daemon is not taken back yet; empty when there is no such thing.
    ///
    /// @param what such as `OS web` or `Container web`
    String waiting(String what);

    /// Whether a container stands because it may have run in an OS that is gone.
    boolean isInDoubt(String name);
  }

  /// @param state the state directory
  /// @param names in use, also of others
  /// @param watch told of containers that change
  Containers(Path state, Hosts hosts, Occupancy occupancy, Set<String> names, SystemsWatch watch) {
    this.folder = state.resolve("containers");
    this.starting = new ContainerStart(folder, state.resolve("placements"));
    this.hosts = hosts;
    this.occupancy = occupancy;
    this.watch = watch;
    this.names = names;
    this.lives = new Lives(state.resolve("lives"));
    this.volumes = new Volumes(state);
    this.restarts = new Restarts(lives, life, this::startLater);
  }

  /// Reads what an earlier daemon has written down, before the containers that run are taken back.
  ///
  /// @param placed those that may run
  void recover(List<String> placed, Consumer<String> tell) {
    told = tell;
    lives.load(tell);
    for (Life known : lives.list()) {
      names.add(known.name());
      if (known.end().isEmpty() && !placed.contains(known.name())) {
        neverPlaced(known);
      }
    }
    names.addAll(placed);
    volumes.recover(this::mayBe, this::folderOf, tell);
  }

  /// Whether there is, or may be, a container of that name, or its files.
  private boolean mayBe(String name) {
    return names.contains(name) || Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS);
  }

  private void neverPlaced(Life known) {
    if (known.started()) {
      lives.note(known.name(), life -> life.ended(ContainerState.Ended.unknown(Instant.now(), "")));
    } else {
      // It was being made. Its folder, if there is one, is left over.
      lives.forget(known.name());
      names.remove(known.name());
    }
  }

  /// Starts again what is to be started again, when all that runs has been taken back.
  void resume() {
    lives.list().stream()
        .filter(known -> known.end().isPresent())
        .forEach(known -> restarts.consider(known.name()));
  }

  /// One that runs is this daemon's from now on.
  void take(Container container) {
    String name = container.name();
    if (lives.find(name).isEmpty()) {
      // Of a daemon that wrote down less.
      lives.found(
          Life.begun(container.spec(), container.os().name(), RestartPolicy.NO, Instant.now()));
    }
    if (lives.find(name).filter(known -> known.started() && known.end().isEmpty()).isEmpty()) {
      lives.note(name, known -> known.runs(container.os().name(), Instant.now()));
    }
    names.add(name);
    running.put(name, container);
    life.follow(container);
    health.follow(container, lives.find(name).map(Life::since).orElseGet(Instant::now));
  }

  /// Looks whether containers work.
  HealthWatch health() {
    return health;
  }

  /// One that an earlier daemon left has ended.
  ///
  /// @return whether it had ever run; else nothing of it is left
  boolean endedUnseen(Placement at, ContainerState how) {
    String name = at.name();
    boolean isNew = at.pid() == 0 && lives.find(name).filter(Life::started).isEmpty();
    if (isNew) {
      discard(name);
      lives.forget(name);
      names.remove(name);
      return false;
    }
    if (lives.find(name).isEmpty()) {
      lives.found(Life.begun(at.spec(), at.os(), RestartPolicy.NO, Instant.now()));
    }
    lives.note(name, known -> known.end().isPresent() ? known : known.in(at.os()).ended(how));
    changed(name);
    restarts.consider(name);
    return true;
  }

  /// What is told of containers is looked up and told on one thread, so that the last word is true.
  private void changed(String name) {
    life.after(Duration.ZERO, () -> lives.find(name).flatMap(this::view).ifPresent(watch::changed));
  }

  /// Removes a container's files, and leaves its volumes.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  private void discard(String name) {
    ContainerFolder files = folderOf(name);
    volumes.release(name, files, told);
    files.delete();
  }

  /// All volumes, by name.
  List<VolumeView> volumes() {
    return volumes.list(this::folderOf);
  }

  /// See [Volumes#create].
  void createVolume(String name) {
    volumes.create(name);
  }

  /// See [Volumes#remove].
  void removeVolume(String name) {
    volumes.remove(name);
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

  /// The names of those that have ended and ran last in an OS.
  List<String> endedIn(String os) {
    return views().stream()
        .filter(view -> view.state().hasEnded() && view.os().equals(os))
        .map(ContainerView::name)
        .toList();
  }

  /// Those that have ended in an OS are started in another one the next time.
  void follow(String os, String other) {
    for (String name : endedIn(os)) {
      lives.note(name, known -> known.in(other));
    }
  }

  /// One that runs.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]; [Problem#CONTAINER_STATE] when it has
  ///   ended
  Container get(String name) {
    Container container = running.get(name);
    if (container != null) {
      return container;
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

  private Optional<Life> known(String name) {
    return Optional.ofNullable(busy.get(name)).or(() -> lives.find(name));
  }

  private HyperFreshException unknown(String name) {
    String why = hosts.waiting("Container " + name);
    if (hosts.isInDoubt(name)) {
      return Problem.RELOCATE_DOUBT.because(why);
    }
    return Problem.CONTAINER_UNKNOWN.because(
        why.isEmpty()
            ? "'" + name + "' is no container."
            : "Container " + name + " is not taken back: " + why);
  }

  /// All of them, by name.
  List<ContainerView> views() {
    return lives.list().stream().flatMap(known -> view(known).stream()).toList();
  }

  /// Any of them.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  ContainerView view(String name) {
    return lives.find(name).flatMap(this::view).orElseThrow(() -> unknown(name));
  }

  private Optional<ContainerView> view(Life found) {
    Container container = running.get(found.name());
    if (container != null) {
      return Optional.of(view(found, container.state(), container.os().name(), container.pid()));
    }
    Life known = busy.getOrDefault(found.name(), found);
    return known.end().map(state -> view(known, state, known.os(), 0));
  }

  private ContainerView view(Life known, ContainerState state, String os, int pid) {
    Optional<Restarts.Next> next = restarts.next(known.name());
    return new ContainerView(
        known.spec(),
        state,
        os,
        hosts.find(os).map(where -> where.settings().release().kernelVersion()),
        pid,
        log(known.name()),
        known.restart(),
        known.restarts(),
        next.map(Restarts.Next::at),
        next.map(Restarts.Next::failure).orElse(""),
        Optional.ofNullable(running.get(known.name())).flatMap(health::of));
  }

  /// What a container has written, on this host.
  private Path log(String name) {
    return folderOf(name).log();
  }

  private ContainerFolder folderOf(String name) {
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

  /// Makes a container and starts it. See [Systems#run].
  ///
  /// @param files gives what it is made of, when its name is known to be free
  Container run(
      ContainerSpec spec,
      Supplier<Bundle> files,
      RestartPolicy restart,
      String os,
      Progress progress) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.CONTAINER_SPEC.because(String.join("; ", faults));
    }
    OsVm where = hosts.get(os);
    String name = spec.name();
    if (!names.add(name)) {
      throw Problem.CONTAINER_EXISTS.because(
          known(name)
              .flatMap(Life::end)
              .map(end -> name + " has ended (" + end.how() + "), and its files are here.")
              .orElse("Container " + name + " is here already."));
    }
    boolean made = false;
    try (Occupancy.Place _ = occupancy.take(os, name + " is starting", () -> inside(os))) {
      if (Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS)) {
        throw Problem.CONTAINER_EXISTS.because(
            "Files of a container " + name + " are here, which nobody knows any more.");
      }
      Container container = first(spec, files, restart, where, progress);
      take(container);
      made = true;
      return container;
    } finally {
      if (!made) {
        names.remove(name);
      }
    }
  }

  private Container first(
      ContainerSpec spec,
      Supplier<Bundle> files,
      RestartPolicy restart,
      OsVm os,
      Progress progress) {
    try (Volumes.Claim claim = volumes.claim(spec, folderOf(spec.name()))) {
      Bundle bundle = files.get();
      bundle.require(spec.volumes());
      bundle.remarks().forEach(remark -> progress.step("remark", remark));
      Container container = first(spec, bundle, claim, restart, os, progress);
      claim.keep();
      return container;
    }
  }

  private Container first(
      ContainerSpec spec,
      Bundle bundle,
      Volumes.Claim claim,
      RestartPolicy restart,
      OsVm os,
      Progress progress) {
    try {
      progress.step("create", "copying " + bundle.root());
      starting.fill(spec, bundle, claim);
      lives.put(Life.begun(spec, os.name(), restart, Instant.now()));
      // One of the same name may have left something.
      new Inside(os, spec).clear();
      return starting.launch(spec, os, progress);
    } catch (TroubleException | LinuxException | IOException | HyperFreshException e) {
      if (os.vm().released()) {
        // The next daemon decides.
        claim.keep();
      } else {
        discard(spec.name());
        lives.forget(spec.name());
      }
      throw Problem.CONTAINER_START.because(spec.name() + ": " + e.getMessage() + ".", e);
    }
  }

  /// Starts one that has ended. See [Systems#start].
  Container start(String name, Optional<String> os, Progress progress) {
    Life before = begin(name);
    restarts.forget(name);
    try {
      lives.change(name, known -> known.again(false));
      return again(before, os, progress);
    } finally {
      busy.remove(name);
      restarts.consider(name);
    }
  }

  /// By its policy, on a thread of its own.
  private void startLater(String name, Restarts.Done done) {
    life.apart(name, () -> done.accept(failureOf(name)));
  }

  private Optional<HyperFreshException> failureOf(String name) {
    try {
      Life before = begin(name);
      try {
        var _ = again(before, Optional.empty(), Progress.NONE);
        told.accept("Container " + name + " was started again in " + view(name).os() + ".");
        return Optional.empty();
      } finally {
        busy.remove(name);
      }
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.DEBUG, name + " is not started again yet", e);
      return Optional.of(e);
    }
  }

  /// One that has ended is cleared up now, and not a moment later.
  private void settle(String name) {
    Optional.ofNullable(running.get(name))
        .filter(container -> container.state().hasEnded())
        .ifPresent(this::clearUp);
  }

  /// Nobody else has to do with a container that has ended, from now on.
  private Life begin(String name) {
    settle(name);
    if (running.containsKey(name)) {
      throw Problem.CONTAINER_STATE.because(name + " runs.");
    }
    Life known = lives.find(name).orElseThrow(() -> unknown(name));
    if (known.end().isEmpty() || busy.putIfAbsent(name, known) != null) {
      throw Problem.CONTAINER_STATE.because(name + " is being started or removed.");
    }
    return known;
  }

  private Container again(Life before, Optional<String> os, Progress progress) {
    String name = before.name();
    OsVm where = os.map(hosts::get).orElseGet(() -> placeFor(before));
    try (Occupancy.Place _ =
        occupancy.take(where.name(), name + " is starting", () -> inside(where.name()))) {
      Life begun = lives.find(name).orElse(before);
      lives.put(begun.runs(where.name(), Instant.now()));
      try {
        // What an earlier end may have left.
        new Inside(where, before.spec()).clear();
        Container container = starting.launch(before.spec(), where, progress);
        take(container);
        return container;
      } catch (TroubleException | LinuxException | HyperFreshException e) {
        if (!where.vm().released()) {
          lives.note(name, _ -> before);
        }
        throw Problem.CONTAINER_START.because(name + ": " + e.getMessage() + ".", e);
      }
    }
  }

  /// Where it ran; when that has ended, where most memory is free.
  private OsVm placeFor(Life ended) {
    Optional<OsVm> same = hosts.find(ended.os()).filter(os -> !os.ended());
    if (same.isPresent()) {
      return same.get();
    }
    String why = hosts.waiting("OS " + ended.os());
    if (!why.isEmpty()) {
      throw Problem.OS_UNKNOWN.because("OS " + ended.os() + " is not taken back: " + why);
    }
    return hosts.list().stream()
        .filter(os -> !os.ended())
        .map(Room::of)
        .filter(room -> room.bytes() >= LEAST_ROOM_BYTES)
        .max(Comparator.comparingLong(Room::bytes))
        .map(Room::os)
        .orElseThrow(() ->
            Problem.OS_UNKNOWN.because(
                "OS " + ended.os() + " has ended, and no other has 64 MiB of memory free."));
  }

  /// @param bytes free in an OS; 0 when it does not answer
  private record Room(OsVm os, long bytes) {
    static Room of(OsVm os) {
      try {
        return new Room(os, os.availableBytes());
      } catch (TroubleException e) {
        LOG.log(System.Logger.Level.DEBUG, os.name() + " does not answer", e);
        return new Room(os, 0);
      }
    }
  }

  /// Ends a container; its files stay. See [Systems#stop].
  void stop(String name, Duration patience) {
    Container container = running.get(name);
    if (container == null) {
      stopEnded(name);
      return;
    }
    if (!container.lock(HealthWatch.patience(container))) {
      throw Problem.CONTAINER_STATE.because(name + " is being moved or looked into.");
    }
    try {
      if (!container.equals(running.get(name))) {
        stopEnded(name);
        return;
      }
      lives.change(name, known -> known.stopped(true));
      end(container, patience);
      retire(container);
    } finally {
      container.lock().unlock();
    }
  }

  private void stopEnded(String name) {
    if (busy.containsKey(name)) {
      throw Problem.CONTAINER_STATE.because(name + " is being started or removed.");
    }
    var _ = lives.find(name).orElseThrow(() -> unknown(name));
    restarts.forget(name);
    lives.change(name, known -> known.stopped(true));
  }

  private void end(Container container, Duration patience) {
    OsVm os = container.os();
    if (os.ended() || container.state().hasEnded()) {
      return;
    }
    try {
      new Inside(os, container.spec()).stop(patience);
    } catch (TroubleException e) {
      lives.note(container.name(), known -> known.stopped(false));
      throw Problem.CONTAINER_STATE.because(container.name() + ": " + e.getMessage() + ".", e);
    }
    if (!container.hasEnded(END_LIMIT)) {
      container.ended(os, ContainerState.Ended.unknown(Instant.now(), ""));
    }
  }

  private void clearUp(Container container) {
    container.lock().lock();
    try {
      boolean still = container.equals(running.get(container.name()));
      if (still && container.state().hasEnded() && !container.os().vm().released()) {
        retire(container);
      }
    } finally {
      container.lock().unlock();
    }
  }

  /// An OS that has not let go of a container is not to have its files.
  private static void cutOff(Container container) {
    try {
      new Inside(container.os(), container.spec()).cutOff();
    } catch (TroubleException | LinuxException e) {
      LOG.log(System.Logger.Level.WARNING, container.name() + " keeps its file server", e);
    }
  }

  /// What has ended gives up all that it has but its files.
  private void retire(Container container) {
    String name = container.name();
    OsVm os = container.os();
    ContainerState how = container.state();
    life.leave(container);
    health.leave(container);
    lives.note(name, known -> known.in(os.name()).ended(how));
    if (!os.ended()) {
      try {
        new Inside(os, container.spec()).clear();
      } catch (TroubleException | LinuxException e) {
        // Whoever starts it there again, or moves it there, begins with that.
        cutOff(container);
        LOG.log(System.Logger.Level.WARNING, name + " left something in OS " + os.name(), e);
      }
    }
    container.port().ifPresent(Tap::close);
    try {
      container.forget();
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, name + " is written down as if it ran", e);
    }
    running.remove(name, container);
    told.accept("Container " + name + " has ended: " + how.how() + ".");
    changed(name);
    restarts.consider(name);
  }

  /// Removes a container and its files, or files that nobody knows. See [Systems#remove].
  void remove(String name, boolean force) {
    settle(name);
    if (running.containsKey(name)) {
      if (!force) {
        throw Problem.CONTAINER_STATE.because(name + " runs.");
      }
      stop(name, Duration.ZERO);
    }
    if (lives.find(name).isPresent()) {
      removeEnded(name);
    } else {
      removeLeftOver(name);
    }
  }

  private void removeEnded(String name) {
    var _ = begin(name);
    try {
      restarts.forget(name);
      discard(name);
      lives.forget(name);
      life.after(Duration.ZERO, () -> watch.removed(name));
      names.remove(name);
    } finally {
      busy.remove(name);
    }
  }

  private void removeLeftOver(String name) {
    if (!GuestSpec.isName(name) || !names.add(name)) {
      throw unknown(name);
    }
    try {
      if (!Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS)) {
        throw unknown(name);
      }
      discard(name);
    } finally {
      names.remove(name);
    }
  }

  /// Nothing is noticed or started again any more.
  void rest() {
    life.close();
  }

  /// Lets go of all of them, which go on.
  void letGo() {
    running.values().forEach(container -> container.port().ifPresent(Tap::close));
    running.clear();
  }

  /// Their operating systems have been ended, and so have they.
  @Override
  public void close() {
    rest();
    for (Container container : running.values()) {
      container.port().ifPresent(Tap::close);
      lives.note(
          container.name(),
          known -> known.ended(new ContainerState.Lost(container.os().name(), Instant.now())));
      container.forget();
    }
    running.clear();
  }
}
