package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.ProcessIdentity;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.ConcurrentMap;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// Makes, adopts, starts and edits guests. Thread-safe.
///
/// @param directory the state directory
/// @param sockets where control sockets are
/// @param kvm what `/dev/kvm` was seen to do on this host
/// @param guests where they are listed
/// @param adopting the processes that are being adopted now, with the names they get
/// @param watch told of them, on the guest's thread
/// @param deleted told of those that are gone after all
record GuestStarts(
    Path directory,
    Path sockets,
    Kinds kinds,
    KvmProbe.Result kvm,
    Confiner confiner,
    GuestTable guests,
    ConcurrentMap<ProcessIdentity, String> adopting,
    Watch watch,
    Consumer<String> deleted) {
  /// Told of guests, on the guest's thread.
  interface Watch {
    /// It is not what it was.
    void changed(Guest guest);

    /// It was booted.
    void started(Guest guest, StartReason why);
  }

  private Path folder() {
    return directory.resolve("guests");
  }

  // ---- making ----

  /// As [Hyperplexor#create]; the name is reserved, so that nobody else uses the folder or the name
  /// of a tap.
  GuestView create(GuestSpec spec, Release release, boolean start, Progress progress) {
    Starting.requireShortSockets(sockets, spec.name());
    Starting starting = Starting.of(spec, release, kinds, kvm);
    Path files = folder().resolve(spec.name());
    requireNoProcess(spec.name(), files, Problem.GUEST_STATE);
    try {
      OwnFolder.closed(folder());
      OwnFolder.closed(files);
      kinds.of(release).remember(spec, files);
      Guest guest = made(starting, files);
      guests.add(guest);
      return guest.call(() -> {
        if (start) {
          boot(guest, starting, StartReason.REQUEST, progress);
        } else {
          guest.laterStarts().facts().defined();
          guest.publish(GuestView.State.STOPPED, guest.laterStarts().facts().why());
        }
        return guest.view();
      });
    } catch (RuntimeException e) {
      undo(spec.name(), files);
      throw e;
    }
  }

  private Guest made(Starting starting, Path files) {
    GuestIdentity identity =
        new GuestIdentity(
            starting.spec(),
            starting.accelerator(),
            Optional.empty(),
            files,
            sockets,
            Instant.now());
    Upkeep.Next first = new Upkeep.Next(starting.spec(), Optional.empty());
    return new Guest(
        GuestFacts.begun(identity, kinds, starting.release(), Optional.of(first)),
        kinds,
        Optional.empty(),
        watch::changed);
  }

  /// A guest whose process cannot be ended stays listed with its folder, and can be deleted later.
  private void undo(String name, Path files) {
    Optional<Guest> failed = guests.find(name);
    if (failed.isPresent()) {
      if (!Contained.run("deleting " + name, () -> failed.get().delete(true))) {
        return;
      }
      guests.remove(failed.get());
      giveBack(failed.get());
    }
    Contained.run("removing " + files, () -> OwnFolder.delete(files));
    // Whoever was told that its process has ended is told this, too.
    failed
        .filter(guest -> guest.view().state() != GuestView.State.STARTING)
        .ifPresent(_ -> deleted.accept(name));
  }

  /// Any thread: no process has the guest any more.
  void giveBack(Guest guest) {
    confiner.release(guest.spec().name(), guest.files(), guest.laterStarts().facts().user());
  }

  /// Any thread: ends a guest, last of all, with all that is left of it, and removes its folder.
  ///
  /// @param force whether also what runs is ended
  /// @throws HyperFreshException as [Hyperplexor#delete]
  void delete(Guest guest, boolean force) {
    if (!force) {
      requireNoProcess(guest.spec().name(), guest.files(), Problem.GUEST_RUNS);
    }
    guest.delete(force);
    processes(guest.files()).forEach(process -> kinds.of(process).end(process));
    // While the folder is there, nobody else takes the guest's user.
    giveBack(guest);
    OwnFolder.delete(guest.files());
  }

  /// Ends what is left of a guest of which nothing can be read, and removes its folder.
  ///
  /// @return false when it is none of these
  synchronized boolean deleteUnreadable(String name) {
    if (!guests.isUnreadable(name)) {
      return false;
    }
    Path files = folder().resolve(name);
    processes(files).forEach(process -> kinds.of(process).end(process));
    OwnFolder.delete(files);
    guests.free(name);
    return true;
  }

  // ---- adopting ----

  /// As [Hyperplexor#adopt]; the name is reserved.
  ///
  /// @param mover of a guest whose memory has to be copied
  GuestView adopt(AdoptOrder order, FirstCopy.Mover mover, Progress progress) {
    ProcessIdentity process = ProcessIdentity.of(order.pid());
    String other = adopting.putIfAbsent(process, order.name());
    if (other != null) {
      throw Problem.ADOPT_REFUSED.because(
          "Process " + order.pid() + " is being adopted already, as guest " + other + ".");
    }
    try {
      return adoptAlone(order, mover, progress);
    } finally {
      // A guest that was adopted is listed by now.
      adopting.remove(process);
    }
  }

  private GuestView adoptAlone(AdoptOrder order, FirstCopy.Mover mover, Progress progress) {
    requireNotOurs(order.pid());
    Path files = folder().resolve(order.name());
    if (Files.exists(files)) {
      throw Problem.GUEST_EXISTS.because(files + " belongs to an earlier guest; remove it.");
    }
    Introduction introduction = new Introduction(watch::changed);
    try {
      OwnFolder.closed(folder());
      OwnFolder.closed(files);
      OwnFolder.begin(files);
      Guest guest =
          new Adopting(order.request(files, earlier(order)), kinds, sockets, progress)
              .guest(order.releases(), introduction);
      BooleanSupplier found = () -> introduction.make(guest, () -> guests.add(guest));
      if (FirstCopy.isDue(guest)) {
        new FirstCopy(guest, order.copy().orElseThrow(), mover, progress).run(found);
      } else {
        order
            .copy()
            .ifPresent(_ -> progress.step("adopt", "its memory is shared; nothing is copied"));
        var _ = found.getAsBoolean();
      }
      OwnFolder.finish(files);
      return guest.view();
    } catch (RuntimeException e) {
      if (!introduction.isMade()) {
        Contained.run("removing " + files, () -> OwnFolder.delete(files));
      }
      throw e;
    }
  }

  private Optional<AdoptRequest.Earlier> earlier(AdoptOrder order) {
    return Optional.of(new HandedFolders(directory))
        .filter(_ -> order.borrowed())
        .flatMap(handed -> handed.find(order.pid()));
  }

  /// Guest's thread: lets go of a guest whose copy came to nothing and that goes on where it was.
  /// That takes a thread of its own, since it ends the guest's.
  void leaveIfOver(Guest guest) {
    if (FirstCopy.isOver(guest)) {
      String name = guest.spec().name();
      Thread.ofPlatform()
          .name("hf-leave-" + name)
          .daemon()
          .start(() -> Contained.run("leaving " + name + " alone", () -> leave(guest)));
    }
  }

  private void leave(Guest guest) {
    String name = guest.spec().name();
    synchronized (guest) {
      if (guests.find(name).filter(guest::equals).isEmpty()
          || !guest.call(() -> isLeftAlone(guest))) {
        return;
      }
      guest.letGo();
      var _ = guests.remove(guest);
      Contained.run("removing " + guest.files(), () -> OwnFolder.delete(guest.files()));
      deleted.accept(name);
      guests.free(name);
    }
  }

  /// Guest's thread: somebody may have stopped it meanwhile.
  private static boolean isLeftAlone(Guest guest) {
    boolean over = FirstCopy.isOver(guest);
    if (over) {
      guest.leaveAlone();
    }
    return over;
  }

  private void requireNotOurs(int pid) {
    for (GuestView view : guests.list()) {
      if (view.pid() == pid) {
        throw Problem.ADOPT_UNFIT.because(
            "Process " + pid + " runs guest " + view.spec().name() + " of this daemon.");
      }
    }
    OptionalInt user = Host.processUid(pid);
    if (user.isPresent() && Confiner.isUser(user.getAsInt())) {
      throw Problem.ADOPT_REFUSED.because(
          "Process "
              + pid
              + " runs as user "
              + user.getAsInt()
              + ", one of those that daemons of HyperFresh give to guests that they start; such a"
              + " guest stays with its daemon.");
    }
  }

  // ---- starting ----

  /// Guest's thread: boots a guest that nothing runs, and does nothing to one that something runs,
  /// or that is to be started for a reason which no longer holds.
  ///
  /// @throws HyperFreshException as [Hyperplexor#start]
  void start(Guest guest, Release release, StartReason why, Progress progress) {
    LaterStarts later = guest.laterStarts();
    if (later.runs() || (why.isAutomatic() && later.wanted().isEmpty())) {
      return;
    }
    if (HandBack.borrowed(guest).isPresent()) {
      // Two would start it.
      throw Problem.GUEST_STATE.because(
          "Guest " + guest.spec().name() + " is borrowed: its manager starts it. Delete it here.");
    }
    if (why.isAutomatic()) {
      GuestLife.count(guest);
    } else {
      GuestLife.forget(guest);
    }
    try {
      Starting starting = starting(guest, release);
      requireNoProcess(guest.spec().name(), guest.files(), Problem.GUEST_STATE);
      guest.publish(GuestView.State.STARTING, "");
      boot(guest, starting, why, progress);
      if (why == StartReason.AUTOSTART) {
        GuestLife.booted(guest);
      }
    } catch (RuntimeException | Error e) {
      later.notStarted(String.valueOf(e.getMessage()));
      throw e;
    }
  }

  /// Guest's thread: ends it within `patience` and boots it, unless it is clear before that it
  /// would not start.
  ///
  /// @throws HyperFreshException as [Hyperplexor#start]
  void restart(Guest guest, Release release, Duration patience, Progress progress) {
    guest.laterStarts().requireNoDoubt();
    var _ = starting(guest, release);
    guest.stop(patience);
    start(guest, release, StartReason.REQUEST, progress);
  }

  private Starting starting(Guest guest, Release release) {
    GuestFacts facts = guest.laterStarts().facts();
    return facts.identity().adopted().isPresent()
        ? Starting.adopted(facts.identity(), facts.kind(), release, kinds)
        : Starting.of(facts.nextSpec(), release, kinds, kvm);
  }

  /// A process that could not be ended in time, or that somebody knows nothing of, may still write
  /// to the guest's disks.
  private void requireNoProcess(String guest, Path files, Problem otherwise) {
    List<Integer> left =
        processes(files)
            .filter(process -> kinds.of(process).lives(process))
            .map(Reattacher.Survivor::pid)
            .toList();
    if (!left.isEmpty()) {
      throw otherwise.because(
          "A hypervisor of guest "
              + guest
              + " has not ended yet: process "
              + String.join(", ", left.stream().map(String::valueOf).toList())
              + ".");
    }
  }

  private Stream<Reattacher.Survivor> processes(Path files) {
    return kinds.all().stream()
        .flatMap(kind -> kind.survivors(folder()).stream())
        .filter(process -> process.files().equals(files));
  }

  private void boot(Guest guest, Starting starting, StartReason why, Progress progress) {
    GuestSpec spec = starting.spec();
    progress.step("start", "memory of " + (spec.memoryBytes() >> 20) + " MiB and the network");
    guest.start(
        starting,
        () -> {
          GuestBody body = body(guest, starting);
          progress.step("start", starting.words());
          return body;
        });
    watch.started(guest, why);
    Addresses.take(spec.name(), guest::running).ifPresent(amiss -> progress.step("start", amiss));
  }

  /// Of a guest that was adopted, ports are where its hypervisors are.
  private GuestBody body(Guest guest, Starting starting) {
    String name = starting.spec().name();
    Optional<Confinement> before =
        guest
            .laterStarts()
            .facts()
            .identity()
            .adopted()
            .map(machine -> Adopting.asBefore(name, machine));
    if (before.isEmpty()) {
      return starting.body(() -> confinement(guest, starting.spec()));
    }
    try {
      return before.get().within(() -> starting.body(before::get));
    } catch (RuntimeException e) {
      before.get().letGo();
      throw e;
    }
  }

  /// What the guest's folder holds is its new user's, since the number may be another one.
  private Confinement confinement(Guest guest, GuestSpec spec) {
    Confinement confinement = confiner.confine(spec, guest.files());
    confiner.handOver(guest.files(), confinement.user());
    return confinement;
  }

  // ---- editing ----

  /// Guest's thread: its next start makes `spec` of it.
  ///
  /// @throws HyperFreshException as [Hyperplexor#edit]
  void edit(Guest guest, GuestSpec spec, Release where, boolean named) {
    LaterStarts later = guest.laterStarts();
    GuestFacts facts = later.facts();
    if (facts.identity().adopted().isPresent()) {
      throw Problem.GUEST_STATE.because(
          "Guest "
              + guest.spec().name()
              + " was adopted, so its machine is that of the QEMU that was adopted.");
    }
    Starting starting = Starting.of(spec, where, kinds, kvm);
    Optional<String> release =
        named ? Optional.of(where.name()) : facts.upkeep().next().flatMap(Upkeep.Next::release);
    Upkeep edited = facts.upkeep().next(Optional.of(new Upkeep.Next(spec, release)));
    kinds.of(where).remember(spec, guest.files());
    later.keep(() -> {
      facts.upkeep(edited);
      if (guest.view().state() == GuestView.State.STOPPED) {
        facts.endedUnder(guest.spec().ends());
        facts.become(spec, starting.accelerator());
      }
    });
  }
}
