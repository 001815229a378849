package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.vm.TakingBack;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VmDefinitions;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRegistry;
import dev.hyperfresh.vm.VmSettings;
import dev.hyperfresh.vm.VmStock;
import dev.hyperfresh.vm.VmWatch;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/// The operating systems of one state directory, and the containers in them. Thread-safe.
///
/// Both go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
public final class Systems implements VmStock<OsVm, OsRelease>, AutoCloseable {
  /// What is said of operating systems.
  public static final VmKind.About ABOUT = OsBoot.ABOUT;

  /// How long moves may take to end before this process lets go of them.
  private static final Duration MOVE_PATIENCE = Duration.ofSeconds(10);

  private final Path containersFolder;
  private final Path placements;
  private final Path images;
  private final VmRegistry<OsVm, OsRelease> systems;
  private final Occupancy occupancy = new Occupancy();
  private final Containers containers;
  private final Insight insight;
  private final Moves moves;
  private final MoveOrders orders;
  private final SystemsWatch watch;
  private volatile Optional<Recovery> recovery = Optional.empty();
  private volatile boolean closed;

  /// @param state the state directory: logs of operating systems are in `os`, the folders of
  ///   containers in `containers`, and where these are in `placements`
  /// @param sockets the folder for control sockets, mode 0700
  /// @param watch told of all that happens to them
  public Systems(Path state, Path sockets, SystemsWatch watch) {
    this.watch = watch;
    this.moves = new Moves(watch::moved);
    this.systems = new VmRegistry<>(new OsBoot(), state.resolve("os"), sockets, new Coming());
    this.containersFolder = state.resolve("containers");
    this.placements = state.resolve("placements");
    this.images = state.resolve("images");
    this.containers = new Containers(state, new Known(), occupancy, watch);
    this.insight = new Insight(containers);
    this.orders = new MoveOrders(moves, containers.health(), occupancy, this::inside);
  }

  /// Containers that have ended with an OS are looked after when it is there again.
  private final class Coming implements VmWatch<OsVm> {
    @Override
    public void came(OsVm os) {
      watch.came(os);
      containers.came(os.name());
    }

    @Override
    public void went(OsVm os) {
      watch.went(os);
    }

    @Override
    public void altered(String os) {
      watch.altered(os);
    }
  }

  /// The operating systems, as containers know them.
  private final class Known implements Hosts {
    @Override
    public OsVm get(String name) {
      return Systems.this.get(name);
    }

    @Override
    public Optional<OsVm> find(String name) {
      return Systems.this.find(name);
    }

    @Override
    public List<OsVm> list() {
      return Systems.this.list();
    }

    @Override
    public String waiting(String what) {
      return Systems.this.waiting(what);
    }

    @Override
    public boolean isComing(String os) {
      return systems.definitions().isDue(os);
    }

    @Override
    public boolean isTakingBack(String container) {
      return recovery.filter(begun -> begun.isTakingBack(container)).isPresent();
    }

    @Override
    public boolean isInDoubt(String name) {
      return recovery.filter(begun -> begun.isInDoubt(name)).isPresent();
    }
  }

  /// Takes back what an earlier process on this directory left, all at once: each OS, then the
  /// containers in it. An OS whose hardware is gone is stopped, and its containers have ended;
  /// their files stay. One that does not answer within `patience` is left as it is, and taken back
  /// when it answers. One of which what is written cannot be read is left alone. Where containers
  /// were being moved, the moves are finished or undone. In the network namespace of their ports.
  ///
  /// @param releases finds what runs in operating systems, by its name
  /// @param hardware finds what they run on, by its name
  /// @param told one sentence for each, and more when it changes; called by several threads
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public void recover(
      Function<String, OsRelease> releases,
      Function<String, QemuRelease> hardware,
      Duration patience,
      Consumer<String> told) {
    UnpackedImage.removeAbandoned(images);
    TakingBack takingBack = new TakingBack(told);
    Recovery begun =
        new Recovery(
            containersFolder,
            placements,
            systems,
            occupancy,
            takingBack,
            new Taking(),
            watch::moved);
    recovery = Optional.of(begun);
    containers.recover(Placement.names(placements), told);
    systems.recover(new VmRegistry.Parts<>(releases, hardware), takingBack);
    begun.begin();
    takingBack.await(patience);
    containers.resume();
  }

  /// What a [Recovery] finds becomes this object's, unless that has ended.
  private final class Taking implements Recovery.Taker {
    @Override
    public void claim(String name) {
      var _ = containers.all().claim(name);
    }

    @Override
    public void take(Container container) {
      synchronized (Systems.this) {
        if (closed) {
          container.port().ifPresent(Tap::close);
          throw new TroubleException("the daemon ends");
        }
        containers.take(container);
      }
    }

    @Override
    public boolean ended(Placement at, ContainerState how) {
      return containers.endedUnseen(at, how);
    }
  }

  private String waiting(String what) {
    return recovery.map(begun -> begun.why(what)).orElse("");
  }

  @Override
  public OsVm create(VmSettings<OsRelease> settings) {
    return systems.create(settings);
  }

  @Override
  public OsVm start(VmSettings<OsRelease> settings) {
    return systems.start(settings);
  }

  @Override
  public OsVm startDue(VmSettings<OsRelease> settings) {
    return systems.startDue(settings);
  }

  @Override
  public VmDefinitions definitions() {
    return systems.definitions();
  }

  @Override
  public List<OsVm> list() {
    return systems.list();
  }

  @Override
  public List<String> on(String release) {
    return systems.on(release);
  }

  @Override
  public Optional<OsVm> find(String name) {
    return systems.find(name);
  }

  @Override
  public OsVm get(String name) {
    return systems.get(name);
  }

  /// Ends an OS without containers, which can be started again.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_IN_USE]
  @Override
  public void stop(String name) {
    end(name, systems::stop);
  }

  /// Ends an OS without containers, unless it is stopped, and forgets it.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_IN_USE]
  @Override
  public void delete(String name) {
    end(name, systems::delete);
  }

  private void end(String name, Consumer<String> how) {
    if (!systems.definitions().isStopped(name)) {
      var _ = get(name);
    }
    occupancy.end(name, () -> inside(name), () -> how.accept(name));
  }

  /// Ends an OS with everything in it, also one that does not answer. Containers that it has are
  /// lost; a move that waits for it comes to its end. Its logs stay.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#INTERNAL] when it cannot be ended
  public void kill(String name) {
    occupancy.kill(name, () -> systems.kill(name));
  }

  private List<String> inside(String os) {
    List<String> inside = new ArrayList<>(containers.all().inside(os));
    recovery.ifPresent(begun -> inside.addAll(begun.waitingFor(os)));
    return inside;
  }

  /// The containers that run, by name.
  public List<Container> containers() {
    return containers.all().running();
  }

  /// The container called `name`, which runs.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]; [Problem#CONTAINER_STATE] when it has
  ///   ended
  public Container container(String name) {
    return containers.all().get(name);
  }

  /// All containers, also those that have ended and were not removed, by name.
  public List<ContainerView> views() {
    return containers.views().list();
  }

  /// The container called `name`, whether it runs or not.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  public ContainerView view(String name) {
    return containers.views().get(name);
  }

  /// The names of folders of containers that nobody knows any more.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public List<String> leftOvers() {
    return containers.all().leftOvers();
  }

  /// The names of the containers that have ended and ran last in an OS.
  public List<String> endedIn(String os) {
    return containers.views().endedIn(os);
  }

  /// The containers that have ended in an OS are started in another one the next time.
  public void follow(String os, String other) {
    containers.follow(os, other);
  }

  /// As [#run(ContainerSpec, RestartPolicy, String, Progress)], never to be started again by
  /// itself.
  public Container run(ContainerSpec spec, String os, Progress progress) {
    return run(spec, RestartPolicy.NO, os, progress);
  }

  /// Makes a container and starts it. Its files are a copy of the bundle's.
  ///
  /// @param restart whether it is started again when it ends
  /// @param os where
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_FULL], [Problem#CONTAINER_SPEC],
  ///   [Problem#CONTAINER_EXISTS] also when only its files are there, [Problem#CONTAINER_START];
  ///   nothing of it is left then that was not there before, unless its OS does not let go of it:
  ///   then it is listed as ended until that does
  public Container run(ContainerSpec spec, RestartPolicy restart, String os, Progress progress) {
    return containers.run(spec, () -> Bundle.read(spec.bundle()), restart, os, progress);
  }

  /// As [#run], of an image on this host's disk: an OCI layout, or an archive of OCI or docker.
  ///
  /// @param spec with the image in the place of the bundle, after which a colon and a tag may stand
  /// @throws HyperFreshException also [Problem#HOST_MISSING] when a program that unpacks images is
  ///   not installed
  public Container runImage(
      ContainerSpec spec, RestartPolicy restart, String os, Progress progress) {
    try (UnpackedImage image = new UnpackedImage(spec.bundle(), images, progress)) {
      return containers.run(spec, image::unpack, restart, os, progress);
    }
  }

  /// Starts a container that has ended, with its files as it left them.
  ///
  /// @param os where; else where it ran last, or, when that OS has ended, where most memory is free
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE],
  ///   [Problem#OS_UNKNOWN], [Problem#OS_FULL], [Problem#CONTAINER_START]; it is as it was then
  public Container start(String name, Optional<String> os, Progress progress) {
    return containers.start(name, os, progress);
  }

  /// Ends a container, which is not started again by its [RestartPolicy]. Its files stay. Does
  /// nothing more when it has ended.
  ///
  /// @param patience how long it may take to end by itself
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  public void stop(String name, Duration patience) {
    containers.stop(name, patience);
  }

  /// As [#stop(String, Duration)], and its policy starts it again after the host's next boot.
  public void stopUntilBoot(String name, Duration patience) {
    containers.stopUntilBoot(name, patience);
  }

  /// Removes a container and its files; or files of a container that nobody knows any more.
  ///
  /// @param force also one that runs, which is killed
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]; [Problem#CONTAINER_STATE] when it
  ///   runs
  public void remove(String name, boolean force) {
    containers.remove(name, force);
  }

  /// All volumes, by name.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public List<VolumeView> volumes() {
    return containers.volumes().list(containers.all()::folderOf);
  }

  /// Makes an empty volume.
  ///
  /// @throws HyperFreshException [Problem#SPEC_INVALID], [Problem#VOLUME_EXISTS],
  ///   [Problem#DAEMON_STATE]
  public void createVolume(String name) {
    containers.volumes().create(name);
  }

  /// Removes a volume that no container has, and all that is in it.
  ///
  /// @throws HyperFreshException [Problem#VOLUME_UNKNOWN], [Problem#VOLUME_IN_USE],
  ///   [Problem#DAEMON_STATE]
  public void removeVolume(String name) {
    containers.volumes().remove(name);
  }

  /// What a program in a container did.
  ///
  /// @param code its exit code; 128 and the signal's number when a signal ended it
  /// @param output what it printed, at most 4 MiB of it
  public record Executed(int code, String output) {}

  /// Runs a program in a container.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  public Executed execute(String name, List<String> command) {
    return insight.execute(name, command);
  }

  /// What a container uses.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  public ContainerStats stats(String name) {
    return insight.stats(name);
  }

  /// The log of a container, also of one that has ended.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  public ContainerLog logOf(String name) {
    return insight.logOf(name);
  }

  /// The last that a container has written.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  public String log(String name) {
    return insight.log(name);
  }

  /// As [#relocate(String, String, Transport, boolean, Progress)], with its health check.
  public RelocationRecord relocate(String name, String to, Transport transport, Progress progress) {
    return relocate(name, to, transport, true, progress);
  }

  /// Moves a container to another OS, and returns when all of its memory is there.
  ///
  /// @param transport how its memory gets there
  /// @param checked whether its [HealthCheck], if it has one, has to go well before it is moved and
  ///   afterwards: when it fails in the new OS, the container is moved back
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#OS_UNKNOWN],
  ///   [Problem#CONTAINER_STATE], [Problem#RELOCATE_PREFLIGHT], [Problem#RELOCATE_LOST],
  ///   [Problem#RELOCATE_UNHEALTHY], [Problem#RELOCATE_UNFINISHED]
  public RelocationRecord relocate(
      String name, String to, Transport transport, boolean checked, Progress progress) {
    return orders.relocate(container(name), get(to), transport, checked, progress);
  }

  /// Resumes a container that is in doubt, in the OS that it was to leave. It may have run in the
  /// other OS, which is gone, and may repeat what it did there.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when there is no doubt of that container
  public void resume(String name) {
    if (recovery.filter(begun -> begun.resume(name)).isEmpty()) {
      throw Problem.CONTAINER_STATE.because("Container " + name + " is not in doubt.");
    }
  }

  /// What keeps a container from being moved, a sentence each; empty when nothing does.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when it has ended, or is being moved
  List<String> obstacles(Container container, OsVm target) {
    return orders.obstacles(container, target);
  }

  /// Lets go of all containers and operating systems, which go on; the next process on this
  /// directory takes them back. A move that does not end meanwhile is left to it too.
  public void letGo() {
    recovery.ifPresent(Recovery::close);
    containers.rest();
    List<Container> held = new ArrayList<>();
    synchronized (this) {
      closed = true;
      held.addAll(containers.all().running());
    }
    long deadline = System.nanoTime() + MOVE_PATIENCE.toNanos();
    // Who has ended is only locked to ask an OS that does not answer.
    held.removeIf(container -> container.state().hasEnded() || !locks(container, deadline));
    moves.leave();
    try {
      systems.letGo();
      containers.letGo();
    } finally {
      held.forEach(container -> container.lock().unlock());
    }
  }

  private static boolean locks(Container container, long deadline) {
    try {
      return container.lock().tryLock(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /// Ends all containers and operating systems, except those that have not been taken back.
  @Override
  public void close() {
    recovery.ifPresent(Recovery::close);
    containers.rest();
    synchronized (this) {
      closed = true;
    }
    systems.close();
    containers.close();
  }
}
