package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Takes back what an earlier daemon left in a state directory, whatever moment it was killed in.
/// Each guest has a thread of its own, so that a hypervisor that does not answer keeps no other
/// guest waiting; such a guest stays [GuestView.State#RECOVERING] until it answers or ends.
final class Recovery implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Recovery.class.getName());

  /// How soon a hypervisor that refused is asked again, unless it ends before.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private static final String WITHOUT_DAEMON = "ended while no daemon ran";
  private static final String BY_NEXT = "by the next daemon";

  private final Path directory;
  private final Path sockets;
  private final Hypervisor hypervisor;
  private final Journal journal;
  private final Confiner confiner;
  private final Owner owner;
  private final Consumer<Guest> changed;
  private final Map<String, Hypervisor.Holdings> held = new ConcurrentHashMap<>();
  private final Map<String, GuestView> views = new ConcurrentHashMap<>();
  private final List<CountDownLatch> ends = new ArrayList<>();
  private Map<String, Journal.Entry> unfinished = Map.of();
  private volatile boolean closed;

  /// Whom the guests belong to.
  ///
  /// @param reserve takes a name
  /// @param free gives it back
  /// @param welcome takes a guest
  /// @param stopped takes what is known of a guest that no process runs any more
  record Owner(
      Consumer<String> reserve,
      Consumer<String> free,
      Predicate<Guest> welcome,
      Consumer<GuestView> stopped) {}

  Recovery(
      Path directory,
      Hypervisor hypervisor,
      Journal journal,
      Confiner confiner,
      Owner owner,
      Consumer<Guest> changed) {
    this.directory = directory;
    this.sockets = directory.resolve("run");
    this.hypervisor = hypervisor;
    this.journal = journal;
    this.confiner = confiner;
    this.owner = owner;
    this.changed = changed;
  }

  /// Begins with every guest.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void start(
      Function<String, Release> releases,
      Map<String, Hypervisor.Holdings> handedOver,
      Consumer<String> told,
      Consumer<ReplacementRecord> ended) {
    unfinished = unfinished();
    held.putAll(handedOver);
    hypervisor.endRehearsals(directory.resolve("guests"));
    Map<Path, List<Hypervisor.Survivor>> processes =
        hypervisor.survivors(directory.resolve("guests")).stream()
            .collect(Collectors.groupingBy(Hypervisor.Survivor::files));
    for (Path files : folders()) {
      String name = String.valueOf(files.getFileName());
      List<Hypervisor.Survivor> found = processes.getOrDefault(files, List.of());
      CountDownLatch end = new CountDownLatch(1);
      ends.add(end);
      Thread.ofPlatform()
          .name("hf-recover-" + name)
          .daemon()
          .start(() -> {
            try {
              new OneGuest(name, files, releases, told, ended).run(found);
            } catch (RuntimeException e) {
              LOG.log(System.Logger.Level.ERROR, "taking back " + name + " failed", e);
              told.accept("Guest " + name + " could not be taken back: " + e.getMessage());
            } finally {
              end.countDown();
            }
          });
    }
  }

  private Map<String, Journal.Entry> unfinished() {
    Map<String, Journal.Entry> entries = new HashMap<>();
    Journal.unfinished(directory.resolve("journal.log"))
        .forEach(entry -> entries.put(entry.guest(), entry));
    return entries;
  }

  private List<Path> folders() {
    Path folder = directory.resolve("guests");
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(folder)) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Waits until all guests are taken back, at most `patience`.
  void await(Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    try {
      for (CountDownLatch end : ends) {
        var _ = end.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// The guests that are not taken back yet.
  List<GuestView> views() {
    return List.copyOf(views.values());
  }

  /// The guest called `name`, if it is not taken back yet.
  Optional<GuestView> view(String name) {
    return Optional.ofNullable(views.get(name));
  }

  /// No guest is taken back any more.
  @Override
  public void close() {
    closed = true;
    views.clear();
  }

  /// One guest of the earlier daemon.
  private final class OneGuest {
    private final String name;
    private final Path files;
    private final Function<String, Release> releases;
    private final Consumer<String> told;
    private final Consumer<ReplacementRecord> ended;
    private Optional<Verdict.Kept> decided = Optional.empty();

    OneGuest(
        String name,
        Path files,
        Function<String, Release> releases,
        Consumer<String> told,
        Consumer<ReplacementRecord> ended) {
      this.name = name;
      this.files = files;
      this.releases = releases;
      this.told = told;
      this.ended = ended;
    }

    void run(List<Hypervisor.Survivor> processes) {
      Optional<GuestFile> written = read(processes);
      if (written.isEmpty()) {
        return;
      }
      owner.reserve().accept(name);
      GuestFile file = known(written.get(), processes);
      endStrays(file, processes);
      if (file.stopped().isPresent()) {
        keepStopped(file);
        return;
      }
      views.put(name, view(file, "asking its hypervisor"));
      boolean done = false;
      while (!done && !closed) {
        done = attempt(file);
      }
    }

    /// What was written down of the guest. Without it nothing is done to a process that is there.
    private Optional<GuestFile> read(List<Hypervisor.Survivor> processes) {
      try {
        Optional<GuestFile> file = GuestFile.read(files);
        if (file.isEmpty() && !processes.isEmpty()) {
          reserveFor(processes, "nothing is written down of it");
        }
        return file;
      } catch (HyperFreshException unreadable) {
        reserveFor(processes, unreadable.detail());
        return Optional.empty();
      }
    }

    private void reserveFor(List<Hypervisor.Survivor> processes, String why) {
      owner.reserve().accept(name);
      told.accept(
          "Guest "
              + name
              + " cannot be taken back: "
              + why
              + " Its processes: "
              + pids(processes)
              + ".");
    }

    private static List<Integer> pids(List<Hypervisor.Survivor> processes) {
      return processes.stream().map(Hypervisor.Survivor::pid).toList();
    }

    /// A daemon that died while it started the guest did not write the process down.
    private GuestFile known(GuestFile file, List<Hypervisor.Survivor> processes) {
      if (!file.running().isExpected() || processes.isEmpty()) {
        return file;
      }
      return new GuestFile(
          file.spec(),
          file.accelerator(),
          file.createdAt(),
          file.user(),
          file.running().found(processes.getFirst().pid()),
          Optional.empty(),
          Optional.empty(),
          file.adopted(),
          file.clockLoss(),
          file.generations());
    }

    /// A target that was not written down yet has got nothing, and a source that is not any more
    /// has nothing left: neither is the authority.
    private void endStrays(GuestFile file, List<Hypervisor.Survivor> processes) {
      for (Hypervisor.Survivor process : processes) {
        if ((file.stopped().isPresent() || !isOf(file.running(), process))
            && file.waiting().filter(tenant -> isOf(tenant, process)).isEmpty()) {
          String what = "generation " + process.generation() + " in process " + process.pid();
          told.accept("Guest " + name + ": " + what + " was left over and is ended.");
          Contained.run("ending " + what, () -> hypervisor.end(process));
        }
      }
    }

    /// One process may be several generations, in a machine.
    private static boolean isOf(GuestFile.Tenant tenant, Hypervisor.Survivor process) {
      return tenant.pid() == process.pid() && tenant.generation() == process.generation();
    }

    private boolean attempt(GuestFile file) {
      Survivors survivors =
          new Survivors(hypervisor, file, files, sockets, confinement(file), releases);
      try {
        settle(file, survivors, verdict(survivors));
        return true;
      } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
        if (!(e instanceof HyperFreshException || e instanceof LinuxException)) {
          LOG.log(System.Logger.Level.ERROR, "taking back " + name + " failed", e);
        }
        String why = String.valueOf(e.getMessage());
        GuestView before = views.put(name, view(file, why));
        if (before == null || !before.detail().equals(why)) {
          told.accept("Guest " + name + " is not taken back yet: " + why);
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
      return confiner.again(file.spec(), file.user(), files);
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
      return releases.apply(tenant.release());
    }

    private int generations(Survivors survivors) {
      int journaled =
          Optional.ofNullable(unfinished.get(name)).map(Journal.Entry::toGeneration).orElse(0);
      return Math.max(survivors.lastGeneration(), journaled);
    }

    /// Whether it stands in doubt.
    private boolean take(Survivors survivors, Verdict.Kept kept, Optional<String> doubt) {
      GuestFile.Tenant authority = kept.authority();
      Hypervisor.Holdings handedOver = held.remove(name);
      Introduction introduction = new Introduction(changed);
      Guest guest =
          handedOver == null
              ? survivors.assemble(authority, release(authority), introduction)
              : survivors.assemble(authority, handedOver, introduction);
      boolean doubtful;
      try {
        doubtful =
            guest.call(() -> {
              guest.takeBack(release(authority), kept, doubt, generations(survivors));
              return guest.doubt().isPresent();
            });
      } catch (RuntimeException | Error e) {
        guest.letGo();
        throw e;
      }
      if (!introduction.make(guest, () -> isWelcome(guest))) {
        guest.letGo();
        return false;
      }
      removeSockets(authority.generation());
      String detail = guest.view().detail();
      told.accept(
          "Guest "
              + name
              + " was taken back on "
              + authority.release()
              + (detail.isEmpty() ? "." : "; it is " + detail + "."));
      return doubtful;
    }

    private boolean isWelcome(Guest guest) {
      boolean welcome = !closed && owner.welcome().test(guest);
      if (welcome) {
        views.remove(name);
      }
      return welcome;
    }

    /// Removes what processes that were ended left; nobody can connect to it any more.
    private void removeSockets(int butGeneration) {
      String kept = name + "." + butGeneration + ".";
      try (Stream<Path> all = Files.list(sockets)) {
        for (Path socket : all.toList()) {
          String file = String.valueOf(socket.getFileName());
          if (file.matches(Pattern.quote(name) + "\\.[0-9]+\\.[a-z]+") && !file.startsWith(kept)) {
            Files.deleteIfExists(socket);
          }
        }
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, sockets + " cannot be tidied", e);
      }
    }

    private void ended(GuestFile file) {
      removeSockets(0);
      if (file.running().isExpected()) {
        confiner.release(name, files, file.user());
        Hyperplexor.deleteFolder(files);
        told.accept("Guest " + name + " was never started.");
        owner.free().accept(name);
      } else {
        GuestFile end = file.stopped(new GuestFile.Stopped(Instant.now(), WITHOUT_DAEMON));
        // On a full disk the next daemon finds the same.
        Contained.run("writing down the end of " + name, () -> end.write(files));
        keepStopped(end);
        told.accept("Guest " + name + " " + WITHOUT_DAEMON + "; its logs are in " + files + ".");
      }
      views.remove(name);
      close(file, "Failed", "failed", Problem.REPLACE_LOST.code());
    }

    /// A daemon that died at the guest's end may not have given back what was the guest's own.
    private void keepStopped(GuestFile file) {
      confiner.release(name, files, file.user());
      owner.stopped().accept(stopped(file, file.stopped().orElseThrow()));
    }

    /// Ends the replacement that was under way, if there was one.
    private void finish(GuestFile file, Verdict.Kept kept, Problem otherwise) {
      Journal.Entry entry = unfinished.get(name);
      if (entry != null && kept.authority().generation() == entry.toGeneration()) {
        close(file, "Retired", "committed", "");
      } else {
        close(file, "RolledBack", "rolled-back", otherwise.code());
      }
    }

    private void close(GuestFile file, String state, String outcome, String problem) {
      Journal.Entry entry = unfinished.get(name);
      if (entry == null) {
        return;
      }
      Contained.run(
          "writing the end of " + entry.id(),
          () ->
              journal.write(
                  new Journal.Entry(
                      Instant.now(),
                      entry.id(),
                      name,
                      state,
                      entry.fromGeneration(),
                      entry.toGeneration(),
                      entry.release())));
      told.accept(
          "Guest " + name + ": replacement " + entry.id() + " " + outcome + " " + BY_NEXT + ".");
      Contained.run(
          "recording " + entry.id(), () -> ended.accept(record(file, entry, outcome, problem)));
    }

    /// What nobody was there to measure is unknown.
    private ReplacementRecord record(
        GuestFile file, Journal.Entry entry, String outcome, String problem) {
      String from =
          file.running().generation() == entry.fromGeneration() ? file.running().release() : "";
      return new ReplacementRecord(
          entry.id(),
          name,
          hypervisor.kind(),
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
          hypervisor.kind(),
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
          file.clockLoss());
    }

    private GuestView stopped(GuestFile file, GuestFile.Stopped end) {
      return new GuestView(
          file.spec(),
          GuestView.State.STOPPED,
          end.why(),
          hypervisor.kind(),
          "",
          0,
          file.running().generation(),
          file.accelerator(),
          file.createdAt(),
          Optional.of(end.at()),
          Optional.empty(),
          files,
          "",
          origin(file),
          file.clockLoss());
    }

    private static GuestView.Origin origin(GuestFile file) {
      return file.adopted().isPresent() ? GuestView.Origin.ADOPTED : GuestView.Origin.CREATED;
    }
  }
}
