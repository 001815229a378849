package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/// The way in: guests are made, listed, moved and ended here. Thread-safe; work on one guest is
/// done in order on the guest's own thread, work on several in parallel.
public final class Hyperplexor implements AutoCloseable {
  /// The least blackout budget: below it no hand-over can succeed.
  public static final Duration MIN_BLACKOUT = Duration.ofMillis(1);

  /// The largest blackout budget.
  public static final Duration MAX_BLACKOUT = Duration.ofMinutes(1);

  // linux/stat.h S_ISVTX
  private static final int STICKY = 01000;

  /// How long work on guests may take when all is let go: a guest that is being made or moved.
  private static final Duration LAST_WORK = Duration.ofSeconds(30);

  private static final System.Logger LOG = System.getLogger(Hyperplexor.class.getName());

  private final Path directory;
  private final Path sockets;
  private final Hypervisor hypervisor;
  private final KvmProbe.Result kvm;
  private final Confiner confiner = Confiner.ofThisHost();
  private final Journal journal;
  private final SwitchGate gate;
  private final Recovery recovery;
  private final Traffic traffic = new Traffic();
  private final Plans plans = new Plans();

  /// Held by a replacement while it rehearses.
  private final Lock rehearsal = new ReentrantLock(true);

  private final GuestWatch watch;
  private final Map<String, Guest> guests = new ConcurrentHashMap<>();

  /// Guests of earlier daemons that no process runs any more; they are listed until they are
  /// deleted.
  private final Map<String, GuestView> stopped = new ConcurrentHashMap<>();

  /// Names in use, from before a guest's folder is made until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  private final AtomicBoolean rollingOut = new AtomicBoolean();
  private final AtomicLong lastId = new AtomicLong(System.currentTimeMillis());

  /// Works under `directory`, which it creates. Others may pass through it where guests have users
  /// of their own, because these need their releases; what lies in it is closed to them.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @param watch told of every guest
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Hyperplexor(Path directory, Hypervisor hypervisor, KvmProbe.Result kvm, GuestWatch watch) {
    this.directory = directory.toAbsolutePath();
    this.sockets = this.directory.resolve("run");
    this.hypervisor = hypervisor;
    this.kvm = kvm;
    this.watch = watch;
    folder(this.directory, confiner.givesUsers() ? "rwx--x--x" : "rwx------");
    privateFolder(sockets);
    this.journal = Journal.open(this.directory.resolve("journal.log"));
    this.gate = SwitchGate.forCores(Runtime.getRuntime().availableProcessors());
    this.recovery =
        new Recovery(
            this.directory,
            hypervisor,
            journal,
            confiner,
            new Recovery.Owner(
                names::add, names::remove, this::welcome, view -> stopped.put(name(view), view)),
            this::changed);
  }

  private static String name(GuestView view) {
    return view.spec().name();
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
    Contained.run("telling that " + name + " is deleted", () -> watch.deleted(name));
  }

  private void giveBack(Guest guest) {
    confiner.release(guest.spec().name(), guest.files(), guest.confinement().user());
  }

  /// Lets others pass through the directory, on the way to something in it that is open to them.
  public void letOthersPass() {
    folder(directory, "rwx--x--x");
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
    if (!names.add(spec.name())) {
      throw exists(spec.name());
    }
    boolean made = false;
    try (Work _ = begin()) {
      GuestView view = createNamed(spec, release, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made && !guests.containsKey(spec.name())) {
        names.remove(spec.name());
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
    requireShortSockets(name);
    if (!names.add(name)) {
      throw exists(name);
    }
    boolean made = false;
    try (Work _ = begin()) {
      requireNotOurs(pid);
      Path files = directory.resolve("guests").resolve(name);
      if (Files.exists(files)) {
        throw Problem.GUEST_EXISTS.because(files + " is of an earlier guest; remove it.");
      }
      AdoptRequest request = new AdoptRequest(name, pid, control, console, files);
      GuestView view = adoptInto(request, releases, Contained.progress(progress));
      made = true;
      return view;
    } finally {
      if (!made) {
        names.remove(name);
      }
    }
  }

  private GuestView adoptInto(
      AdoptRequest request,
      BiFunction<Integer, List<String>, Release> releases,
      Progress progress) {
    try {
      privateFolder(directory.resolve("guests"));
      privateFolder(request.files());
      progress.step("adopt", "looking at process " + request.pid());
      return adopt(request, releases, progress);
    } catch (RuntimeException e) {
      Contained.run("removing " + request.files(), () -> deleteFolder(request.files()));
      throw e;
    }
  }

  private GuestView adopt(
      AdoptRequest request,
      BiFunction<Integer, List<String>, Release> releases,
      Progress progress) {
    Adoption found = hypervisor.adopt(request);
    Release release;
    try {
      release = releases.apply(request.pid(), found.releaseArguments());
    } catch (RuntimeException e) {
      found.holdings().memory().close();
      found.holdings().nicQueues().forEach(Fd::close);
      throw e;
    }
    progress.step("adopt", "taking it over on " + release.name());
    Introduction introduction = new Introduction(this::changed);
    Guest guest =
        Adopting.guest(
            found, request.pid(), release, hypervisor, request.files(), sockets, introduction);
    var _ = introduction.make(guest, () -> welcome(guest));
    return guest.view();
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
    check(spec, release);
    AcceleratorChoice accelerator = hypervisor.accelerator(spec.accelerator(), release, kvm);
    List<Check> faults =
        Preflight.failures(hypervisor.checks(spec, release, accelerator.accelerator()));
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(Preflight.sentences(faults));
    }
    Path files = directory.resolve("guests").resolve(spec.name());
    try {
      progress.step("create", "memory of " + (spec.memoryBytes() >> 20) + " MiB and the network");
      Guest guest = assemble(spec, accelerator, files);
      guests.put(spec.name(), guest);
      progress.step("create", starting(release, accelerator));
      start(guest, release);
      return guest.view();
    } catch (RuntimeException e) {
      undo(spec.name(), files);
      throw e;
    }
  }

  /// A guest whose process cannot be ended stays listed with its folder, and can be deleted later.
  private void undo(String name, Path files) {
    Guest failed = guests.get(name);
    if (failed != null) {
      if (!Contained.run("deleting " + name, failed::delete)) {
        return;
      }
      guests.remove(name);
      giveBack(failed);
    }
    Contained.run("removing " + files, () -> deleteFolder(files));
    if (failed != null && failed.view().state() != GuestView.State.STARTING) {
      // It was told that its process has ended.
      tellDeleted(name);
    }
  }

  private static String starting(Release release, AcceleratorChoice accelerator) {
    String label = accelerator.accelerator().label();
    return "starting " + release.name() + " (" + label + ": " + accelerator.reason() + ")";
  }

  private static void start(Guest guest, Release release) {
    guest.call(() -> {
      guest.start(release);
      return true;
    });
  }

  private void check(GuestSpec spec, Release release) {
    if (!hypervisor.runs(release)) {
      throw Problem.RELEASE_UNKNOWN.because(release.name() + " is of kind " + release.kind() + ".");
    }
    missingFiles(spec);
    long most = Host.availableMemoryBytes();
    if (spec.memoryBytes() > most) {
      throw Problem.SPEC_MEMORY.because(
          (spec.memoryBytes() >> 20) + " MiB asked for, " + (most >> 20) + " MiB available.");
    }
    requireShortSockets(spec.name());
  }

  private void requireShortSockets(String name) {
    // The longest name an instance of this guest can ever have, with ten digits of generation.
    Path longest = sockets.resolve(name + ".9999999999.qmp");
    int length = longest.toString().getBytes(StandardCharsets.UTF_8).length;
    if (length > UnixSocket.MAX_PATH) {
      throw Problem.HOST_SOCKET_PATH.because(longest + " has " + length + " bytes.");
    }
  }

  private static HyperFreshException exists(String name) {
    return Problem.GUEST_EXISTS.because("Guest " + name + " is here already.");
  }

  private static void missingFiles(GuestSpec spec) {
    List<Path> wanted = new ArrayList<>();
    spec.boot()
        .ifPresent(boot -> {
          wanted.add(boot.kernel());
          boot.initrd().ifPresent(wanted::add);
        });
    spec.disks().forEach(disk -> wanted.add(disk.path()));
    List<String> missing =
        wanted.stream().filter(file -> !Files.isReadable(file)).map(Path::toString).toList();
    if (!missing.isEmpty()) {
      throw Problem.SPEC_FILE_MISSING.because(String.join(", ", missing));
    }
  }

  private Guest assemble(GuestSpec spec, AcceleratorChoice accelerator, Path files) {
    List<Tap> taps = new ArrayList<>();
    List<MemFd> memories = new ArrayList<>();
    try {
      privateFolder(directory.resolve("guests"));
      privateFolder(files);
      for (GuestSpec.Nic nic : spec.nics()) {
        taps.add(tap(nic));
      }
      MemFd memory = MemFd.create("hf-" + spec.name(), spec.memoryBytes());
      memories.add(memory);
      return new Guest(
          spec,
          hypervisor,
          accelerator,
          memory,
          taps,
          files,
          sockets,
          Instant.now(),
          confiner.confine(spec, files),
          this::changed);
    } catch (LinuxException e) {
      memories.forEach(MemFd::close);
      taps.forEach(Tap::close);
      throw Problem.HOST_MISSING.because(String.valueOf(e.getMessage()), e);
    } catch (RuntimeException e) {
      memories.forEach(MemFd::close);
      taps.forEach(Tap::close);
      throw e;
    }
  }

  private static Tap tap(GuestSpec.Nic nic) {
    Tap tap;
    try {
      tap = Tap.create(nic.tap());
    } catch (LinuxException e) {
      throw (e.errnoName().equals("EPERM") || e.errnoName().equals("EACCES")
              ? Problem.HOST_PERMISSION
              : Problem.HOST_MISSING)
          .because("Tap " + nic.tap() + " cannot be made: " + e.getMessage(), e);
    }
    try {
      nic.bridge().ifPresent(tap::addToBridge);
      tap.up();
      return tap;
    } catch (LinuxException e) {
      tap.close();
      throw Problem.HOST_MISSING.because(
          "Tap " + nic.tap() + " cannot be attached: " + e.getMessage(), e);
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
      Map<String, Hypervisor.Holdings> held,
      Duration patience,
      Consumer<String> told,
      Consumer<ReplacementRecord> ended) {
    recovery.start(releases, held, told, ended);
    recovery.await(patience);
  }

  /// A guest from what an earlier daemon left is here now.
  private boolean welcome(Guest guest) {
    return guests.putIfAbsent(guest.spec().name(), guest) == null;
  }

  /// Lets go of every guest, which goes on; the next daemon on this directory takes it back.
  public void letGo() {
    plans.close();
    awaitWork();
    recovery.close();
    guests.values().forEach(guest -> Contained.run("letting go of a guest", guest::letGo));
    guests.clear();
    stopped.clear();
    names.clear();
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
    return Stream.of(
            guests.values().stream().map(Guest::view),
            recovery.views().stream(),
            stopped.values().stream())
        .flatMap(views -> views)
        .sorted(Comparator.comparing(view -> view.spec().name()))
        .toList();
  }

  /// The guest called `name`.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]
  public GuestView show(String name) {
    return recovery
        .view(name)
        .or(() -> Optional.ofNullable(stopped.get(name)))
        .orElseGet(() -> guest(name).view());
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
    return plan(
        name,
        to,
        rehearse ? Preflight.Rehearsing.ANEW : Preflight.Rehearsing.LEFT_OUT,
        stepClock,
        progress);
  }

  List<Check> plan(
      String name,
      Release to,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Progress progress) {
    Guest guest = guest(name);
    Preflight preflight = new Preflight(guest, to, rehearsing, plans.rehearsing(), progress);
    return plans.run(name, () -> checks(guest, preflight, guest.call(preflight::seen), stepClock));
  }

  private static List<Check> checks(
      Guest guest, Preflight preflight, Preflight.Seen seen, boolean stepClock) {
    List<Check> checks = new ArrayList<>(preflight.checks(seen));
    guest.clockCheck(seen.running(), stepClock).ifPresent(checks::add);
    return checks;
  }

  /// The same for whoever is about to move the guest: it waits for no dry run.
  private List<Check> look(
      String name,
      Release to,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Progress progress) {
    Guest guest = guest(name);
    Preflight preflight = new Preflight(guest, to, rehearsing, rehearsal, progress);
    try (Work _ = plans.giveWay(name)) {
      return guest.call(() -> checks(guest, preflight, preflight.seen(), stepClock));
    }
  }

  /// Gives up the dry runs that are under way and takes no more, as [#letGo] and [#close] do; they
  /// have ended when this returns.
  public void endPlans() {
    plans.close();
  }

  /// Moves guest `name` to `to`, after a rehearsal. Returns also when it was rolled back; the
  /// record says so.
  ///
  /// @param maxBlackout after which the switch is given up, [#MIN_BLACKOUT] to [#MAX_BLACKOUT]
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
    Guest guest = guest(name);
    if (maxBlackout.compareTo(MIN_BLACKOUT) < 0 || maxBlackout.compareTo(MAX_BLACKOUT) > 0) {
      throw Problem.API_REQUEST.because("The blackout budget is not between 1 and 60000 ms.");
    }
    String id = Long.toString(lastId.incrementAndGet(), 36);
    Preflight.Rehearsing rehearsing =
        rehearse ? Preflight.Rehearsing.ONCE : Preflight.Rehearsing.LEFT_OUT;
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      return guest.replace(
          id,
          to,
          maxBlackout,
          rehearsing,
          stepClock,
          rehearsal,
          new Surroundings.OfHost(journal, gate),
          progress);
    }
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
  public Map<String, Hypervisor.Holdings> holdings() {
    Map<String, Hypervisor.Holdings> held = new LinkedHashMap<>();
    guests.forEach((name, guest) -> {
      if (guest.view().state() != GuestView.State.STOPPED) {
        held.put(name, guest.call(guest::holdings));
      }
    });
    return held;
  }

  /// Moves several guests, as `order` says. One rollout at a time.
  ///
  /// @param mover makes each single replacement
  /// @throws HyperFreshException [Problem#ROLLOUT_BUSY]; [Problem#GUEST_UNKNOWN] and
  ///   [Problem#API_REQUEST] before anything was touched
  public Rollout.Result<ReplacementRecord> rollOut(
      GuestRollout.Order order, GuestRollout.Mover mover, Rollout.Audience audience) {
    if (!rollingOut.compareAndSet(false, true)) {
      throw Problem.ROLLOUT_BUSY.because("It must end before another one begins.");
    }
    try {
      return new Rollout<>(new GuestRollout(this, this::look, mover, order), order.pace(), audience)
          .run();
    } finally {
      rollingOut.set(false);
    }
  }

  /// What [#rollOut] would do now; touches nothing.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#API_REQUEST];
  ///   [Problem#PLAN_GIVEN_UP] when the calling thread is interrupted
  public Rollout.Result<ReplacementRecord> planRollout(GuestRollout.Order order) {
    return new Rollout<>(
            new GuestRollout(this, this::plan, GuestRollout.Mover.NONE, order),
            order.pace(),
            Rollout.Audience.NONE)
        .plan();
  }

  /// Whether the guest carries a heartbeat that beats now.
  public boolean hasHeartbeat(String name) {
    Guest guest = guest(name);
    return guest.call(() -> guest.pulse().find());
  }

  /// Continues a guest that stands because its hypervisor did not answer or would not go on after a
  /// roll-back. Does nothing to one that runs.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN], [Problem#GUEST_STATE];
  ///   [Problem#REPLACE_STANDS] when it still does not go on
  public GuestView resume(String name) {
    Guest guest = guest(name);
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
    GuestView already = stopped.get(name);
    if (already != null) {
      return already;
    }
    Guest guest = guest(name);
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
    GuestView already = stopped.get(name);
    if (already != null) {
      forget(already);
      return;
    }
    Guest guest = guest(name);
    try (Work _ = begin();
        Work _ = plans.giveWay(name)) {
      delete(name, guest);
    }
  }

  private void forget(GuestView ended) {
    try (Work _ = begin()) {
      deleteFolder(ended.files());
      if (stopped.remove(name(ended), ended)) {
        tellDeleted(name(ended));
        names.remove(name(ended));
      }
    }
  }

  private void delete(String name, Guest guest) {
    synchronized (guest) {
      guest.delete();
      deleteFolder(guest.files());
      giveBack(guest);
      if (guests.remove(name, guest)) {
        tellDeleted(name);
        names.remove(name);
      }
    }
  }

  private Guest guest(String name) {
    Guest guest = guests.get(name);
    if (guest == null && recovery.view(name).isPresent()) {
      throw Problem.GUEST_STATE.because(
          "Guest " + name + " is being taken back: " + recovery.view(name).get().detail());
    }
    if (stopped.containsKey(name)) {
      throw Problem.GUEST_STATE.because("Guest " + name + " is stopped.");
    }
    if (guest == null) {
      throw Problem.GUEST_UNKNOWN.because("No guest is called '" + name + "'.");
    }
    return guest;
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
    for (Guest guest : guests.values()) {
      attempt(
          failures,
          "Guest " + guest.spec().name(),
          () -> {
            guest.delete();
            giveBack(guest);
          });
    }
    guests.clear();
    stopped.clear();
    names.clear();
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

  /// A folder for this user alone: made, or taken over when it is the user's.
  private static void privateFolder(Path folder) {
    folder(folder, "rwx------");
  }

  private static void folder(Path folder, String mode) {
    Set<PosixFilePermission> permissions = PosixFilePermissions.fromString(mode);
    try {
      Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(permissions));
      if (!Files.getAttribute(folder, "unix:uid").equals(Host.effectiveUid())) {
        throw Problem.DAEMON_STATE.because(folder + " belongs to another user.");
      }
      // A folder such as /tmp would be lost to everybody else.
      if (((int) Files.getAttribute(folder, "unix:mode") & STICKY) != 0) {
        throw Problem.DAEMON_STATE.because(folder + " is shared by all users.");
      }
      Files.setPosixFilePermissions(folder, permissions);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be made: " + e.getMessage(), e);
    }
  }

  static void deleteFolder(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
