package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ReleaseFolders;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.relocation.Container.State;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
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

  /// Each OS of which something is written: empty when it is gone.
  private final Map<String, CompletableFuture<Optional<OsVm>>> answers = new ConcurrentHashMap<>();

  private final Map<String, String> waiting = new ConcurrentHashMap<>();
  private final Map<String, Placement> placements = new ConcurrentHashMap<>();
  private volatile boolean closed;

  /// @param systems of operating systems
  /// @param containers of containers
  /// @param placements of [Placement]s
  /// @param sockets for control sockets
  record Folders(Path systems, Path containers, Path placements, Path sockets) {}

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
  }

  Recovery(
      Folders folders,
      Function<String, OsRelease> releases,
      Function<String, QemuRelease> hardware,
      Consumer<String> told,
      Taker taker) {
    this.folders = folders;
    this.releases = releases;
    this.hardware = hardware;
    this.told = told;
    this.taker = taker;
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
      return Optional.of(begin("container/" + name, () -> again(placement)));
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
    CountDownLatch first = new CountDownLatch(1);
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
      os.ifPresent(where -> new Inside(where, at.spec()).clear());
      ended(at);
    }
  }

  private void again(Placement at, Placement.Move move) {
    UnfinishedMove unfinished = new UnfinishedMove(at.spec(), move, os(move.from()), os(move.to()));
    Optional<Integer> arrived = unfinished.arrived();
    if (arrived.isPresent() && arrived.get() > 0) {
      finish(at, unfinished, arrived.get());
    } else if (arrived.isPresent() || at.os().equals(move.to())) {
      unfinished.clearOld();
      unfinished.clearNew();
      unfinished.to().ifPresent(to -> new Inside(to, at.spec()).clear());
      ended(at);
    } else {
      unfinished.undo();
      Placement back = new Placement(at.spec(), move.from(), at.pid(), Optional.empty());
      back.write(folders.placements());
      told.accept(
          "The move of "
              + at.name()
              + " from "
              + move.from()
              + " to "
              + move.to()
              + " was undone.");
      again(back);
    }
  }

  /// It runs in the new OS; what is left of the move is done when it has been taken back.
  private void finish(Placement at, UnfinishedMove unfinished, int pid) {
    unfinished.deliver();
    OsVm to = unfinished.to().orElseThrow();
    Container container = container(at, to, pid);
    container.lock().lock();
    try {
      container.is(State.DRAINING);
      container.placed(Optional.of(unfinished.move()));
      if (taken(at.name(), container)) {
        finish(container, unfinished);
      }
    } finally {
      container.lock().unlock();
    }
  }

  private void finish(Container container, UnfinishedMove unfinished) {
    while (!closed) {
      try {
        unfinished.finish(container);
        container.is(State.RUNNING);
        container.placed(Optional.empty());
        told.accept(
            "The move of " + container.name() + " to " + container.os().name() + " was finished.");
        return;
      } catch (TroubleException | LinuxException | IllegalStateException e) {
        LOG.log(System.Logger.Level.WARNING, container.name() + " is not moved yet", e);
        if (hasEnded(container, unfinished)) {
          container.is(State.STOPPED);
          told.accept("Container " + container.name() + " ended while its memory came.");
          return;
        }
        LockSupport.parkNanos(AGAIN.toNanos());
      }
    }
  }

  /// Whether that is certain.
  private static boolean hasEnded(Container container, UnfinishedMove unfinished) {
    try {
      return container.os().ended() || unfinished.arrived().orElse(0) == 0;
    } catch (TroubleException e) {
      return false;
    }
  }

  private Container container(Placement at, OsVm os, int pid) {
    giveUpElsewhere(at, os);
    // A queue that is left alone is the first of its port.
    Optional<Tap> port = at.spec().network().map(_ -> adopt(os, at.spec().port()));
    Container container =
        new Container(
            at.spec(), folders.containers().resolve(at.name()), folders.placements(), port, os);
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

  private void ended(Placement at) {
    Placement.remove(folders.placements(), at.name());
    Path home = folders.containers().resolve(at.name());
    if (at.pid() == 0) {
      ReleaseFolders.delete(home);
    }
    taker.release("container/" + at.name());
    told.accept(
        at.pid() == 0
            ? "Container " + at.name() + " had not been started yet and was removed."
            : "Container " + at.name() + " has ended; its files are in " + home + ".");
  }

  /// What has not answered is left as it is.
  @Override
  public void close() {
    closed = true;
    answers.values().forEach(answer -> answer.cancel(false));
  }
}
