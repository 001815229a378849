package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ReleaseFolders;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.machine.Agent;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.relocation.Container.State;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Function;

/// The operating systems of one state directory, and the containers in them. Thread-safe.
///
/// Both go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
public final class Systems implements AutoCloseable {
  private static final Duration COPY_LIMIT = Duration.ofMinutes(10);
  private static final Duration EXEC_LIMIT = Duration.ofMinutes(10);
  private static final int MOST_OUTPUT_BYTES = 4 << 20;

  /// How long moves may take to end before this process lets go of them.
  private static final Duration MOVE_PATIENCE = Duration.ofSeconds(10);

  private final Path directory;
  private final Path containersFolder;
  private final Path placements;
  private final Path sockets;
  private final Map<String, OsVm> systems = new ConcurrentHashMap<>();
  private final Map<String, Container> containers = new ConcurrentHashMap<>();

  /// Names in use, from before an OS boots or a container starts until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  /// Of the files for what programs print. No name comes again under another daemon: an OS knows
  /// for a second which file a name was, and would write to one that has been deleted.
  private final AtomicLong outputs = new AtomicLong(System.currentTimeMillis());

  private final Moves moves;
  private final Consumer<RelocationRecord> records;
  private volatile Optional<Recovery> recovery = Optional.empty();
  private volatile boolean closed;

  /// @param state the state directory: logs of operating systems are in `os`, the folders of
  ///   containers in `containers`, and where these are in `placements`
  /// @param sockets the folder for control sockets, mode 0700
  /// @param records told of every move that has come to its end, by several threads; must not throw
  public Systems(Path state, Path sockets, Consumer<RelocationRecord> records) {
    this.records = records;
    this.moves = new Moves(records);
    this.directory = state.resolve("os");
    this.containersFolder = state.resolve("containers");
    this.placements = state.resolve("placements");
    this.sockets = sockets;
  }

  /// Takes back what an earlier process on this directory left, all at once: each OS, then the
  /// containers in it. An OS whose hardware is gone is forgotten with its containers; its logs and
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
    Recovery begun =
        new Recovery(
            new Recovery.Folders(directory, containersFolder, placements, sockets),
            releases,
            hardware,
            told,
            new Taking(),
            records);
    recovery = Optional.of(begun);
    begun.run(patience);
  }

  /// What a [Recovery] finds becomes this object's, unless that has ended.
  private final class Taking implements Recovery.Taker {
    @Override
    public void claim(String key) {
      names.add(key);
    }

    @Override
    public void release(String key) {
      names.remove(key);
    }

    @Override
    public void take(OsVm os) {
      synchronized (Systems.this) {
        if (closed) {
          os.letGo();
          throw new TroubleException("the daemon ends");
        }
        systems.put(os.name(), os);
      }
    }

    @Override
    public void take(Container container) {
      synchronized (Systems.this) {
        if (closed) {
          container.port().ifPresent(Tap::close);
          throw new TroubleException("the daemon ends");
        }
        containers.put(container.name(), container);
      }
    }
  }

  private String waiting(String key) {
    return recovery.map(begun -> begun.why(key)).filter(why -> !why.isEmpty()).orElse("");
  }

  /// Boots an OS and returns when it can take containers.
  ///
  /// @throws HyperFreshException [Problem#OS_EXISTS], [Problem#OS_START], [Problem#SPEC_INVALID],
  ///   [Problem#SPEC_MEMORY], [Problem#DAEMON_STATE]
  public OsVm create(OsSettings settings) {
    check(settings);
    String key = "os/" + settings.name();
    if (!names.add(key)) {
      throw Problem.OS_EXISTS.because("OS " + settings.name() + " is here already.");
    }
    boolean made = false;
    try {
      Path folder = folder(directory.resolve(settings.name()));
      OsFile.read(folder)
          .filter(left -> left.hardwareProcess().lives())
          .ifPresent(left -> {
            throw Problem.OS_EXISTS.because(
                "OS "
                    + settings.name()
                    + " of an earlier daemon is here, process "
                    + left.hardwareProcess().pid()
                    + ".");
          });
      OsVm os = OsVm.boot(settings, folder, sockets, folder(containersFolder));
      systems.put(settings.name(), os);
      made = true;
      return os;
    } finally {
      if (!made) {
        names.remove(key);
      }
    }
  }

  private static void check(OsSettings settings) {
    if (!GuestSpec.isName(settings.name())) {
      throw Problem.SPEC_INVALID.because(
          "name: '"
              + settings.name()
              + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    long memory = settings.memoryBytes();
    if (memory < OsSettings.MIN_MEMORY_BYTES || memory % (1 << 20) != 0) {
      throw Problem.SPEC_INVALID.because(
          "memory: " + memory + " bytes is not a multiple of 1 MiB of at least 256 MiB");
    }
    if (settings.vcpus() < 1 || settings.vcpus() > 64) {
      throw Problem.SPEC_INVALID.because("vcpus: " + settings.vcpus() + " is not between 1 and 64");
    }
    if (memory > Host.availableMemoryBytes()) {
      throw Problem.SPEC_MEMORY.because(
          (memory >> 20)
              + " MiB asked for, "
              + (Host.availableMemoryBytes() >> 20)
              + " MiB available.");
    }
  }

  private static Path folder(Path path) {
    try {
      return Files.createDirectories(
          path, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + ": " + e.getMessage(), e);
    }
  }

  /// All operating systems, by name.
  public List<OsVm> list() {
    return systems.values().stream().sorted(Comparator.comparing(OsVm::name)).toList();
  }

  /// The OS called `name`, if there is one.
  public Optional<OsVm> find(String name) {
    return Optional.ofNullable(systems.get(name));
  }

  /// The OS called `name`.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN]
  public OsVm get(String name) {
    return find(name)
        .orElseThrow(() -> {
          String why = waiting("os/" + name);
          return Problem.OS_UNKNOWN.because(
              why.isEmpty()
                  ? "'"
                      + name
                      + "' is none of: "
                      + (systems.isEmpty()
                          ? "none"
                          : String.join(", ", list().stream().map(OsVm::name).toList()))
                      + "."
                  : "OS " + name + " is not taken back: " + why);
        });
  }

  /// Ends an OS without containers.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_IN_USE]
  public void delete(String name) {
    OsVm os = get(name);
    List<String> inside = new ArrayList<>();
    containers().stream()
        .filter(container -> container.os().equals(os) && container.state() != State.STOPPED)
        .map(Container::name)
        .forEach(inside::add);
    recovery.ifPresent(begun -> inside.addAll(begun.waitingFor(name)));
    if (!inside.isEmpty()) {
      throw Problem.OS_IN_USE.because(name + " has " + String.join(", ", inside) + ".");
    }
    os.close();
    systems.remove(name);
    names.remove("os/" + name);
  }

  /// All containers, by name.
  public List<Container> containers() {
    return containers.values().stream().sorted(Comparator.comparing(Container::name)).toList();
  }

  /// The container called `name`.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#RELOCATE_DOUBT]
  public Container container(String name) {
    Container container = containers.get(name);
    if (container == null) {
      String why = waiting("container/" + name);
      if (recovery.filter(begun -> begun.isInDoubt(name)).isPresent()) {
        throw Problem.RELOCATE_DOUBT.because(why);
      }
      throw Problem.CONTAINER_UNKNOWN.because(
          why.isEmpty()
              ? "'" + name + "' is no container."
              : "Container " + name + " is not taken back: " + why);
    }
    return container;
  }

  /// Starts a container. Its files are a copy of the bundle's.
  ///
  /// @param os where
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#CONTAINER_SPEC],
  ///   [Problem#CONTAINER_EXISTS], [Problem#CONTAINER_START]; nothing of it is left then
  public Container run(ContainerSpec spec, String os, Progress progress) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.CONTAINER_SPEC.because(String.join("; ", faults));
    }
    OsVm where = get(os);
    Bundle bundle = Bundle.read(spec.bundle());
    String key = "container/" + spec.name();
    if (!names.add(key)) {
      throw Problem.CONTAINER_EXISTS.because("Container " + spec.name() + " is here already.");
    }
    try {
      Container container = start(spec, bundle, where, progress);
      containers.put(spec.name(), container);
      return container;
    } catch (RuntimeException e) {
      names.remove(key);
      throw e;
    }
  }

  private Container start(ContainerSpec spec, Bundle bundle, OsVm os, Progress progress) {
    Path home = containersFolder.resolve(spec.name());
    Inside inside = new Inside(os, spec);
    Optional<Tap> port = Optional.empty();
    try {
      progress.step("create", "copying " + bundle.root());
      fill(home, spec, bundle);
      new Placement(spec, os.name(), 0, Optional.empty()).write(folder(placements));
      port = spec.network().map(network -> port(spec, network));
      Container container = new Container(spec, home, placements, port, os);
      inside.network(port.map(Tap::queue));
      inside.live();
      progress.step("create", "starting " + spec.name() + " in " + os.name());
      container.runs(os, inside.start());
      container.place(container.placement(Optional.empty()));
      return container;
    } catch (TroubleException | LinuxException | IOException | HyperFreshException e) {
      try {
        inside.remove();
      } catch (TroubleException left) {
        e.addSuppressed(left);
      }
      port.ifPresent(Tap::close);
      ReleaseFolders.delete(home);
      Placement.remove(placements, spec.name());
      throw Problem.CONTAINER_START.because(spec.name() + ": " + e.getMessage() + ".", e);
    }
  }

  private static Tap port(ContainerSpec spec, ContainerSpec.Network network) {
    Tap tap = Tap.create(spec.port());
    try {
      network.bridge().ifPresent(tap::addToBridge);
      tap.up();
      return tap;
    } catch (LinuxException e) {
      tap.close();
      throw e;
    }
  }

  private static void fill(Path home, ContainerSpec spec, Bundle bundle) throws IOException {
    if (Files.exists(home)) {
      ReleaseFolders.delete(home);
    }
    Files.createDirectories(home);
    Files.write(
        home.resolve("config.json"),
        bundle.configuration(spec.name(), OsVm.NETWORKS + "/" + spec.name()));
    Files.createFile(home.resolve("log"));
    // It knows links, devices, owners and holes, and shares blocks where the file system can.
    Process copy =
        new ProcessBuilder(
                "cp",
                "-a",
                "--reflink=auto",
                "--",
                bundle.root().toString(),
                home.resolve("rootfs").toString())
            .redirectErrorStream(true)
            .start();
    Scheduling.nice((int) copy.pid(), Scheduling.BEHIND_GUESTS);
    try {
      if (!copy.waitFor(COPY_LIMIT.toSeconds(), TimeUnit.SECONDS) || copy.exitValue() != 0) {
        copy.destroyForcibly();
        throw new IOException(
            new String(copy.getInputStream().readNBytes(1000), StandardCharsets.UTF_8).strip());
      }
    } catch (InterruptedException e) {
      copy.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
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
    Container container = container(name);
    if (command.isEmpty()) {
      throw Problem.API_REQUEST.because("There is no command.");
    }
    return held(
        container,
        () -> {
          String file = "exec." + outputs.incrementAndGet();
          Path output = container.home().resolve(file);
          try {
            Agent.Exited end =
                new Inside(container.os(), container.spec()).execute(file, command, EXEC_LIMIT);
            return new Executed(
                end.code().orElseGet(() -> 128 + end.signal().orElse(0)), printed(output, end));
          } finally {
            Files.deleteIfExists(output);
          }
        });
  }

  private static String printed(Path file, Agent.Exited end) throws IOException {
    if (!Files.exists(file)) {
      return end.tail();
    }
    try (var in = Files.newInputStream(file)) {
      return new String(in.readNBytes(MOST_OUTPUT_BYTES), StandardCharsets.UTF_8);
    }
  }

  /// The last that a container has written.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  public String log(String name) {
    Path log = container(name).log();
    try (var file = FileChannel.open(log)) {
      file.position(Math.max(0, file.size() - MOST_OUTPUT_BYTES));
      return new String(Channels.newInputStream(file).readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(log + ": " + e.getMessage(), e);
    }
  }

  /// Work on a container that nobody else works on meanwhile.
  private interface Work<T> {
    T run() throws IOException;
  }

  private static <T> T held(Container container, Work<T> work) {
    if (!container.lock().tryLock()) {
      throw Problem.CONTAINER_STATE.because(
          container.name() + " is being moved, stopped or looked into.");
    }
    try {
      if (container.state() != State.RUNNING) {
        throw Problem.CONTAINER_STATE.because(container.name() + " does not run.");
      }
      return work.run();
    } catch (TroubleException | LinuxException | IOException e) {
      throw Problem.CONTAINER_STATE.because(container.name() + ": " + e.getMessage() + ".", e);
    } finally {
      container.lock().unlock();
    }
  }

  /// Ends a container and removes it and its files.
  ///
  /// @param patience how long it may take to end by itself
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#CONTAINER_STATE]
  public void stop(String name, Duration patience) {
    Container container = container(name);
    if (!container.lock().tryLock()) {
      throw Problem.CONTAINER_STATE.because(name + " is being moved or looked into.");
    }
    try {
      if (!container.os().ended()) {
        Inside inside = new Inside(container.os(), container.spec());
        inside.stop(patience);
        inside.remove();
      }
      container.is(State.STOPPED);
      container.port().ifPresent(Tap::close);
      ReleaseFolders.delete(container.home());
      container.forget();
      containers.remove(name);
      names.remove("container/" + name);
    } catch (TroubleException e) {
      throw Problem.CONTAINER_STATE.because(name + ": " + e.getMessage() + ".", e);
    } finally {
      container.lock().unlock();
    }
  }

  /// Moves a container to another OS, and returns when all of its memory is there.
  ///
  /// @param transport how its memory gets there
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN], [Problem#OS_UNKNOWN],
  ///   [Problem#CONTAINER_STATE], [Problem#RELOCATE_PREFLIGHT], [Problem#RELOCATE_LOST]
  public RelocationRecord relocate(String name, String to, Transport transport, Progress progress) {
    Container container = container(name);
    OsVm target = get(to);
    return moves.await(
        name,
        () ->
            held(
                container,
                () -> {
                  progress.step(
                      "Planned", name + " moves from " + container.os().name() + " to " + to);
                  List<String> obstacles = found(container, target);
                  if (!obstacles.isEmpty()) {
                    throw Problem.RELOCATE_PREFLIGHT.because(String.join(" ", obstacles));
                  }
                  return moves.move(container, target, transport, progress);
                }));
  }

  /// Has a container go on in the OS that it was to leave, where there is a doubt: it stands there,
  /// and may have run in the other OS, which is gone. Whoever orders it takes it on himself that
  /// what it did there is done once more.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when there is no doubt of that container
  public void resume(String name) {
    if (recovery.filter(begun -> begun.resume(name)).isEmpty()) {
      throw Problem.CONTAINER_STATE.because("There is no doubt where " + name + " runs.");
    }
  }

  private static List<String> found(Container container, OsVm target) {
    List<String> found = new ArrayList<>();
    if (container.os().equals(target)) {
      found.add(container.name() + " is in " + target.name() + " already.");
    }
    if (target.ended()) {
      found.add("OS " + target.name() + " has ended.");
    }
    if (found.isEmpty()) {
      found.addAll(new Inside(container.os(), container.spec()).obstacles());
    }
    return found;
  }

  /// What keeps a container from being moved, a sentence each; empty when nothing does.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when it has ended, or is being moved
  List<String> obstacles(Container container, OsVm target) {
    return held(container, () -> found(container, target));
  }

  /// Lets go of all containers and operating systems, which go on; the next process on this
  /// directory takes them back. A move that does not end meanwhile is left to it too.
  public void letGo() {
    recovery.ifPresent(Recovery::close);
    List<Container> held = new ArrayList<>();
    synchronized (this) {
      closed = true;
      held.addAll(containers.values());
    }
    long deadline = System.nanoTime() + MOVE_PATIENCE.toNanos();
    held.removeIf(container -> !locks(container, deadline));
    moves.leave();
    try {
      systems.values().forEach(OsVm::letGo);
      containers.values().forEach(container -> container.port().ifPresent(Tap::close));
      forgetAll();
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

  private void forgetAll() {
    containers.clear();
    systems.clear();
    names.clear();
  }

  /// Ends all containers and operating systems, except those that have not been taken back.
  @Override
  public void close() {
    recovery.ifPresent(Recovery::close);
    synchronized (this) {
      closed = true;
    }
    systems.values().forEach(OsVm::close);
    containers
        .values()
        .forEach(container -> {
          container.port().ifPresent(Tap::close);
          container.forget();
        });
    forgetAll();
  }
}
