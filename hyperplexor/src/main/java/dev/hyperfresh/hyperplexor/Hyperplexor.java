package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;

/// The way in: guests are made, listed, moved and ended here. Thread-safe; work on one guest is
/// done in order on the guest's own thread, work on several in parallel.
public final class Hyperplexor implements AutoCloseable {
  /// How long work on guests may take when all is let go: a guest that is being made or moved.
  private static final Duration LAST_WORK = Duration.ofSeconds(30);

  private static final System.Logger LOG = System.getLogger(Hyperplexor.class.getName());

  private final Path directory;
  private final Path sockets;
  private final Confiner confiner = Confiner.ofThisHost();
  private final Journal journal;
  private final GuestMoves moves;
  private final Recovery recovery;
  private final Traffic traffic = new Traffic();
  private final Plans plans = new Plans();

  private final Telling telling;
  private final HandedFolders handed;
  private final GuestTable guests = new GuestTable();
  private final GuestLife life = new GuestLife();
  private final GuestStarts starts;

  /// Works under `directory`, which it creates. Others may pass through it where guests have users
  /// of their own, because these need their releases; what lies in it is closed to them.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @param watch told of every guest
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Hyperplexor(Path directory, Kinds kinds, KvmProbe.Result kvm, GuestWatch watch) {
    this(directory, kinds, kvm, watch, WatchTimes.USUAL);
  }

  /// As the other one.
  ///
  /// @param watchTimes how long a heartbeat is watched for the figures of a replacement
  public Hyperplexor(
      Path directory, Kinds kinds, KvmProbe.Result kvm, GuestWatch watch, WatchTimes watchTimes) {
    this.telling = new Telling(watch, this::changed);
    // So the next daemon finds what is written down of a folder, whatever link it is given.
    this.directory = OwnFolder.real(directory, confiner.givesUsers());
    // A link may be there because the names of sockets must be short.
    this.sockets = directory.toAbsolutePath().resolve("run");
    OwnFolder.closed(sockets);
    this.handed = new HandedFolders(this.directory);
    this.journal = Journal.open(this.directory.resolve("journal.log"));
    this.moves = new GuestMoves(guests, plans, traffic, journal, watchTimes);
    this.starts =
        new GuestStarts(
            this.directory,
            sockets,
            kinds,
            kvm,
            confiner,
            guests,
            new ConcurrentHashMap<>(),
            telling,
            this::tellDeleted);
    this.recovery =
        new Recovery(
            this.directory, sockets, kinds, journal, confiner, guests, this::changed, life::found);
  }

  /// Guest's thread. A guest that no process runs needs no user and no control group.
  private void changed(Guest guest) {
    if (guest.view().state() == GuestView.State.STOPPED) {
      starts.giveBack(guest);
    }
    telling.watch().changed(guest.view());
    life.changed(guest);
    starts.leaveIfOver(guest);
  }

  private void tellDeleted(String name) {
    life.deleted(name);
    telling.deleted(name);
  }

  /// Lets others pass through the directory, on the way to something in it that is open to them.
  public void letOthersPass() {
    OwnFolder.passable(directory);
  }

  /// Makes a guest and starts it on `release`. When it fails, nothing is left behind but a
  /// hypervisor that cannot be ended, whose guest is listed then.
  ///
  /// @throws HyperFreshException one of the `SPEC`, `GUEST` and `HOST` problems
  public GuestView create(GuestSpec spec, Release release, Progress progress) {
    return create(spec, release, true, progress);
  }

  /// As [#create(GuestSpec, Release, Progress)].
  ///
  /// @param start whether it is started; otherwise it is listed as stopped
  public GuestView create(GuestSpec spec, Release release, boolean start, Progress progress) {
    Starting.requireWithoutFaults(spec);
    guests.reserve(spec.name());
    boolean made = false;
    try (Work _ = begin()) {
      GuestView view = starts.create(spec, release, start, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made && guests.find(spec.name()).isEmpty()) {
        guests.free(spec.name());
      }
    }
  }

  /// Takes a process that something else started under management. Its guest is not paused, unless
  /// its memory is private and copied. When it fails, the process goes on as it was and nothing is
  /// left behind, unless the guest stands or is lost: then it is listed.
  ///
  /// @throws HyperFreshException one of the `ADOPT`, `GUEST`, `SPEC`, `RELEASE`, `REPLACE` and
  ///   `HOST` problems
  public GuestView adopt(AdoptOrder order, Progress progress) {
    String name = order.name();
    Starting.requireShortSockets(sockets, name);
    guests.reserve(name);
    boolean made = false;
    try (Work _ = begin()) {
      GuestView view = starts.adopt(order, moves::copy, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made && guests.find(name).isEmpty()) {
        guests.free(name);
      }
    }
  }

  /// As [#adopt(AdoptOrder, Progress)], of a guest whose memory is not private.
  public GuestView adopt(
      String name,
      int pid,
      Path control,
      Optional<Path> console,
      BiFunction<FoundProcess, List<String>, Release> releases,
      Progress progress) {
    return adopt(
        new AdoptOrder(name, pid, control, console, releases, Optional.empty(), false), progress);
  }

  /// Gives a guest that was borrowed back to its manager. It is forgotten here, its process goes
  /// on, and what that may still open of the guest's files is kept until it has ended.
  ///
  /// @param before writes down what the manager has to know, while the guest is still here
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#GUEST_STATE] when it was not
  ///   borrowed, does not answer, is not certain to be its process's alone, or does not listen
  ///   where its manager looks for it; [Problem#REPLACE_BUSY], [Problem#DAEMON_STATE]. It stays
  ///   then
  public HandedBack handBack(String name, Consumer<HandedBack> before) {
    Guest guest = guests.get(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      synchronized (guest) {
        HandedBack back = new HandBack(handed).of(guest, before);
        var _ = guests.remove(guest);
        life.deleted(name);
        telling.handedBack(back);
        guests.free(name);
        return back;
      }
    }
  }

  /// The names of the borrowed guests, but for those that are still being taken back.
  public List<String> borrowed() {
    return HandBack.borrowed(guests.managed());
  }

  /// Starts guests by themselves from now on, until this is closed: those with autostart, when the
  /// host has booted since a daemon looked after them last, and those that end and whose policy is
  /// to be started again. Comes after [#takeBack].
  ///
  /// @param pace when, and how many at once; belongs to this object now
  /// @param starter calls [#start] with a release, on a thread of `pace`; what it throws is told of
  ///   the guest
  public void startThemselves(Pace pace, BiConsumer<String, StartReason> starter) {
    life.begin(pace, starter::accept, guests.managed());
  }

  /// Boots a guest that nothing runs. Does nothing to one that runs.
  ///
  /// @param why another one than [StartReason#REQUEST] does nothing when it no longer holds
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#GUEST_STATE] when it stands on a
  ///   hypervisor that is there, or a process of it may still live; and as [#create] when it does
  ///   not start, which may be tried again
  public GuestView start(String name, Release release, StartReason why, Progress progress) {
    return changing(name, guest -> starts.start(guest, release, why, Contained.progress(progress)));
  }

  /// As [#stop] and [#start]; the guest is not stopped when it is clear before that it would not
  /// start.
  public GuestView restart(String name, Release release, Duration patience, Progress progress) {
    return changing(
        name, guest -> starts.restart(guest, release, patience, Contained.progress(progress)));
  }

  /// Whether a guest is started when the host has booted.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#DAEMON_STATE]
  public GuestView autostart(String name, boolean on) {
    return changing(name, guest -> guest.laterStarts().autostart(on));
  }

  /// Has the guest's next start make `spec` of it; its files are decided anew then. What runs it is
  /// not touched.
  ///
  /// @param where the release on which it is to be able to start
  /// @param named whether it starts there from now on, instead of where it ran last
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#GUEST_STATE] when it was
  ///   adopted; and as [#create], when it could not be made like this
  public GuestView edit(String name, GuestSpec spec, Release where, boolean named) {
    if (!spec.name().equals(name)) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + spec.name() + "' is not that of guest " + name + ", which stays the same");
    }
    Starting.requireWithoutFaults(spec);
    return changing(name, guest -> starts.edit(guest, spec, where, named));
  }

  /// Does something to a guest, on its thread.
  private GuestView changing(String name, Consumer<Guest> change) {
    Guest guest = guests.get(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      return guest.call(() -> {
        change.accept(guest);
        return guest.view();
      });
    }
  }

  /// Takes back the guests of an earlier daemon on this directory, whose hypervisors still run, all
  /// at once. A replacement that was under way is finished when the target runs the guest by now,
  /// and undone otherwise. A guest whose hypervisor does not answer within `patience` is left as it
  /// is and listed as recovering; it is taken back when it answers.
  ///
  /// @param releases finds a release by its name
  /// @param held what the earlier daemon handed over of its guests, by name; belongs to this object
  ///   now. What is missing is copied out of the hypervisors.
  /// @param told one sentence for each guest, and more when it changes; called by several threads
  /// @param ended the replacements that were under way, as they ended
  public void takeBack(
      Function<String, Release> releases,
      Map<String, Holdings> held,
      Duration patience,
      Consumer<String> told,
      Consumer<ReplacementRecord> ended) {
    Contained.run("removing what was handed back", handed::sweep);
    recovery.start(releases, held, told, ended);
    recovery.await(patience);
  }

  /// Lets go of every guest, which goes on; the next daemon on this directory takes it back.
  public void letGo() {
    life.close();
    plans.close();
    awaitWork();
    recovery.close();
    guests.managed().forEach(guest -> Contained.run("releasing a guest", guest::letGo));
    guests.clear();
    journal.close();
  }

  /// What is being made or moved comes to its end first, so that nothing is left half done; nothing
  /// else begins. A copy of a memory is given up.
  private void awaitWork() {
    moves.endCopies();
    if (!traffic.halt(LAST_WORK)) {
      LOG.log(System.Logger.Level.DEBUG, "not all work on guests has ended");
    }
  }

  /// All guests, by name.
  public List<GuestView> list() {
    return guests.list();
  }

  /// The guest called `name`.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]
  public GuestView show(String name) {
    return guests.show(name);
  }

  /// Looks, without touching guest `name`, at everything that decides whether it can move to `to`.
  /// Whoever changes the guest meanwhile does not wait for it: the dry run is then given up, as it
  /// is when the calling thread is interrupted. One of a guest is under way at a time, and 4 of
  /// all.
  ///
  /// @param rehearse whether the move is tried out beside the guest, which is then done anew
  /// @param stepClock as in [#replace]
  /// @param progress told on a thread of the dry run's own
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#GUEST_STATE] when the guest does
  ///   not run; [Problem#PLAN_BUSY]; [Problem#PLAN_GIVEN_UP]; [Problem#DAEMON_UPGRADING]
  public List<Check> plan(
      String name, Release to, boolean rehearse, boolean stepClock, Progress progress) {
    return moves.plan(
        name,
        to,
        rehearse ? Preflight.Rehearsing.ANEW : Preflight.Rehearsing.LEFT_OUT,
        stepClock,
        progress);
  }

  /// Gives up the dry runs that are under way and takes no more, as [#letGo] and [#close] do; they
  /// have ended when this returns.
  public void endPlans() {
    plans.close();
  }

  /// Moves guest `name` to `to`, after a rehearsal. Returns also when it was rolled back; the
  /// record says so.
  ///
  /// @param maxBlackout after which the switch is given up, in the range of [BlackoutLimit]
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES], [Problem#REPLACE_BUSY],
  ///   [Problem#GUEST_STATE], [Problem#API_REQUEST]; the guest was not touched
  public ReplacementRecord replace(
      String name, Release to, Duration maxBlackout, Progress progress) {
    return replace(name, to, maxBlackout, true, false, progress);
  }

  /// As [#replace(String, Release, Duration, Progress)].
  ///
  /// @param rehearse whether the move is first tried out beside the guest, unless that was passed
  ///   earlier
  /// @param stepClock whether the guest's agent is asked after the commit to set the guest's wall
  ///   clock to the host's; it is in any case when the guest's spec says so. What comes of it
  ///   stands in the record, and changes nothing else.
  public ReplacementRecord replace(
      String name,
      Release to,
      Duration maxBlackout,
      boolean rehearse,
      boolean stepClock,
      Progress progress) {
    return moves.replace(name, to, maxBlackout, rehearse, stepClock, progress);
  }

  /// Work on guests that a newer daemon waits for; closed when it is over. What this class does
  /// itself counts anyway.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_UPGRADING] while no new work is taken
  public Work begin() {
    return traffic.begin();
  }

  /// One piece of work.
  public interface Work extends AutoCloseable {
    @Override
    void close();
  }

  /// Takes no new work from now on and waits for the rest.
  ///
  /// @return false when that did not end within `limit`; work is taken again then
  public boolean halt(Duration limit) {
    plans.close();
    boolean halted = traffic.halt(limit);
    if (!halted) {
      plans.reopen();
    }
    return halted;
  }

  /// Takes work again after [#halt].
  public void goOn() {
    traffic.goOn();
    plans.reopen();
  }

  /// What this object holds of each guest that runs, by name; it keeps owning it. Only after
  /// [#halt], while nothing changes.
  public Map<String, Holdings> holdings() {
    Map<String, Holdings> held = new LinkedHashMap<>();
    guests.managed().stream()
        .filter(guest -> guest.view().state() != GuestView.State.STOPPED)
        .forEach(guest -> held.put(guest.spec().name(), guest.call(guest::holdings)));
    return held;
  }

  /// Moves several guests, as `order` says. One rollout at a time.
  ///
  /// @param mover makes each single replacement
  /// @throws HyperFreshException [Problem#ROLLOUT_BUSY]; [Problem#GUEST_UNKNOWN] and
  ///   [Problem#API_REQUEST] before anything was touched
  public Rollout.Result<ReplacementRecord> rollOut(
      GuestRollout.Order order, GuestRollout.Mover mover, Rollout.Audience audience) {
    return moves.rollOut(this, order, mover, audience);
  }

  /// What [#rollOut] would do now; touches nothing.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#API_REQUEST];
  ///   [Problem#PLAN_GIVEN_UP] when the calling thread is interrupted
  public Rollout.Result<ReplacementRecord> planRollout(GuestRollout.Order order) {
    return moves.planRollout(this, order);
  }

  /// Whether the guest carries a heartbeat that beats now.
  public boolean hasHeartbeat(String name) {
    Guest guest = guests.get(name);
    return guest.call(guest::beats);
  }

  /// Continues a guest that stands because its hypervisor did not answer or would not go on after a
  /// roll-back. Does nothing to one that runs.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#GUEST_STATE];
  ///   [Problem#REPLACE_STANDS] when it still does not go on
  public GuestView resume(String name) {
    return changing(name, guest -> guest.hosting().resume(guest.running()));
  }

  /// Powers the guest off and ends its hypervisor; after `patience` without its consent. Does
  /// nothing to one that is stopped, but that it is not started by itself any more.
  public GuestView stop(String name, Duration patience) {
    return changing(name, guest -> guest.stop(patience));
  }

  /// Ends the guest, also one that was lost, and removes its folder; then its name is free.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; when a process or the folder cannot be
  ///   removed [Problem#INTERNAL], [Problem#GUEST_STATE] or [Problem#DAEMON_STATE]
  public void delete(String name) {
    delete(name, true);
  }

  /// As [#delete(String)]. Without `force` one that runs, or of which a process is left, is refused
  /// with [Problem#GUEST_RUNS].
  public void delete(String name, boolean force) {
    if (force && starts.deleteUnreadable(name)) {
      return;
    }
    Guest guest = guests.get(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      synchronized (guest) {
        if (guests.find(name).filter(guest::equals).isEmpty()) {
          // Somebody else has deleted it, and the name may be another guest's by now.
          return;
        }
        starts.delete(guest, force);
        var _ = guests.remove(guest);
        tellDeleted(name);
        guests.free(name);
      }
    }
  }

  /// Ends every guest and lets go of everything. A guest that cannot be ended does not keep the
  /// others.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] at the end, with all that failed
  @Override
  public void close() {
    List<String> failures = new ArrayList<>();
    life.close();
    plans.close();
    awaitWork();
    recovery.close();
    for (Guest guest : guests.managed()) {
      String what = "Guest " + guest.spec().name();
      Contained.close(failures, what, () -> guest.delete(true));
      Contained.close(failures, what, () -> starts.giveBack(guest));
    }
    guests.clear();
    Contained.close(failures, "The journal", journal::close);
    if (!failures.isEmpty()) {
      throw Problem.INTERNAL.because(String.join(" ", failures));
    }
  }
}
