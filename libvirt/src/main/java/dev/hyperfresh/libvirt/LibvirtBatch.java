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
import dev.hyperfresh.linux.ProcessIdentity;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.BooleanSupplier;

/// Replaces QEMU under domains of libvirt while that is down: libvirt is ended, each domain is
/// borrowed, moved and handed back, what libvirt knows of it is brought up to date, and libvirt is
/// started. It is started on every way out, but never while a domain is between the two: it would
/// take the domain's old process for the domain. For one thread, which nobody interrupts.
///
/// The first domain that fails stops the others. Those that were moved stay moved.
public final class LibvirtBatch {
  private static final System.Logger LOG = System.getLogger(LibvirtBatch.class.getName());

  /// Whoever fails like this does not run on as before.
  private static final Set<Problem> LOST =
      EnumSet.of(Problem.REPLACE_LOST, Problem.REPLACE_DOUBT, Problem.REPLACE_STANDS);

  private final LibvirtHost host;
  private final LibvirtService service;
  private final Borrower borrower;
  private final Down.Store store;
  private final Audience audience;
  private final BooleanSupplier ending;
  private final Map<String, Entry<ReplacementRecord>> entries = new LinkedHashMap<>();
  private Down down;
  private Optional<String> stopped = Optional.empty();
  private OptionalDouble awayMs = OptionalDouble.empty();

  /// Takes guests for the time of a replacement.
  public interface Borrower {
    /// Takes the guest of a domain and moves it. What it does before it takes the guest may fail;
    /// nothing is borrowed then.
    ///
    /// @param guest what it is called while it is borrowed
    /// @throws HyperFreshException when it was not moved; [#standing] says whether it was taken
    ReplacementRecord move(LibvirtDomain domain, String guest, Progress progress);

    /// How it stands with one that was taken.
    Standing standing(String guest);

    /// The process that runs one that is here.
    int pid(String guest);

    /// Gives one back.
    ///
    /// @param emulator the program that libvirt knows of the domain; empty when it has forgotten
    ///   the domain
    HandedBack handBack(String guest, Optional<Path> emulator);
  }

  /// How it stands with a guest that was taken, or was to be.
  public enum Standing {
    /// It was not taken, or was handed back.
    ABSENT,
    /// A daemon is taking it back from an earlier one.
    COMING,
    /// It can be handed back.
    HERE,
    /// No process runs it any more.
    ENDED
  }

  /// A domain that is to be moved.
  ///
  /// @param guest what it is called while it is borrowed
  /// @param from what it runs on, for people
  public record Candidate(LibvirtDomain domain, String guest, String from) {}

  /// What came of all of them.
  ///
  /// @param stopped why not all were moved, or libvirt does not run; empty when neither is so
  /// @param awayMs how long libvirt did not answer; empty when it was not ended, or stays down
  public record Ended(
      List<Entry<ReplacementRecord>> entries, Optional<String> stopped, OptionalDouble awayMs) {
    public Ended {
      entries = List.copyOf(entries);
    }
  }

  private LibvirtBatch(
      LibvirtHost host,
      LibvirtService service,
      Borrower borrower,
      Down.Store store,
      Audience audience,
      BooleanSupplier ending,
      Down down) {
    this.host = host;
    this.service = service;
    this.borrower = borrower;
    this.store = store;
    this.audience = audience;
    this.ending = ending;
    this.down = down;
  }

  /// Moves domains.
  ///
  /// @param ending asked before each: whether the daemon ends, so that no other one is begun
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when libvirt does not end; no domain was
  ///   touched
  public static Ended run(
      LibvirtHost host,
      LibvirtService service,
      Borrower borrower,
      Down.Store store,
      Audience audience,
      BooleanSupplier ending,
      List<Candidate> candidates) {
    new Virsh(host).requireThere();
    Down down = new Down(Instant.now().toString(), Host.bootId(), service.how(), List.of());
    return new LibvirtBatch(host, service, borrower, store, audience, ending, down)
        .moved(candidates);
  }

  /// Finishes what a daemon has left that died while libvirt was down: hands its domains back and
  /// starts libvirt. Does nothing when there is nothing left.
  ///
  /// @param log as in [LibvirtService#find]
  /// @throws HyperFreshException [Problem#LIBVIRT_BETWEEN], [Problem#LIBVIRT_SERVICE] when it
  ///   cannot be finished; it may be tried again
  public static void finish(LibvirtHost host, Borrower borrower, Down.Store store, Path log) {
    Optional<Down> left = store.read();
    if (left.isEmpty()) {
      return;
    }
    if (!left.get().boot().equals(Host.bootId())) {
      // All of it has ended with the host.
      store.forget();
      return;
    }
    LibvirtService service = LibvirtService.of(host, left.get().how(), log);
    LibvirtBatch batch =
        new LibvirtBatch(host, service, borrower, store, Audience.NONE, () -> true, left.get());
    batch.finishLeft();
  }

  private void finishLeft() {
    if (!down.between().isEmpty()) {
      // Somebody may have started it by hand.
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
    Entry<ReplacementRecord> begun =
        Entry.of(candidate.domain().name(), candidate.from(), Outcome.NOT_STARTED);
    if (stopped.isEmpty() && ending.getAsBoolean()) {
      stopped = Optional.of("The daemon ends.");
    }
    if (stopped.isPresent()) {
      return begun;
    }
    Entry<ReplacementRecord> entry = one(candidate, begun);
    if (entry.outcome() == Outcome.FAILED || entry.outcome() == Outcome.ROLLED_BACK) {
      stopped = Optional.of("Domain '%s': %s".formatted(candidate.domain().name(), entry.detail()));
    }
    return entry;
  }

  private Entry<ReplacementRecord> one(Candidate candidate, Entry<ReplacementRecord> begun) {
    LibvirtDomain domain = candidate.domain();
    try {
      requireAsBefore(domain);
    } catch (HyperFreshException e) {
      return begun.because(Outcome.LEFT_ALONE, e);
    }
    Between between =
        new Between(
            domain.name(),
            domain.uuid(),
            candidate.guest(),
            ProcessIdentity.of(domain.pid()),
            ProcessIdentity.NONE);
    down = down.with(between);
    store.keep(down);
    Entry<ReplacementRecord> entry = move(candidate, begun);
    try {
      giveBack(domain.name());
      return entry;
    } catch (RuntimeException e) {
      LOG.log(System.Logger.Level.ERROR, "domain " + domain.name() + " is not handed back", e);
      return entry.because(Outcome.FAILED, known(e));
    }
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
          borrower.move(
              candidate.domain(), candidate.guest(), (state, text) -> say(name, state, text));
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

  /// Hands a domain back, if it is borrowed, and brings up to date what libvirt knows of it.
  private void giveBack(String domain) {
    Between between = down.of(domain).orElseThrow();
    switch (borrower.standing(between.guest())) {
      case HERE -> {
        down = down.with(between.on(ProcessIdentity.of(borrower.pid(between.guest()))));
        store.keep(down);
        say(domain, "libvirt", "handing it back");
        written(between, borrower.handBack(between.guest(), emulator(domain)));
      }
      case ABSENT -> {
        boolean isUnwritten = !between.first().lives() && between.now().lives();
        if (isUnwritten && Files.exists(host.statusFile(domain))) {
          // It was handed back, and nobody came to write that down.
          written(between, seen(between));
        }
      }
      case COMING ->
          throw Problem.LIBVIRT_BETWEEN.because(
              "Its hypervisor has not yet said to this daemon how it stands.");
      case ENDED -> {
        // libvirt sees that by itself.
      }
    }
    down = down.without(domain);
    store.keep(down);
  }

  private Optional<Path> emulator(String domain) {
    return Files.exists(host.statusFile(domain))
        ? Optional.of(LibvirtDomain.read(host, domain).emulator())
        : Optional.empty();
  }

  private void written(Between between, HandedBack back) {
    if (!isKnown(between, back.pid())) {
      LOG.log(
          System.Logger.Level.WARNING,
          "libvirt has forgotten domain {0}; process {1} runs its guest on",
          between.domain(),
          back.pid());
      return;
    }
    LibvirtDomain known = LibvirtDomain.read(host, between.domain());
    // One that was not moved is what libvirt knows.
    if (known.pid() != back.pid()) {
      new StatusFile(host, known).write(back);
    }
  }

  /// A file that is gone, or is another domain's or process's by now, says that libvirt was there
  /// meanwhile: it has forgotten the domain, and may have started another one of its name.
  private boolean isKnown(Between between, int pid) {
    if (!Files.exists(host.statusFile(between.domain()))) {
      return false;
    }
    LibvirtDomain known = LibvirtDomain.read(host, between.domain());
    return known.uuid().equals(between.uuid())
        && (known.pid() == between.first().pid() || known.pid() == pid);
  }

  /// What can be seen of the process of a guest. libvirt asks it for its threads.
  private HandedBack seen(Between between) {
    return new HandedBack(
        between.guest(),
        between.now().pid(),
        Map.of(),
        Map.of(),
        Map.of(),
        LibvirtDomain.read(host, between.domain()).emulator());
  }

  /// Starts libvirt, unless a domain is still between.
  ///
  /// @return what keeps it down
  private Optional<HyperFreshException> comeBack() {
    Optional<HyperFreshException> trouble = Optional.empty();
    // One that has to wait keeps no other from being handed back.
    for (Between between : new ArrayList<>(down.between())) {
      try {
        giveBack(between.domain());
      } catch (RuntimeException e) {
        trouble = trouble.or(() -> Optional.of(known(e)));
      }
    }
    try {
      if (trouble.isEmpty()) {
        service.start();
        new Virsh(host).requireAnswer();
        store.forget();
      }
    } catch (RuntimeException e) {
      trouble = Optional.of(known(e));
    }
    trouble.ifPresent(e -> LOG.log(System.Logger.Level.ERROR, "libvirt is down", e));
    return trouble.map(this::between);
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

  /// Whether libvirt has a domain again that was moved.
  private void confirm(Candidate candidate) {
    String name = candidate.domain().name();
    Entry<ReplacementRecord> entry = entries.get(name);
    if (awayMs.isEmpty() || entry == null || entry.outcome() != Outcome.COMMITTED) {
      return;
    }
    try {
      String state = new Virsh(host).state(candidate.domain().uuid());
      int pid = LibvirtDomain.read(host, name).pid();
      if (!state.equals("running") || pid == candidate.domain().pid()) {
        throw Problem.LIBVIRT_SERVICE.because(
            "libvirt says that it is '%s', in process %d.".formatted(state, pid));
      }
    } catch (HyperFreshException e) {
      entries.put(name, entry.because(Outcome.FAILED, e));
      stopped = stopped.or(() -> Optional.of("Domain '%s': %s".formatted(name, e.detail())));
    }
  }

  private void say(String domain, String state, String text) {
    var _ = audience.told(domain, state, text);
  }
}
