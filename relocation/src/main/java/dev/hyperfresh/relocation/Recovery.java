package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.relocation.Container.State;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/// Takes back what an earlier daemon left: each OS on a thread of its own, and each container on
/// another one when the operating systems it has to do with have answered or are known to be gone.
final class Recovery implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Recovery.class.getName());

  /// How soon is asked again what has not answered.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private final Folders folders;
  private final Function<String, OsRelease> releases;
  private final Function<String, QemuRelease> hardware;
  private final Consumer<String> told;
  private final Taker taker;
  private final Consumer<RelocationRecord> records;

  /// Each OS of which something is written: empty when it is gone.
  private final Map<String, CompletableFuture<Optional<OsVm>>> answers = new ConcurrentHashMap<>();

  private final Map<String, String> waiting = new ConcurrentHashMap<>();
  private final Map<String, Placement> placements = new ConcurrentHashMap<>();
  private final Map<String, Relocation> unfinished = new ConcurrentHashMap<>();

  /// Each is open when nothing is to be expected of that key any more.
  private final Map<String, CountDownLatch> firsts = new ConcurrentHashMap<>();

  private volatile boolean closed;

  /// @param systems of operating systems
  /// @param containers of containers
  /// @param placements of [Placement]s
  /// @param sockets for control sockets
  record Folders(Path systems, Path containers, Path placements, Path sockets) {
    ContainerFolder container(String name) {
      return new ContainerFolder(containers.resolve(name));
    }
  }

  /// Whose all this becomes. A key is `os/NAME` or `container/NAME`.
  interface Taker {
    /// The name is in use.
    void claim(String key);

    /// The name is free again.
    void release(String key);

    /// @throws TroubleException when it has ended
    void take(OsVm os);

    /// @throws TroubleException when it has ended
    void take(Container container);

    /// A container is nowhere.
    ///
    /// @return whether it had ever run; else nothing of it is left
    boolean ended(Placement at, ContainerState how);
  }

  Recovery(
      Folders folders,
      Function<String, OsRelease> releases,
      Function<String, QemuRelease> hardware,
      Consumer<String> told,
      Taker taker,
      Consumer<RelocationRecord> records) {
    this.folders = folders;
    this.releases = releases;
    this.hardware = hardware;
    this.told = told;
    this.taker = taker;
    this.records = records;
  }

  /// Returns when everything has been taken back, or after `patience`.
  void run(Duration patience) {
    List<CountDownLatch> ends = new ArrayList<>();
    for (Path folder : systems()) {
      found(String.valueOf(folder.getFileName()), folder).ifPresent(ends::add);
    }
    for (String name : Placement.names(folders.placements())) {
      found(name).ifPresent(ends::add);
    }
    long deadline = System.nanoTime() + patience.toNanos();
    try {
      for (CountDownLatch end : ends) {
        var _ = end.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private List<Path> systems() {
    if (!Files.isDirectory(folders.systems())) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(folders.systems())) {
      return all.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folders.systems() + ": " + e.getMessage(), e);
    }
  }

  private Optional<CountDownLatch> found(String name, Path folder) {
    try {
      return OsFile.read(folder).map(file -> begin("os/" + name, () -> again(name, folder, file)));
    } catch (HyperFreshException e) {
      leave("os/" + name, "OS " + name, e);
      answers.put(name, new CompletableFuture<>());
      return Optional.empty();
    }
  }

  private Optional<CountDownLatch> found(String name) {
    try {
      Placement placement = Placement.read(folders.placements(), name);
      placements.put(name, placement);
      // Read anew each time: an attempt may have written down how far it came.
      return Optional.of(
          begin("container/" + name, () -> again(Placement.read(folders.placements(), name))));
    } catch (HyperFreshException e) {
      leave("container/" + name, "Container " + name, e);
      return Optional.empty();
    }
  }

  private void leave(String key, String what, HyperFreshException e) {
    taker.claim(key);
    waiting.put(key, e.detail());
    told.accept(what + " cannot be taken back: " + e.detail());
  }

  /// Does `attempt`, which says whether it is done with, until it is.
  private CountDownLatch begin(String key, Attempt attempt) {
    CountDownLatch first = firsts.computeIfAbsent(key, _ -> new CountDownLatch(1));
    String name = key.substring(key.indexOf('/') + 1);
    taker.claim(key);
    waiting.put(key, "it was not asked yet");
    if (key.startsWith("os/")) {
      answers.put(name, new CompletableFuture<>());
    }
    Thread.ofPlatform()
        .name("hf-recover-" + name)
        .daemon()
        .start(() -> {
          try {
            repeat(key, attempt);
          } finally {
            first.countDown();
          }
        });
    return first;
  }

  /// What is done again until it does not throw.
  private interface Attempt {
    void run();
  }

  private void repeat(String key, Attempt attempt) {
    while (!closed) {
      try {
        attempt.run();
        waiting.remove(key);
        return;
      } catch (CancellationException e) {
        return;
      } catch (HyperFreshException e) {
        remember(key, e.detail());
      } catch (TroubleException | LinuxException | IllegalStateException e) {
        remember(key, String.valueOf(e.getMessage()));
      }
      LockSupport.parkNanos(AGAIN.toNanos());
    }
  }

  private void remember(String key, String why) {
    if (!closed && !why.equals(waiting.put(key, why))) {
      told.accept(
          (key.startsWith("os/") ? "OS " : "Container ")
              + key.substring(key.indexOf('/') + 1)
              + " is not taken back yet: "
              + why);
    }
  }

  /// Why something is not taken back yet; empty when nothing waits under that key.
  String why(String key) {
    return waiting.getOrDefault(key, "");
  }

  /// The names of containers that are not taken back yet and have to do with an OS.
  List<String> waitingFor(String os) {
    return placements.values().stream()
        .filter(placement -> waiting.containsKey("container/" + placement.name()))
        .filter(placement ->
            placement.os().equals(os)
                || placement
                    .move()
                    .filter(move -> move.from().equals(os) || move.to().equals(os))
                    .isPresent())
        .map(Placement::name)
        .sorted()
        .toList();
  }

  private void again(String name, Path folder, OsFile file) {
    boolean lives = file.hardwareProcess().lives();
    if (!lives || !file.booted()) {
      OsVm.forget(name, file, folder, folders.sockets());
      taker.release("os/" + name);
      told.accept(
          lives
              ? "OS " + name + " had not come up yet and was ended."
              : "OS " + name + " ended while no daemon ran; its logs are in " + folder + ".");
      answer(name, Optional.empty());
      return;
    }
    OsSettings settings =
        new OsSettings(
            name,
            releases.apply(file.release()),
            hardware.apply(file.hardware()),
            file.accelerator(),
            file.vcpus(),
            file.memoryBytes());
    OsVm os = OsVm.again(settings, file, folder, folders.sockets());
    taker.take(os);
    told.accept("OS " + name + " was taken back.");
    answer(name, Optional.of(os));
  }

  private void answer(String name, Optional<OsVm> os) {
    var _ = answers.computeIfAbsent(name, _ -> new CompletableFuture<>()).complete(os);
  }

  /// Waits for an OS; empty when it is gone.
  private Optional<OsVm> os(String name) {
    CompletableFuture<Optional<OsVm>> answer = answers.get(name);
    return answer == null ? Optional.empty() : answer.join().filter(os -> !os.ended());
  }

  private void again(Placement at) {
    Optional<OsVm> os = os(at.os());
    if (at.move().isPresent()) {
      again(at, at.move().get());
      return;
    }
    boolean isHere =
        os.isPresent() && at.pid() > 0 && new Inside(os.get(), at.spec()).here().orElse(0) > 0;
    if (isHere) {
      var _ = taken(at.name(), container(at, os.get(), at.pid()));
    } else {
      ended(at, os);
    }
  }

  private void again(Placement at, Placement.Move move) {
    Optional<OsVm> to = os(move.to());
    ContainerFolder files = folders.container(at.name());
    OsMove steps =
        new OsMove(at.spec(), move, os(move.from()), to, Optional.empty(), files, () -> closed);
    FoundJournal journal = new FoundJournal(at, to);
    Relocation relocation =
        new Relocation(steps, journal, at.state(), System::nanoTime, LockSupport::parkNanos);
    unfinished.put(at.name(), relocation);
    Instant startedAt = Instant.now();
    try {
      MoveState.Over over = relocation.settle(Placement.DIED);
      records.accept(steps.record(startedAt, over, relocation.phasesMs()));
      ended(at, move, journal, over);
    } catch (Relocation.LeftException e) {
      LOG.log(System.Logger.Level.DEBUG, at.name() + " is left to the next daemon", e);
    } finally {
      unfinished.remove(at.name());
      journal.letGo();
    }
  }

  private void ended(Placement at, Placement.Move move, FoundJournal journal, MoveState.Over over) {
    String what = "The move of " + at.name() + " from " + move.from() + " to " + move.to();
    switch (over) {
      case MoveState.Retired _ -> {
        told.accept(what + " was finished.");
        journal.retire();
      }
      case MoveState.RolledBack _ -> {
        told.accept(what + " was undone.");
        again(at.of(over));
      }
      case MoveState.Ended(String why) -> {
        told.accept(what + " was finished, but it has ended: " + why + ".");
        journal.end(why);
      }
      case MoveState.Lost(String why) -> {
        told.accept(what + " has lost it: " + why + ".");
        journal.lost(why);
      }
    }
  }

  /// Has a container that stands in doubt go on where it stands.
  ///
  /// @return whether there is one of that name
  boolean resume(String name) {
    Optional<Relocation> doubted = doubted(name);
    doubted.ifPresent(Relocation::resume);
    return doubted.isPresent();
  }

  /// Whether a container stands because it may have run in an OS that is gone.
  boolean isInDoubt(String name) {
    return doubted(name).isPresent();
  }

  private Optional<Relocation> doubted(String name) {
    return Optional.ofNullable(unfinished.get(name)).filter(Relocation::isInDoubt);
  }

  /// The journal of a move that was found unfinished. The container is taken back when it hears in
  /// the new OS and in no other.
  private final class FoundJournal implements MoveJournal {
    private final Placement begun;
    private final Optional<OsVm> to;
    private Placement written;
    private Optional<Container> container = Optional.empty();

    FoundJournal(Placement begun, Optional<OsVm> to) {
      this.begun = begun;
      this.to = to;
      this.written = begun;
    }

    @Override
    public void write(MoveState state) {
      written = begun.of(state);
      written.write(folders.placements());
      if (state instanceof MoveState.Doubt) {
        waits(
            "it stands in "
                + begun.os()
                + ", and may have run in "
                + begun.move().map(Placement.Move::to).orElse("")
                + ", which is gone. `hyperfresh container resume "
                + begun.name()
                + "` has it go on.");
        firsts.computeIfAbsent("container/" + begun.name(), _ -> new CountDownLatch(1)).countDown();
      }
    }

    @Override
    public void done(FinishStep step) {
      if (step == FinishStep.DELIVER && container.isEmpty()) {
        Container found = container(begun, to.orElseThrow(), written.pid());
        found.lock().lock();
        found.is(State.DRAINING);
        container = Optional.of(found);
        if (!taken(begun.name(), found)) {
          throw new Relocation.LeftException();
        }
      }
    }

    @Override
    public void waits(String why) {
      remember("container/" + begun.name(), why);
    }

    void retire() {
      container.ifPresent(found -> found.is(State.RUNNING));
    }

    void lost(String why) {
      container.ifPresent(found -> found.lost(why));
      if (container.isEmpty()) {
        end("it was lost in a move: " + why);
      }
    }

    void end(String why) {
      container.ifPresent(found -> found.stops(why));
      if (container.isEmpty()) {
        Recovery.this.ended(written, ContainerState.Ended.unknown(Instant.now(), why));
      }
    }

    void letGo() {
      container.ifPresent(found -> found.lock().unlock());
    }
  }

  private Container container(Placement at, OsVm os, int pid) {
    giveUpElsewhere(at, os);
    // A queue that is left alone is the first of its port.
    Optional<Tap> port = at.spec().network().map(_ -> adopt(os, at.spec().port()));
    Container container =
        new Container(at.spec(), folders.container(at.name()), folders.placements(), port, os);
    container.runs(os, pid);
    return container;
  }

  /// No OS but `os` has a card on the container's port.
  private void giveUpElsewhere(Placement at, OsVm os) {
    for (String name : answers.keySet()) {
      CompletableFuture<Optional<OsVm>> answer = answers.get(name);
      if (answer == null || !answer.isDone()) {
        continue;
      }
      os(name)
          .filter(other -> !other.equals(os) && other.vm().hasQueue(at.spec().port()))
          .ifPresent(other -> new Inside(other, at.spec()).unplug());
    }
  }

  private static Tap adopt(OsVm os, String port) {
    var queue = os.vm().copyQueue(port);
    try {
      return Tap.adopt(queue);
    } catch (RuntimeException e) {
      queue.close();
      throw e;
    }
  }

  private boolean taken(String name, Container container) {
    try {
      taker.take(container);
    } catch (TroubleException e) {
      return false;
    }
    waiting.remove("container/" + name);
    told.accept("Container " + name + " was taken back in " + container.os().name() + ".");
    return true;
  }

  /// @param os where it has ended, if that lives
  private void ended(Placement at, Optional<OsVm> os) {
    ContainerState how = how(at, os);
    os.ifPresent(where -> new Inside(where, at.spec()).clear());
    ended(at, how);
  }

  private void ended(Placement at, ContainerState how) {
    boolean ran = taker.ended(at, how);
    Placement.remove(folders.placements(), at.name());
    told.accept(
        ran
            ? "Container "
                + at.name()
                + " has ended ("
                + how.how()
                + "); its files are in "
                + folders.containers().resolve(at.name())
                + "."
            : "Container " + at.name() + " had not been started yet and was removed.");
  }

  private static ContainerState how(Placement at, Optional<OsVm> os) {
    if (os.isEmpty()) {
      return new ContainerState.Lost(at.os(), Instant.now());
    }
    // One that was being started may run, and is ended only now.
    return at.pid() == 0
        ? ContainerState.Ended.unknown(Instant.now(), "it was being started when the daemon ended")
        : new Inside(os.get(), at.spec()).ending();
  }

  /// What has not answered is left as it is.
  @Override
  public void close() {
    closed = true;
    answers.values().forEach(answer -> answer.cancel(false));
  }
}
