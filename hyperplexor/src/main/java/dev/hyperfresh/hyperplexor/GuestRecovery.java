package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// Takes back one guest of an earlier daemon, on a thread of its own.
final class GuestRecovery {
  private static final System.Logger LOG = System.getLogger(GuestRecovery.class.getName());

  /// How soon a hypervisor that refused is asked again, unless it ends before.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private static final String WITHOUT_DAEMON = "ended while no daemon ran";
  private static final String WITH_HOST = "ended with the host's last boot";
  private static final String BY_NEXT = "by the next daemon";

  /// What the recoveries of all guests have in common.
  ///
  /// @param sockets where control sockets are
  /// @param guests where they come and are listed until then
  /// @param releases finds a release by its name
  /// @param changed told of every guest whose view changed
  /// @param resting told of every guest that nothing runs, when it can be found
  /// @param told one sentence for each guest, and more when it changes
  /// @param ended takes the replacements that were under way, as they ended
  /// @param closed whether no guest is to be taken back any more
  record Common(
      Kinds kinds,
      Path sockets,
      Journal journal,
      Confiner confiner,
      GuestTable guests,
      Function<String, Release> releases,
      Consumer<Guest> changed,
      Consumer<Guest> resting,
      Consumer<String> told,
      Consumer<ReplacementRecord> ended,
      BooleanSupplier closed) {}

  private final Common common;
  private final String name;
  private final Path files;

  /// The replacement of it that was under way.
  private final Optional<Journal.Entry> unfinished;

  /// What the earlier daemon handed over, until it is used.
  private Optional<Holdings> held;

  private Optional<Verdict.Kept> decided = Optional.empty();

  /// @param files the guest's folder, called as the guest
  GuestRecovery(
      Common common,
      String name,
      Path files,
      Optional<Journal.Entry> unfinished,
      Optional<Holdings> held) {
    this.common = common;
    this.name = name;
    this.files = files;
    this.unfinished = unfinished;
    this.held = held;
  }

  /// Returns when the guest is taken back, when there is nothing to take back, or when no guest is
  /// to be taken back any more.
  void run(List<Reattacher.Survivor> processes) {
    try {
      takeBack(processes);
    } finally {
      // A guest that has ended since leaves its memory and its ports to nobody.
      held.ifPresent(Holdings::close);
    }
  }

  private void takeBack(List<Reattacher.Survivor> processes) {
    Optional<GuestFile> written = read(processes);
    if (written.isEmpty()) {
      return;
    }
    common.guests().reserveAgain(name);
    GuestFile file = known(written.get(), processes);
    endStrays(file, processes);
    if (file.stopped().isPresent()) {
      keepStopped(file);
      return;
    }
    common.guests().recovering().put(name, view(file, "asking its hypervisor"));
    boolean done = false;
    while (!done && !common.closed().getAsBoolean()) {
      done = attempt(file);
    }
  }

  /// What was written down of the guest. Without it nothing is done to a process that is there.
  private Optional<GuestFile> read(List<Reattacher.Survivor> processes) {
    try {
      Optional<GuestFile> file = GuestFile.read(files);
      if (file.isEmpty() && !processes.isEmpty()) {
        reserveFor(processes, "it has no record.");
      }
      return file;
    } catch (HyperFreshException unreadable) {
      reserveFor(processes, unreadable.detail());
      return Optional.empty();
    }
  }

  private void reserveFor(List<Reattacher.Survivor> processes, String why) {
    common.guests().unreadable(name, why);
    common
        .told()
        .accept(
            "Guest "
                + name
                + " cannot be reattached: "
                + why
                + " Its processes: "
                + pids(processes)
                + ".");
  }

  private static List<Integer> pids(List<Reattacher.Survivor> processes) {
    return processes.stream().map(Reattacher.Survivor::pid).toList();
  }

  /// A daemon that died while it started the guest did not write the process down.
  private GuestFile known(GuestFile file, List<Reattacher.Survivor> processes) {
    if (!file.running().isExpected()) {
      return file;
    }
    return processes.stream()
        .filter(process -> process.generation() == file.running().generation())
        .findFirst()
        .map(process -> file.running(file.running().found(process.pid())))
        .orElse(file);
  }

  /// A target that was not written down yet has got nothing, and a source that is not any more has
  /// nothing left: neither is the authority.
  private void endStrays(GuestFile file, List<Reattacher.Survivor> processes) {
    for (Reattacher.Survivor process : processes) {
      if ((file.stopped().isPresent() || !isOf(file.running(), process))
          && file.waiting().filter(tenant -> isOf(tenant, process)).isEmpty()) {
        String what = "generation " + process.generation() + " in process " + process.pid();
        common.told().accept("Guest " + name + ": " + what + " was left over and is being ended.");
        Contained.run("ending " + what, () -> common.kinds().of(process).end(process));
      }
    }
  }

  /// One process may be several generations, in a machine.
  private static boolean isOf(GuestFile.Tenant tenant, Reattacher.Survivor process) {
    return tenant.pid() == process.pid() && tenant.generation() == process.generation();
  }

  private boolean attempt(GuestFile file) {
    Survivors survivors =
        new Survivors(
            common.kinds(), file, files, common.sockets(), confinement(file), common.releases());
    try {
      settle(file, survivors, verdict(survivors));
      return true;
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      if (!(e instanceof HyperFreshException || e instanceof LinuxException)) {
        LOG.log(System.Logger.Level.ERROR, "reattaching " + name + " failed", e);
      }
      String why = String.valueOf(e.getMessage());
      GuestView before = common.guests().recovering().put(name, view(file, why));
      if (before == null || !before.detail().equals(why)) {
        common.told().accept("Guest " + name + " is not reattached yet: " + why);
      }
      awaitNextTry(file);
      return false;
    }
  }

  /// Decided once: a target that was found never to have run the guest, and was killed for that,
  /// may leave nothing that would say so a second time.
  private Verdict verdict(Survivors survivors) {
    if (decided.isEmpty() || !survivors.lives(decided.get().authority())) {
      Verdict verdict = survivors.decide();
      decided = verdict instanceof Verdict.Kept kept ? Optional.of(kept) : Optional.empty();
      return verdict;
    }
    return decided.get();
  }

  private Confinement confinement(GuestFile file) {
    return common.confiner().again(file.spec(), file.user(), files);
  }

  private void awaitNextTry(GuestFile file) {
    GuestFile.Tenant tenant =
        file.waiting().filter(GuestFile.Tenant::processLives).orElse(file.running());
    try (PidFd process = PidFd.open(tenant.pid())) {
      process.awaitExit(AGAIN);
    } catch (LinuxException gone) {
      LOG.log(System.Logger.Level.DEBUG, "process " + tenant.pid() + " is gone", gone);
      // There is nothing to wait for, and what failed may fail again.
      LockSupport.parkNanos(AGAIN.toNanos());
    }
  }

  private void settle(GuestFile file, Survivors survivors, Verdict verdict) {
    switch (verdict) {
      case Verdict.Ended _ -> ended(file);
      case Verdict.Kept kept -> {
        boolean stood = kept.finishes() || kept.targetIsGone();
        boolean doubtful =
            take(
                stood ? survivors.afterUnseenStop() : survivors,
                kept,
                file.doubt().filter(_ -> !kept.finishes()));
        finish(file, kept, doubtful ? Problem.REPLACE_DOUBT : Problem.DAEMON_DIED);
      }
    }
  }

  private Release release(GuestFile.Tenant tenant) {
    return common.releases().apply(tenant.release());
  }

  private int generations(Survivors survivors) {
    int journaled = unfinished.map(Journal.Entry::toGeneration).orElse(0);
    return Math.max(survivors.lastGeneration(), journaled);
  }

  /// Whether it stands in doubt.
  private boolean take(Survivors survivors, Verdict.Kept kept, Optional<String> doubt) {
    GuestFile.Tenant authority = kept.authority();
    Introduction introduction = new Introduction(common.changed());
    Guest guest = assemble(survivors, authority, introduction);
    boolean doubtful;
    try {
      doubtful =
          guest.call(() -> {
            guest.takeBack(release(authority), kept, doubt, generations(survivors));
            return guest.hosting().doubt().isPresent();
          });
    } catch (RuntimeException | Error e) {
      guest.letGo();
      throw e;
    }
    if (survivors.isBeingAdopted(kept) && guest.call(() -> guest.hosting().hindrance().isEmpty())) {
      notAdopted(guest);
      return false;
    }
    if (!introduction.make(guest, () -> isAdded(guest))) {
      guest.letGo();
      return false;
    }
    removeSockets(authority.generation());
    String detail = guest.view().detail();
    common
        .told()
        .accept(
            "Guest "
                + name
                + " was reattached on "
                + authority.release()
                + (detail.isEmpty() ? "." : "; it is " + detail + "."));
    takeAddresses(guest);
    return doubtful;
  }

  private void notAdopted(Guest guest) {
    Adopting.leaveAlone(guest);
    removeSockets(0);
    OwnFolder.delete(files);
    common.guests().recovering().remove(name);
    common.guests().free(name);
    String why = " was not adopted, since its memory is not copied yet; it runs on as before.";
    common.told().accept("Guest " + name + why);
  }

  /// The daemon that ended the source may not have come so far.
  private void takeAddresses(Guest guest) {
    Contained.get(
            "taking the addresses of " + name,
            () -> guest.call(() -> Addresses.take(name, guest::running)),
            Optional.<String>empty())
        .ifPresent(amiss -> common.told().accept("Guest " + name + ": " + amiss));
  }

  private boolean isAdded(Guest guest) {
    boolean added = !common.closed().getAsBoolean() && common.guests().add(guest);
    if (added) {
      common.guests().recovering().remove(name);
    }
    return added;
  }

  private Guest assemble(
      Survivors survivors, GuestFile.Tenant authority, Introduction introduction) {
    Optional<Holdings> handedOver = held;
    held = Optional.empty();
    return handedOver.isPresent()
        ? survivors.assemble(authority, handedOver.get(), introduction)
        : survivors.assemble(authority, release(authority), introduction);
  }

  /// Removes what processes that were ended left; nobody can connect to it any more.
  private void removeSockets(int butGeneration) {
    String kept = name + "." + butGeneration + ".";
    try (Stream<Path> all = Files.list(common.sockets())) {
      for (Path socket : all.toList()) {
        String file = String.valueOf(socket.getFileName());
        if (file.matches(Pattern.quote(name) + "\\.[0-9]+\\.[a-z]+[0-9]*")
            && !file.startsWith(kept)) {
          Files.deleteIfExists(socket);
        }
      }
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, common.sockets() + " cannot be cleaned up", e);
    }
  }

  private void ended(GuestFile file) {
    removeSockets(0);
    if (file.running().isExpected()) {
      common.confiner().release(name, files, file.user());
      OwnFolder.delete(files);
      common.told().accept("Guest " + name + " was never started.");
      common.guests().free(name);
    } else {
      GuestFile end = file.stopped(end(file));
      // On a full disk the next daemon finds the same.
      Contained.run("recording the end of " + name, () -> end.write(files));
      String why = end.stopped().orElseThrow().why();
      common.told().accept("Guest " + name + " " + why + "; its logs are in " + files + ".");
      keepStopped(end);
    }
    common.guests().recovering().remove(name);
    close(file, "Failed", ReplacementRecord.Outcome.FAILED, Problem.REPLACE_LOST.code());
  }

  private static GuestFile.Stopped end(GuestFile file) {
    boolean unseen = file.running().boot().equals(Host.bootId());
    String why = unseen ? WITHOUT_DAEMON : WITH_HOST;
    if (file.doubt().isPresent()) {
      return new GuestFile.Stopped(Instant.now(), why + GuestEnd.IN_DOUBT, GuestEnd.DOUBT);
    }
    return new GuestFile.Stopped(Instant.now(), why, unseen ? GuestEnd.UNSEEN : GuestEnd.HOST);
  }

  /// A daemon that died at the guest's end may not have given back what was the guest's own.
  private void keepStopped(GuestFile file) {
    common.confiner().release(name, files, file.user());
    Guest guest =
        Guest.stopped(
            GuestFacts.of(file, GuestIdentity.of(file, files, common.sockets()), common.kinds()),
            common.kinds(),
            common.changed());
    if (isAdded(guest)) {
      common.resting().accept(guest);
    } else {
      guest.letGo();
    }
  }

  /// Ends the replacement that was under way, if there was one.
  private void finish(GuestFile file, Verdict.Kept kept, Problem otherwise) {
    int generation = kept.authority().generation();
    if (unfinished.filter(entry -> generation == entry.toGeneration()).isPresent()) {
      close(file, "Retired", ReplacementRecord.Outcome.COMMITTED, "");
    } else {
      close(file, "RolledBack", ReplacementRecord.Outcome.ROLLED_BACK, otherwise.code());
    }
  }

  private void close(
      GuestFile file, String state, ReplacementRecord.Outcome outcome, String problem) {
    if (unfinished.isEmpty()) {
      return;
    }
    Journal.Entry entry = unfinished.get();
    Contained.run(
        "writing the end of " + entry.id(),
        () ->
            common
                .journal()
                .write(
                    new Journal.Entry(
                        Instant.now(),
                        entry.id(),
                        name,
                        state,
                        entry.fromGeneration(),
                        entry.toGeneration(),
                        entry.release())));
    common
        .told()
        .accept(
            "Guest "
                + name
                + ": replacement "
                + entry.id()
                + " "
                + outcome.label()
                + " "
                + BY_NEXT
                + ".");
    Contained.run(
        "recording " + entry.id(),
        () -> common.ended().accept(record(file, entry, outcome, problem)));
  }

  /// Where the replacement was to lead, or the best that is known of that.
  private static GuestFile.Tenant targetOf(GuestFile file, Journal.Entry entry) {
    return file.waiting()
        .filter(tenant -> tenant.generation() == entry.toGeneration())
        .orElse(file.running());
  }

  /// What nobody was there to measure is unknown.
  private ReplacementRecord record(
      GuestFile file, Journal.Entry entry, ReplacementRecord.Outcome outcome, String problem) {
    String from =
        file.running().generation() == entry.fromGeneration() ? file.running().release() : "";
    return new ReplacementRecord(
        entry.id(),
        name,
        kind(targetOf(file, entry)),
        from,
        entry.release(),
        file.accelerator().accelerator().label(),
        entry.at(),
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        false,
        ReplacementRecord.Aftermath.UNKNOWN,
        OptionalLong.empty(),
        0,
        new ReplacementRecord.Phases(
            0, 0, 0, OptionalDouble.empty(), OptionalDouble.empty(), OptionalDouble.empty(), 0),
        Duration.between(entry.at(), Instant.now()).toNanos() / 1e6,
        outcome,
        problem,
        BY_NEXT,
        ReplacementRecord.Parts.UNKNOWN,
        ReplacementRecord.Clocks.UNKNOWN);
  }

  private GuestView view(GuestFile file, String detail) {
    GuestFile.Tenant tenant = file.running();
    return new GuestView(
        file.spec(),
        GuestView.State.RECOVERING,
        detail,
        kind(tenant),
        tenant.release(),
        tenant.pid(),
        tenant.generation(),
        file.accelerator(),
        file.createdAt(),
        Optional.empty(),
        Optional.empty(),
        files,
        "not known yet",
        origin(file),
        file.clockLoss(),
        GuestFacts.starts(file.upkeep(), tenant.release(), false),
        file.memory());
  }

  private String kind(GuestFile.Tenant tenant) {
    return common.kinds().named(tenant.kind()).kind();
  }

  private static GuestView.Origin origin(GuestFile file) {
    return file.adopted().isPresent() ? GuestView.Origin.ADOPTED : GuestView.Origin.CREATED;
  }
}
