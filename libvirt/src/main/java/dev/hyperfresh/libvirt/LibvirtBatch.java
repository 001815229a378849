package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout.Audience;
import dev.hyperfresh.hyperplexor.Rollout.Entry;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.Down.Between;
import dev.hyperfresh.linux.Host;
import java.nio.file.Path;
import java.time.Instant;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// Replaces QEMU under domains of libvirt while that is down: libvirt is ended, each domain is
/// borrowed, moved and handed back, what libvirt knows of it is brought up to date, and libvirt is
/// started. It is started on every way out, but never while a domain is between the two: it would
/// take the domain's old process for the domain. For one thread, which nobody interrupts.
///
/// The first domain that fails stops the others. Those that were moved stay moved.
public final class LibvirtBatch {
  private static final System.Logger LOG = System.getLogger(LibvirtBatch.class.getName());

  private static final String ENDS = "The daemon ends.";

  /// Whoever fails like this does not run on as before.
  private static final Set<Problem> LOST =
      EnumSet.of(Problem.REPLACE_LOST, Problem.REPLACE_DOUBT, Problem.REPLACE_STANDS);

  private final LibvirtHost host;
  private final DomainFiles files;
  private final DriverSeat seat;
  private final LibvirtService service;
  private final Borrower borrower;
  private final Down.Store store;
  private final Audience audience;
  private final BooleanSupplier ending;
  private final Map<String, Entry<ReplacementRecord>> entries = new LinkedHashMap<>();

  /// What is known of domains that libvirt no longer has, by their names.
  private final Map<String, HyperFreshException> forgotten = new HashMap<>();

  private Down down;
  private Optional<String> stopped = Optional.empty();
  private OptionalDouble awayMs = OptionalDouble.empty();

  /// A domain that is to be moved.
  ///
  /// @param guest what it is called while it is borrowed
  /// @param from what it runs on, for people
  public record Candidate(LibvirtDomain domain, String guest, String from) {
    private Entry<ReplacementRecord> notStarted() {
      return Entry.of(domain.name(), from, Outcome.NOT_STARTED);
    }
  }

  /// What came of all of them.
  ///
  /// @param stopped why not all were moved, or libvirt does not run; empty when neither is so
  /// @param awayMs how long libvirt did not answer, all stops together; empty when it was not
  ///   ended, or stays down
  public record Ended(
      List<Entry<ReplacementRecord>> entries, Optional<String> stopped, OptionalDouble awayMs) {
    public Ended {
      entries = List.copyOf(entries);
    }

    private Ended stoppedBy(String why) {
      return new Ended(entries, Optional.of(why), awayMs);
    }

    /// This and what came of the next group.
    private Ended and(Ended next) {
      return new Ended(
          Stream.concat(entries.stream(), next.entries.stream()).toList(),
          next.stopped,
          next.awayMs.isPresent()
              ? OptionalDouble.of(awayMs.orElse(0) + next.awayMs.getAsDouble())
              : next.awayMs);
    }

    /// This and a group that is not begun.
    private Ended without(List<Candidate> group) {
      return new Ended(
          Stream.concat(entries.stream(), group.stream().map(Candidate::notStarted)).toList(),
          stopped,
          awayMs);
    }
  }

  private LibvirtBatch(
      DriverSeat seat,
      LibvirtService service,
      Borrower borrower,
      Down.Store store,
      Audience audience,
      BooleanSupplier ending,
      Down down) {
    this.host = seat.host();
    this.files = new DomainFiles(host);
    this.seat = seat;
    this.service = service;
    this.borrower = borrower;
    this.store = store;
    this.audience = audience;
    this.ending = ending;
    this.down = down;
  }

  /// Moves domains, one group after the other. Each group has a stop of libvirt of its own, and is
  /// begun when libvirt has all of the groups before.
  ///
  /// @param seat the one of this daemon
  /// @param services finds libvirt as it runs now
  /// @param ending asked again and again: whether the daemon ends, so that no other domain is begun
  ///   and none is switched any more
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when libvirt is not found or does not
  ///   end; no domain was touched
  public static Ended run(
      DriverSeat seat,
      Supplier<LibvirtService> services,
      Borrower borrower,
      Down.Store store,
      Audience audience,
      BooleanSupplier ending,
      List<List<Candidate>> groups) {
    new Virsh(seat.host()).requireThere();
    Ended all = new Ended(List.of(), Optional.empty(), OptionalDouble.empty());
    for (List<Candidate> group : groups) {
      if (all.stopped().isEmpty() && ending.getAsBoolean()) {
        all = all.stoppedBy(ENDS);
      }
      all =
          next(
              all,
              group,
              () -> {
                LibvirtService service = services.get();
                Down down =
                    new Down(Instant.now().toString(), Host.bootId(), service.how(), List.of());
                return new LibvirtBatch(seat, service, borrower, store, audience, ending, down);
              });
    }
    return all;
  }

  private static Ended next(Ended all, List<Candidate> group, Supplier<LibvirtBatch> batches) {
    if (all.stopped().isPresent()) {
      return all.without(group);
    }
    try {
      return all.and(batches.get().moved(group));
    } catch (HyperFreshException e) {
      if (all.entries().isEmpty()) {
        throw e;
      }
      return all.stoppedBy(e.problem().code() + " " + e.detail()).without(group);
    }
  }

  /// Finishes what a daemon has left that died while libvirt was down: hands its domains back and
  /// starts libvirt. Does nothing when there is nothing left.
  ///
  /// @param seat the one of this daemon
  /// @param log as in [LibvirtService#find]
  /// @throws HyperFreshException [Problem#LIBVIRT_BETWEEN], [Problem#LIBVIRT_SERVICE] when it
  ///   cannot be finished; it may be tried again
  public static void finish(DriverSeat seat, Borrower borrower, Down.Store store, Path log) {
    Optional<Down> left = store.read();
    if (left.isEmpty()) {
      return;
    }
    if (!left.get().boot().equals(Host.bootId())) {
      // All of it has ended with the host.
      store.forget();
      return;
    }
    LibvirtService service = LibvirtService.of(seat.host(), left.get().how(), log);
    LibvirtBatch batch =
        new LibvirtBatch(seat, service, borrower, store, Audience.NONE, () -> true, left.get());
    batch.finishLeft();
  }

  private void finishLeft() {
    if (service.isStillThere()) {
      // It has not ended in time, or nobody came to ask it to.
      service.stop();
    }
    Optional<HyperFreshException> trouble = comeBack();
    if (trouble.isPresent()) {
      throw trouble.get();
    }
  }

  private Ended moved(List<Candidate> candidates) {
    store.keep(down);
    long from = System.nanoTime();
    try {
      say("", "libvirt", "ending " + service.words() + "; guests run on");
      service.stop();
      seat.take();
      for (Candidate candidate : candidates) {
        entries.put(candidate.domain().name(), next(candidate));
      }
    } finally {
      Optional<HyperFreshException> trouble = comeBack();
      if (trouble.isEmpty()) {
        awayMs = OptionalDouble.of((System.nanoTime() - from) / 1e6);
        say("", "libvirt", "%s answers again".formatted(service.words()));
      }
      trouble.ifPresent(e -> stopped = Optional.of(e.problem().code() + " " + e.detail()));
    }
    candidates.forEach(this::confirm);
    return new Ended(List.copyOf(entries.values()), stopped, awayMs);
  }

  private Entry<ReplacementRecord> next(Candidate candidate) {
    Entry<ReplacementRecord> begun = candidate.notStarted();
    stopped = stopped.or(this::hindrance);
    if (stopped.isPresent()) {
      return begun;
    }
    Entry<ReplacementRecord> entry = one(candidate, begun);
    if (entry.outcome() == Outcome.FAILED || entry.outcome() == Outcome.ROLLED_BACK) {
      stopped = Optional.of("Domain '%s': %s".formatted(candidate.domain().name(), entry.detail()));
    }
    return entry;
  }

  /// What keeps the next one from being begun.
  private Optional<String> hindrance() {
    return ending.getAsBoolean() ? Optional.of(ENDS) : seat.intruder();
  }

  private Entry<ReplacementRecord> one(Candidate candidate, Entry<ReplacementRecord> begun) {
    LibvirtDomain domain = candidate.domain();
    try {
      requireAsBefore(domain);
    } catch (HyperFreshException e) {
      return begun.because(Outcome.LEFT_ALONE, e);
    }
    keep(down.with(Between.begun(domain, candidate.guest())));
    Entry<ReplacementRecord> entry = move(candidate, begun);
    try {
      giveBack(domain.name());
      return Optional.ofNullable(forgotten.get(domain.name()))
          .map(e -> entry.because(Outcome.FAILED, e))
          .orElse(entry);
    } catch (RuntimeException e) {
      LOG.log(System.Logger.Level.ERROR, "domain " + domain.name() + " is not handed back", e);
      return entry.because(Outcome.FAILED, known(e));
    }
  }

  private void keep(Down now) {
    store.keep(now);
    down = now;
  }

  private static HyperFreshException known(RuntimeException e) {
    return e instanceof HyperFreshException told
        ? told
        : Problem.LIBVIRT_BETWEEN.because(String.valueOf(e.getMessage()), e);
  }

  /// Something may have been begun with it while libvirt was being ended.
  private void requireAsBefore(LibvirtDomain before) {
    LibvirtDomain now = LibvirtDomain.read(host, before.name());
    if (now.pid() != before.pid() || !now.uuid().equals(before.uuid())) {
      throw Problem.LIBVIRT_REFUSED.because("It was ended or started meanwhile.");
    }
    if (!now.obstacles().isEmpty()) {
      throw Problem.LIBVIRT_REFUSED.because(String.join(" ", now.obstacles()));
    }
  }

  private Entry<ReplacementRecord> move(Candidate candidate, Entry<ReplacementRecord> begun) {
    String name = candidate.domain().name();
    try {
      ReplacementRecord record =
          borrower.move(candidate.domain(), candidate.guest(), new Telling(name));
      Outcome outcome =
          switch (record.outcome()) {
            case COMMITTED -> Outcome.COMMITTED;
            case ROLLED_BACK -> Outcome.ROLLED_BACK;
            case FAILED -> Outcome.FAILED;
          };
      return new Entry<>(
          begun.name(),
          begun.from(),
          outcome,
          Optional.of(record),
          record.problem(),
          record.detail());
    } catch (HyperFreshException e) {
      return begun.because(LOST.contains(e.problem()) ? Outcome.FAILED : Outcome.ROLLED_BACK, e);
    }
  }

  /// Tells of one domain, which is not switched any more when libvirt may look at it, or the daemon
  /// ends. Guest's thread, while that of this object waits.
  private final class Telling implements Progress {
    private final String domain;

    Telling(String domain) {
      this.domain = domain;
    }

    @Override
    public void step(String state, String text) {
      say(domain, state, text);
    }

    @Override
    public void requireWanted() {
      if (ending.getAsBoolean()) {
        throw Problem.DAEMON_UPGRADING.because(ENDS);
      }
      seat.intruder()
          .ifPresent(who -> {
            throw Problem.LIBVIRT_STARTED.because(who);
          });
    }
  }

  /// Hands a domain back, if it is borrowed, and brings up to date what libvirt knows of it. What
  /// is to be written is kept before the guest is let go: nobody could find it out any more.
  private void giveBack(String domain) {
    Between between = down.of(domain).orElseThrow();
    switch (borrower.standing(between.guest())) {
      case HERE -> {
        say(domain, "libvirt", "handing it back");
        borrower.handBack(
            between.guest(), files.emulator(domain), back -> keep(down.with(between.in(back))));
        down.of(domain).flatMap(Between::back).ifPresent(back -> write(between, back));
      }
      case ABSENT -> {
        // Handed back, or never taken.
        if (between.hasMoved()) {
          between.back().ifPresent(back -> write(between, back));
        }
      }
      case COMING ->
          throw Problem.LIBVIRT_BETWEEN.because(
              "Its hypervisor has not yet said to this daemon how it stands.");
      case ENDED -> {
        // libvirt sees that by itself.
      }
    }
    if (seat.intruder().isEmpty()) {
      keep(down.without(domain));
    }
    // A libvirt that runs may have read its file before, and write it again as it was then.
  }

  /// One that libvirt has forgotten is nobody's to hand back to.
  private void write(Between between, HandedBack back) {
    try {
      files.write(between, back);
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.LIBVIRT_STARTED) {
        throw e;
      }
      LOG.log(System.Logger.Level.ERROR, e.getMessage());
      forgotten.put(between.domain(), e);
    }
  }

  /// Starts libvirt, unless a domain is still between.
  ///
  /// @return what keeps it down
  private Optional<HyperFreshException> comeBack() {
    Optional<HyperFreshException> trouble = attempted(this::beAlone);
    List<Between> left = trouble.isEmpty() ? down.between() : List.of();
    // One that has to wait keeps no other from being handed back.
    for (Between between : left) {
      Optional<HyperFreshException> its = attempted(() -> giveBack(between.domain()));
      trouble = trouble.or(() -> its);
    }
    trouble = trouble.or(() -> attempted(this::begin));
    trouble.ifPresent(
        e -> LOG.log(System.Logger.Level.ERROR, "libvirt has not all of its domains again", e));
    return trouble.map(this::between);
  }

  private static Optional<HyperFreshException> attempted(Runnable work) {
    try {
      work.run();
      return Optional.empty();
    } catch (RuntimeException e) {
      return Optional.of(known(e));
    }
  }

  /// Ends a libvirt that something else has started while domains are between.
  private void beAlone() {
    Optional<String> intruder = down.between().isEmpty() ? Optional.empty() : seat.intruder();
    if (intruder.isPresent()) {
      say("", "libvirt", "ending it again, since domains are between: " + intruder.get());
      service.stop();
      seat.take();
    }
  }

  private void begin() {
    if (!down.between().isEmpty()) {
      throw Problem.LIBVIRT_STARTED.because(seat.intruder().orElse("Something had started it."));
    }
    seat.leave();
    service.start();
    new Virsh(host).requireAnswer();
    store.forget();
  }

  private HyperFreshException between(HyperFreshException cause) {
    if (down.between().isEmpty()) {
      return cause;
    }
    return Problem.LIBVIRT_BETWEEN.because(
        "Domain '%s' is still guest '%s' of HyperFresh: %s %s"
            .formatted(
                down.between().getFirst().domain(),
                down.between().getFirst().guest(),
                cause.problem().code(),
                cause.detail()),
        cause);
  }

  /// Whether libvirt has a domain again.
  private void confirm(Candidate candidate) {
    String name = candidate.domain().name();
    Entry<ReplacementRecord> entry = entries.get(name);
    if (entry == null) {
      return;
    }
    Optional<HyperFreshException> amiss = Optional.ofNullable(forgotten.get(name));
    if (amiss.isEmpty() && awayMs.isPresent() && entry.outcome() == Outcome.COMMITTED) {
      amiss = attempted(() -> requireRunning(candidate.domain()));
    }
    amiss.ifPresent(e -> {
      entries.put(name, entry.because(Outcome.FAILED, e));
      stopped = stopped.or(() -> Optional.of("Domain '%s': %s".formatted(name, e.detail())));
    });
  }

  private void requireRunning(LibvirtDomain before) {
    String state = new Virsh(host).state(before.uuid());
    int pid = LibvirtDomain.read(host, before.name()).pid();
    if (!state.equals("running") || pid == before.pid()) {
      throw Problem.LIBVIRT_SERVICE.because(
          "libvirt says that it is '%s', in process %d.".formatted(state, pid));
    }
  }

  private void say(String domain, String state, String text) {
    var _ = audience.told(domain, state, text);
  }
}
