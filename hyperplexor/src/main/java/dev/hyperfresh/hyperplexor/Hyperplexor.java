package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
  private final Kinds kinds;
  private final KvmProbe.Result kvm;
  private final Confiner confiner = Confiner.ofThisHost();
  private final Journal journal;
  private final GuestMoves moves;
  private final Recovery recovery;
  private final Traffic traffic = new Traffic();
  private final Plans plans = new Plans();

  private final GuestWatch watch;
  private final GuestTable guests = new GuestTable();

  /// Works under `directory`, which it creates. Others may pass through it where guests have users
  /// of their own, because these need their releases; what lies in it is closed to them.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @param watch told of every guest
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Hyperplexor(Path directory, Kinds kinds, KvmProbe.Result kvm, GuestWatch watch) {
    this.directory = directory.toAbsolutePath();
    this.sockets = this.directory.resolve("run");
    this.kinds = kinds;
    this.kvm = kvm;
    this.watch = watch;
    if (confiner.givesUsers()) {
      OwnFolder.passable(this.directory);
    } else {
      OwnFolder.closed(this.directory);
    }
    OwnFolder.closed(sockets);
    this.journal = Journal.open(this.directory.resolve("journal.log"));
    this.moves = new GuestMoves(guests, plans, traffic, journal);
    this.recovery = new Recovery(this.directory, kinds, journal, confiner, guests, this::changed);
  }

  /// Guest's thread. A guest that no process runs needs no user and no control group.
  private void changed(Guest guest) {
    GuestView view = guest.view();
    if (view.state() == GuestView.State.STOPPED) {
      giveBack(guest);
    }
    watch.changed(view);
  }

  /// Its name is still taken, so that nothing is told of another guest of that name before.
  private void tellDeleted(String name) {
    Contained.run("reporting that " + name + " is deleted", () -> watch.deleted(name));
  }

  private void giveBack(Guest guest) {
    confiner.release(guest.spec().name(), guest.files(), guest.confinement().user());
  }

  /// Lets others pass through the directory, on the way to something in it that is open to them.
  public void letOthersPass() {
    OwnFolder.passable(directory);
  }

  /// Makes and starts a guest on `release`. When it fails, nothing is left behind but a hypervisor
  /// that cannot be ended, whose guest is listed then.
  ///
  /// @throws HyperFreshException one of the `SPEC`, `GUEST` and `HOST` problems
  public GuestView create(GuestSpec spec, Release release, Progress progress) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(String.join("; ", faults));
    }
    guests.reserve(spec.name());
    boolean made = false;
    try (Work _ = begin()) {
      GuestView view = createNamed(spec, release, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made && guests.find(spec.name()).isEmpty()) {
        guests.free(spec.name());
      }
    }
  }

  /// Takes a process that something else started under management, without a pause of its guest.
  /// When it fails, the process goes on as it was, and nothing is left behind.
  ///
  /// @param control the process's control socket
  /// @param console the socket of its serial console; empty to find it out
  /// @param releases finds the release that a process runs, given what a start of it needs; called
  ///   when nothing speaks against the adoption any more
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED], [Problem#ADOPT_UNFIT],
  ///   [Problem#GUEST_EXISTS], and one of the `SPEC`, `RELEASE` and `HOST` problems
  public GuestView adopt(
      String name,
      int pid,
      Path control,
      Optional<Path> console,
      BiFunction<Integer, List<String>, Release> releases,
      Progress progress) {
    if (!GuestSpec.isName(name)) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    Creating.requireShortSockets(sockets, name);
    guests.reserve(name);
    boolean made = false;
    try (Work _ = begin()) {
      requireNotOurs(pid);
      Path files = directory.resolve("guests").resolve(name);
      if (Files.exists(files)) {
        throw Problem.GUEST_EXISTS.because(files + " belongs to an earlier guest; remove it.");
      }
      AdoptRequest request = new AdoptRequest(name, pid, control, console, files);
      GuestView view = adopt(request, releases, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made) {
        guests.free(name);
      }
    }
  }

  private GuestView adopt(
      AdoptRequest request,
      BiFunction<Integer, List<String>, Release> releases,
      Progress progress) {
    try {
      OwnFolder.closed(directory.resolve("guests"));
      OwnFolder.closed(request.files());
      Introduction introduction = new Introduction(this::changed);
      Guest guest = new Adopting(request, kinds, sockets, progress).guest(releases, introduction);
      var _ = introduction.make(guest, () -> guests.add(guest));
      return guest.view();
    } catch (RuntimeException e) {
      Contained.run("removing " + request.files(), () -> OwnFolder.delete(request.files()));
      throw e;
    }
  }

  private void requireNotOurs(int pid) {
    for (GuestView view : list()) {
      if (view.pid() == pid) {
        throw Problem.ADOPT_UNFIT.because(
            "Process " + pid + " runs guest " + view.spec().name() + " of this daemon.");
      }
    }
  }

  /// The name is reserved: nobody else uses the folder or the name of a tap.
  private GuestView createNamed(GuestSpec spec, Release release, Progress progress) {
    Creating.requireShortSockets(sockets, spec.name());
    Creating creating = new Creating(spec, release, kinds, kvm);
    Path files = directory.resolve("guests").resolve(spec.name());
    try {
      OwnFolder.closed(directory.resolve("guests"));
      progress.step("create", "memory of " + (spec.memoryBytes() >> 20) + " MiB and the network");
      Guest guest = creating.guest(files, sockets, confiner, this::changed);
      guests.add(guest);
      progress.step("create", creating.starting());
      guest.call(() -> {
        guest.start(release);
        return true;
      });
      return guest.view();
    } catch (RuntimeException e) {
      undo(spec.name(), files);
      throw e;
    }
  }

  /// A guest whose process cannot be ended stays listed with its folder, and can be deleted later.
  private void undo(String name, Path files) {
    Optional<Guest> failed = guests.find(name);
    if (failed.isPresent()) {
      if (!Contained.run("deleting " + name, failed.get()::delete)) {
        return;
      }
      guests.remove(failed.get());
      giveBack(failed.get());
    }
    Contained.run("removing " + files, () -> OwnFolder.delete(files));
    // Whoever was told that its process has ended is told this, too.
    failed
        .filter(guest -> guest.view().state() != GuestView.State.STARTING)
        .ifPresent(_ -> tellDeleted(name));
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
    recovery.start(releases, held, told, ended);
    recovery.await(patience);
  }

  /// Lets go of every guest, which goes on; the next daemon on this directory takes it back.
  public void letGo() {
    plans.close();
    awaitWork();
    recovery.close();
    guests.managed().forEach(guest -> Contained.run("releasing a guest", guest::letGo));
    guests.clear();
    journal.close();
  }

  /// What is being made or moved comes to its end first, so that nothing is left half done; nothing
  /// else begins.
  private void awaitWork() {
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
    for (Guest guest : guests.managed()) {
      if (guest.view().state() != GuestView.State.STOPPED) {
        held.put(guest.spec().name(), guest.call(guest::holdings));
      }
    }
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
    return guest.call(() -> guest.pulse().find());
  }

  /// Continues a guest that stands because its hypervisor did not answer or would not go on after a
  /// roll-back. Does nothing to one that runs.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#GUEST_STATE];
  ///   [Problem#REPLACE_STANDS] when it still does not go on
  public GuestView resume(String name) {
    Guest guest = guests.get(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      return guest.call(() -> {
        guest.resume();
        return guest.view();
      });
    }
  }

  /// Powers the guest off and ends its hypervisor; after `patience` without its consent. Does
  /// nothing to one that is stopped.
  public GuestView stop(String name, Duration patience) {
    Optional<GuestView> already = guests.stopped(name);
    if (already.isPresent()) {
      return already.get();
    }
    Guest guest = guests.get(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      return guest.call(() -> {
        guest.stop(patience);
        return guest.view();
      });
    }
  }

  /// Ends the guest, also one that was lost, and removes its folder; then its name is free.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#INTERNAL] or
  ///   [Problem#DAEMON_STATE] when the process or the folder cannot be removed: it may be tried
  ///   again
  public void delete(String name) {
    Optional<GuestView> already = guests.stopped(name);
    if (already.isPresent()) {
      forget(already.get());
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
        guest.delete();
        OwnFolder.delete(guest.files());
        giveBack(guest);
        var _ = guests.remove(guest);
        tellDeleted(name);
        guests.free(name);
      }
    }
  }

  private void forget(GuestView ended) {
    try (Work _ = begin()) {
      synchronized (ended) {
        String name = ended.spec().name();
        if (guests.stopped(name).filter(ended::equals).isEmpty()) {
          return;
        }
        OwnFolder.delete(ended.files());
        var _ = guests.removeStopped(ended);
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
    plans.close();
    awaitWork();
    recovery.close();
    for (Guest guest : guests.managed()) {
      String what = "Guest " + guest.spec().name();
      attempt(failures, what, guest::delete);
      attempt(failures, what, () -> giveBack(guest));
    }
    guests.clear();
    attempt(failures, "The journal", journal::close);
    if (!failures.isEmpty()) {
      throw Problem.INTERNAL.because(String.join(" ", failures));
    }
  }

  private static void attempt(List<String> failures, String what, Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      failures.add(what + " could not be closed: " + e.getMessage());
    }
  }
}
