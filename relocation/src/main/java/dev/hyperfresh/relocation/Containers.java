package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// All containers of a state directory: those that run, and those that have ended and were not
/// removed. It takes back what an earlier daemon has left, and has each part know of the others:
/// which there are ([ContainerRegistry]), how they start ([Starts]), end ([Endings]) and are
/// removed ([Removals]), and what is seen of them ([ContainerViews]). Thread-safe.
final class Containers implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Containers.class.getName());

  private final SystemsWatch watch;
  private final ContainerRegistry all;
  private final Volumes volumes;
  private final ContainerLife life =
      new ContainerLife(this::clearUp, container -> changed(container.name()));
  private final HealthWatch health = new HealthWatch(life, container -> changed(container.name()));
  private final Restarts restarts;
  private final Endings endings;
  private final Removals removals;
  private final Starts starts;
  private final ContainerViews views;

  private volatile Consumer<String> told = line -> LOG.log(System.Logger.Level.INFO, line);

  /// So many are started by themselves in one OS at once: one that has just booted has much to do,
  /// and what it does too late counts as a start that failed.
  private static final int STARTS_AT_ONCE = 2;

  private final Turns turns = new Turns(STARTS_AT_ONCE, life::apart);

  /// @param state the state directory
  /// @param watch told of containers that change
  Containers(Path state, Hosts hosts, Occupancy occupancy, SystemsWatch watch) {
    Path folder = state.resolve("containers");
    this.watch = watch;
    this.volumes = new Volumes(state);
    this.all = new ContainerRegistry(folder, hosts, new Lives(state.resolve("lives")));
    this.restarts = new Restarts(all.lives(), life, this::startLater);
    this.endings = new Endings(all, life, health, restarts, this::ended);
    this.removals = new Removals(all, endings, restarts, volumes, this::removed, this::tell);
    this.starts =
        new Starts(
            all,
            hosts,
            occupancy,
            volumes,
            new ContainerStart(folder, state.resolve("placements")),
            endings,
            restarts,
            removals,
            this::take);
    this.views = new ContainerViews(all, hosts, restarts, health);
  }

  /// Which there are.
  ContainerRegistry all() {
    return all;
  }

  /// What is seen of them.
  ContainerViews views() {
    return views;
  }

  /// Their volumes.
  Volumes volumes() {
    return volumes;
  }

  /// Looks whether containers work.
  HealthWatch health() {
    return health;
  }

  private void tell(String sentence) {
    told.accept(sentence);
  }

  // What an earlier daemon has left.

  /// Reads what an earlier daemon has written down, before the containers that run are taken back.
  ///
  /// @param placed those that may run
  void recover(List<String> placed, Consumer<String> tell) {
    told = tell;
    all.lives().load(tell);
    for (Life known : all.lives().list()) {
      var _ = all.claim(known.name());
      if (known.end().isEmpty() && !placed.contains(known.name())) {
        neverPlaced(known);
      }
    }
    all.claim(placed);
    volumes.recover(all::mayBe, all::folderOf, tell);
  }

  private void neverPlaced(Life known) {
    if (known.started()) {
      all.lives()
          .note(known.name(), life -> life.ended(ContainerState.Ended.unknown(Instant.now(), "")));
    } else {
      // It was being made. Its folder, if there is one, is left over.
      all.lives().forget(known.name());
      all.release(known.name());
    }
  }

  /// One that an earlier daemon left has ended, and nothing is left of it but its files.
  ///
  /// @return whether it had ever run; else nothing of it is left
  boolean endedUnseen(Placement at, ContainerState how) {
    String name = at.name();
    boolean isNew = at.pid() == 0 && all.lives().find(name).filter(Life::started).isEmpty();
    if (isNew) {
      removals.discard(name);
      all.lives().forget(name);
      all.release(name);
      return false;
    }
    if (all.lives().find(name).isEmpty()) {
      all.lives().found(Life.begun(at.spec(), at.os(), RestartPolicy.NO, Instant.now()));
    }
    all.lives().note(name, known -> known.end().isPresent() ? known : known.in(at.os()).ended(how));
    changed(name);
    restarts.consider(name);
    return true;
  }

  /// Starts again what is to be started again, when all that runs has been taken back.
  void resume() {
    all.lives().list().stream()
        .filter(known -> known.end().isPresent())
        .forEach(known -> restarts.consider(known.name()));
  }

  /// An OS is there again: those that have ended with it need not wait any longer.
  void came(String os) {
    all.lives().list().stream()
        .filter(known -> known.end().isPresent() && known.os().equals(os))
        .forEach(known -> restarts.consider(known.name()));
  }

  // Their lives.

  /// One that runs is this daemon's from now on.
  void take(Container container) {
    String name = container.name();
    Lives lives = all.lives();
    if (lives.find(name).isEmpty()) {
      // Of a daemon that wrote down less.
      lives.found(
          Life.begun(container.spec(), container.os().name(), RestartPolicy.NO, Instant.now()));
    }
    if (lives.find(name).filter(known -> known.started() && known.end().isEmpty()).isEmpty()) {
      lives.note(name, known -> known.runs(container.os().name(), Instant.now()));
    }
    var _ = all.claim(name);
    all.add(container);
    life.follow(container);
    health.follow(container, lives.find(name).map(Life::since).orElseGet(Instant::now));
  }

  private void clearUp(Container container) {
    endings.clearUp(container);
  }

  private void ended(Container container) {
    tell("Container " + container.name() + " has ended: " + container.state().how() + ".");
    changed(container.name());
  }

  private void removed(String name) {
    life.after(Duration.ZERO, () -> watch.removed(name));
  }

  /// What is told of containers is looked up and told on one thread, so that the last word is true.
  private void changed(String name) {
    life.after(Duration.ZERO, () -> views.find(name).ifPresent(watch::changed));
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
    return starts.run(spec, files, restart, os, progress);
  }

  /// Starts one that has ended. See [Systems#start].
  Container start(String name, Optional<String> os, Progress progress) {
    return starts.start(name, os, progress);
  }

  /// By its policy, on a thread of its own, when it is its turn.
  private void startLater(String name, Restarts.Done done) {
    String os = all.lives().find(name).map(Life::os).orElse("");
    turns.take(os, name, () -> startNow(name, done));
  }

  private void startNow(String name, Restarts.Done done) {
    // While it waited somebody may have stopped, started or removed it, or looked at it again.
    done.accept(
        restarts.next(name).isPresent()
            ? failureOf(name)
            : Optional.of(Problem.CONTAINER_STATE.because(name + " was not to be started now.")));
  }

  private Optional<HyperFreshException> failureOf(String name) {
    try {
      starts.restart(name);
      tell("Container " + name + " was started again in " + views.get(name).os() + ".");
      return Optional.empty();
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.DEBUG, name + " is not started again yet", e);
      return Optional.of(e);
    }
  }

  /// Ends a container; its files stay. See [Systems#stop].
  void stop(String name, Duration patience) {
    endings.stop(name, patience, Life::toldToStop);
  }

  /// As [#stop], because the host stops. See [Systems#stopUntilBoot].
  void stopUntilBoot(String name, Duration patience) {
    endings.stop(name, patience, known -> known.toldToStopIn(Host.bootId()));
  }

  /// Removes a container and its files, or files that nobody knows. See [Systems#remove].
  void remove(String name, boolean force) {
    removals.remove(name, force);
  }

  /// Those that have ended in an OS are started in another one the next time.
  void follow(String os, String other) {
    for (String name : views.endedIn(os)) {
      all.lives().note(name, known -> known.in(other));
    }
  }

  // The end of this daemon.

  /// Nothing is noticed or started again any more.
  void rest() {
    life.close();
  }

  /// Lets go of all of them, which go on.
  void letGo() {
    all.running().forEach(container -> container.port().ifPresent(Tap::close));
    all.clear();
  }

  /// Their operating systems have been ended, and so have they.
  @Override
  public void close() {
    rest();
    for (Container container : all.running()) {
      container.port().ifPresent(Tap::close);
      ContainerState state = container.state();
      ContainerState how =
          state.hasEnded() ? state : new ContainerState.Lost(container.os().name(), Instant.now());
      all.lives().note(container.name(), known -> known.ended(how));
      container.forget();
    }
    all.clear();
  }
}
