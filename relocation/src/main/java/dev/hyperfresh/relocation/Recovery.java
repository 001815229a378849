package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.relocation.Container.State;
import dev.hyperfresh.vm.TakingBack;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VmRegistry;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/// Takes back the containers that an earlier daemon left: each on a thread of its own, when the
/// operating systems it has to do with have answered or are known to be gone.
final class Recovery implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Recovery.class.getName());

  /// How a container ended whose OS ended because the host has booted.
  private static final String WITH_HOST = "the host has booted since";

  private final Path containers;
  private final Path folder;
  private final VmRegistry<OsVm, OsRelease> systems;
  private final Occupancy occupancy;
  private final TakingBack takingBack;
  private final Taker taker;
  private final Consumer<RelocationRecord> records;
  private final Map<String, Placement> placements = new ConcurrentHashMap<>();
  private final Map<String, Relocation> unfinished = new ConcurrentHashMap<>();
  private volatile boolean closed;

  /// Whose all this becomes.
  interface Taker {
    /// The name of a container is in use.
    void claim(String name);

    /// @throws TroubleException when it has ended
    void take(Container container);

    /// A container is nowhere.
    ///
    /// @return whether it had ever run; else nothing of it is left
    boolean ended(Placement at, ContainerState how);
  }

  /// @param containers the folder of all containers
  /// @param folder of [Placement]s
  /// @param systems which are being taken back
  /// @param occupancy in which a move has its places in both operating systems until it is over
  /// @param records told of every move that has come to its end
  Recovery(
      Path containers,
      Path folder,
      VmRegistry<OsVm, OsRelease> systems,
      Occupancy occupancy,
      TakingBack takingBack,
      Taker taker,
      Consumer<RelocationRecord> records) {
    this.containers = containers;
    this.folder = folder;
    this.systems = systems;
    this.occupancy = occupancy;
    this.takingBack = takingBack;
    this.taker = taker;
    this.records = records;
  }

  private static String called(String container) {
    return "Container " + container;
  }

  /// Begins to take them back. The operating systems have been begun with.
  void begin() {
    for (String name : Placement.names(folder)) {
      taker.claim(name);
      try {
        placements.put(name, Placement.read(folder, name));
        // Read anew each time: an attempt may have written down how far it came.
        takingBack.begin(
            called(name), "hf-recover-" + name, () -> again(Placement.read(folder, name)));
      } catch (HyperFreshException e) {
        takingBack.leave(called(name), e.detail());
      }
    }
  }

  /// Why something is not taken back yet, such as `Container web`; empty when it is.
  String why(String what) {
    return takingBack.why(what);
  }

  /// The names of containers that are not taken back yet and have to do with an OS.
  List<String> waitingFor(String os) {
    return placements.values().stream()
        .filter(placement -> !takingBack.why(called(placement.name())).isEmpty())
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

  /// Whether a container is not taken back yet, but will be. One of which what is written cannot be
  /// understood is not.
  boolean isTakingBack(String name) {
    return placements.containsKey(name) && !takingBack.why(called(name)).isEmpty();
  }

  /// Waits for an OS; empty when it is gone.
  private Optional<OsVm> os(String name) {
    return systems.awaitAnswer(name).filter(os -> !os.ended());
  }

  private void again(Placement at) {
    Optional<OsVm> os = os(at.os());
    if (at.move().isPresent()) {
      again(at, at.move().get());
      return;
    }
    if (os.isPresent() && isIn(os.get(), at)) {
      var _ = taken(at.name(), container(at, os.get(), at.pid()));
    } else {
      ContainerEnd.settle(how(at, os), new FoundEnd(at, os));
    }
  }

  private static boolean isIn(OsVm os, Placement at) {
    return at.ended().isEmpty() && at.pid() > 0 && new Inside(os, at.spec()).here().orElse(0) > 0;
  }

  private void again(Placement at, Placement.Move move) {
    Optional<OsVm> to = os(move.to());
    ContainerFolder files = files(at.name());
    OsMove steps =
        new OsMove(at.spec(), move, os(move.from()), to, Optional.empty(), files, () -> closed);
    FoundJournal journal = new FoundJournal(at, to);
    Relocation relocation =
        new Relocation(steps, journal, at.state(), System::nanoTime, LockSupport::parkNanos);
    unfinished.put(at.name(), relocation);
    Instant startedAt = Instant.now();
    String what = at.name() + " is being moved";
    try (Occupancy.Place _ = occupancy.keep(move.from(), what);
        Occupancy.Place _ = occupancy.keep(move.to(), what)) {
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
        takingBack.say(what + " was finished.");
        journal.retire();
      }
      case MoveState.RolledBack _ -> {
        takingBack.say(what + " was undone.");
        again(at.of(over));
      }
      case MoveState.Ended(String why, ContainerState.Ended how) -> {
        takingBack.say(what + " was finished, but the container has ended: " + why + ".");
        journal.end(how);
      }
      case MoveState.Lost lost -> {
        takingBack.say(what + " lost the container: " + lost.why() + ".");
        journal.lost(lost.how());
      }
    }
  }

  /// Resumes a container in doubt where it is paused.
  ///
  /// @return whether there is one of that name
  boolean resume(String name) {
    Optional<Relocation> doubted = doubted(name);
    doubted.ifPresent(Relocation::resume);
    return doubted.isPresent();
  }

  /// Whether a container is paused because it may have run in an OS that is gone.
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
      written.write(folder);
      if (state instanceof MoveState.Doubt) {
        waits(
            "it is paused in "
                + begun.os()
                + " and may have run in "
                + begun.move().map(Placement.Move::to).orElse("")
                + ", which is gone. `hyperfresh container resume "
                + begun.name()
                + "` resumes it.");
        takingBack.goOnWithout(called(begun.name()));
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
      takingBack.waits(called(begun.name()), why);
    }

    void retire() {
      container.ifPresent(found -> found.is(State.RUNNING));
    }

    void lost(ContainerState.Ended how) {
      container.ifPresentOrElse(found -> found.lost(how), () -> nowhere(how));
    }

    void end(ContainerState.Ended how) {
      container.ifPresentOrElse(found -> found.stops(how), () -> nowhere(how));
    }

    /// The move has cleared up both operating systems.
    private void nowhere(ContainerState.Ended how) {
      ContainerEnd.settle(how, new FoundEnd(written, Optional.empty()));
    }

    void letGo() {
      container.ifPresent(found -> found.lock().unlock());
    }
  }

  private Container container(Placement at, OsVm os, int pid) {
    giveUpElsewhere(at, os);
    // A queue that is left alone is the first of its port.
    Optional<Tap> port = at.spec().network().map(_ -> adopt(os, at.spec().port()));
    Container container = new Container(at.spec(), files(at.name()), folder, port, os);
    container.runs(os, pid);
    return container;
  }

  /// No OS but `os` has a card on the container's port.
  private void giveUpElsewhere(Placement at, OsVm os) {
    systems.list().stream()
        .filter(other -> !other.equals(os) && !other.ended())
        .filter(other -> other.vm().descriptors().hasQueue(at.spec().port()))
        .forEach(other -> new Inside(other, at.spec()).unplug());
  }

  private ContainerFolder files(String container) {
    return new ContainerFolder(containers.resolve(container));
  }

  private static Tap adopt(OsVm os, String port) {
    var queue = os.vm().descriptors().copyQueue(port);
    try {
      return Tap.adopt(List.of(queue), port);
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
    takingBack.taken(called(name));
    takingBack.say("Container " + name + " was reattached in " + container.os().name() + ".");
    return true;
  }

  /// The end of a container that an earlier daemon has left.
  private final class FoundEnd implements EndSteps {
    private final Placement at;

    /// Where it has ended, if that lives and may have something of it.
    private final Optional<OsVm> os;

    private String outcome = "";

    FoundEnd(Placement at, Optional<OsVm> os) {
      this.at = at;
      this.os = os;
    }

    @Override
    public void write(ContainerState how) {
      if (at.ended().isEmpty() && how instanceof ContainerState.Ended ended) {
        at.asEnded(ended).write(folder);
      }
    }

    @Override
    public void clear() {
      os.ifPresent(where -> new Inside(where, at.spec()).clear());
    }

    @Override
    public void note(ContainerState how) {
      outcome =
          taker.ended(at, how)
              ? "Container "
                  + at.name()
                  + " has ended ("
                  + how.how()
                  + "); its files are in "
                  + containers.resolve(at.name())
                  + "."
              : "Container " + at.name() + " had not been started yet and was removed.";
    }

    @Override
    public void forget() {
      Placement.remove(folder, at.name());
      takingBack.say(outcome);
    }
  }

  private ContainerState how(Placement at, Optional<OsVm> os) {
    if (at.ended().isPresent()) {
      return at.ended().get();
    }
    if (os.isEmpty() && systems.endedWithHost(at.os())) {
      return ContainerState.Ended.unknown(Instant.now(), WITH_HOST);
    }
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
    takingBack.close();
  }
}
