package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hyperplexor.Rollout.Entry;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.libvirt.Borrower;
import dev.hyperfresh.libvirt.Borrower.Standing;
import dev.hyperfresh.libvirt.Down;
import dev.hyperfresh.libvirt.DriverSeat;
import dev.hyperfresh.libvirt.LibvirtBatch;
import dev.hyperfresh.libvirt.LibvirtBatch.Candidate;
import dev.hyperfresh.libvirt.LibvirtBatch.Ended;
import dev.hyperfresh.libvirt.LibvirtDomain;
import dev.hyperfresh.libvirt.LibvirtHost;
import dev.hyperfresh.libvirt.LibvirtService;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuModels;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.vm.StateFile;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The domains of libvirt on this host, under which QEMU is replaced while libvirt is down. One
/// request at a time, on a thread of its own that nobody interrupts. Thread-safe.
final class LibvirtRoom implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(LibvirtRoom.class);

  /// How long a private memory may be copied, and how long its guest may stand at the end.
  private static final MemoryCopy COPY =
      new MemoryCopy(Duration.ofMinutes(10), Duration.ofMillis(300));

  /// How long a daemon that ends waits for a domain to be handed back and libvirt to be started. A
  /// copy of a memory is given up at once.
  private static final long LAST_SECONDS = 75;

  private static final long RETRY_SECONDS = 3;

  /// So that no log is filled.
  private static final int ATTEMPTS_TOLD = 100;

  private final LibvirtHost host;
  private final DriverSeat seat;
  private final DaemonConfig config;
  private final Hyperplexor hyperplexor;
  private final GuestRoom guests;
  private final QemuReleases releases;
  private final Semaphore turn = new Semaphore(1);
  private final CountDownLatch closed = new CountDownLatch(1);
  private final Down.Store store = new InState();
  private final AtomicBoolean retrying = new AtomicBoolean();
  private volatile boolean ending;

  LibvirtRoom(
      LibvirtHost host,
      DaemonConfig config,
      Hyperplexor hyperplexor,
      GuestRoom guests,
      QemuReleases releases) {
    this.host = host;
    this.seat = new DriverSeat(host);
    this.config = config;
    this.hyperplexor = hyperplexor;
    this.guests = guests;
    this.releases = releases;
  }

  private Path file() {
    return config.state().resolve("libvirt-down.json");
  }

  /// What is written down while libvirt is down.
  private final class InState implements Down.Store {
    @Override
    public Optional<Down> read() {
      return StateFile.readWithSum(file(), Down.class);
    }

    @Override
    public void keep(Down down) {
      StateFile.keep(file(), down);
    }

    @Override
    public void forget() {
      StateFile.forget(file());
    }
  }

  /// Borrows guests with the means of this daemon.
  ///
  /// @param order for whoever is moved; empty when all that is left is to hand back
  private record Loan(LibvirtRoom room, Optional<LibvirtOrder> order, Optional<QemuRelease> to)
      implements Borrower {
    @Override
    public ReplacementRecord move(LibvirtDomain domain, String guest, Progress progress) {
      String release = to.orElseThrow().name();
      Optional<ReplacementRecord> copied =
          room.guests.borrow(
              guest,
              domain.pid(),
              domain.monitor(),
              new GuestRoom.CopyWish(Optional.of(release), COPY),
              progress);
      return copied.orElseGet(() ->
          room.guests.replace(
              guest,
              release,
              order.orElseThrow().maxBlackout(),
              order.orElseThrow().rehearse(),
              false,
              progress));
    }

    /// A guest that this daemon cannot read, or has let go of, may be borrowed all the same: its
    /// folder says so.
    @Override
    public Standing standing(String guest) {
      return view(guest)
          .map(view ->
              switch (view.state()) {
                case STOPPED -> Standing.ENDED;
                case RECOVERING -> Standing.COMING;
                case STARTING, RUNNING, REPLACING ->
                    room.hyperplexor.borrowed().contains(guest) ? Standing.HERE : Standing.COMING;
              })
          .orElseGet(() -> isKept(guest) ? Standing.COMING : Standing.ABSENT);
    }

    private boolean isKept(String guest) {
      Path folder = room.config.state().resolve("guests").resolve(guest);
      return Files.exists(folder, LinkOption.NOFOLLOW_LINKS);
    }

    private Optional<GuestView> view(String guest) {
      return room.hyperplexor.list().stream()
          .filter(view -> view.spec().name().equals(guest))
          .findFirst();
    }

    @Override
    public void handBack(String guest, Optional<Path> emulator, Consumer<HandedBack> before) {
      var _ = room.hyperplexor.handBack(guest, back -> before.accept(asKnown(back, emulator)));
    }

    /// Where the build that runs is the one that is installed at the emulator's path, libvirt goes
    /// on with that path.
    private static HandedBack asKnown(HandedBack back, Optional<Path> emulator) {
      return emulator
          .filter(path -> isSameBuild(path, back.program()))
          .map(path ->
              new HandedBack(
                  back.name(), back.pid(), back.vcpus(), back.terminals(), back.taps(), path))
          .orElse(back);
    }

    private static boolean isSameBuild(Path one, Path other) {
      var programs = HostQemus.programs(Path.of("/"));
      return programs
          .read(one)
          .flatMap(file -> programs.read(other).filter(file::isSameBuild))
          .isPresent();
    }
  }

  /// Replaces QEMU under domains, or says what would become of them.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_UNKNOWN], [Problem#LIBVIRT_SERVICE],
  ///   [Problem#LIBVIRT_BUSY], [Problem#RELEASE_UNKNOWN], [Problem#RELEASE_KIND] before anything
  ///   was touched; [Problem#LIBVIRT_BETWEEN] when what was left by another daemon cannot be
  ///   finished
  LibvirtResult replace(LibvirtOrder order, Rollout.Audience audience) {
    return alone(() -> {
      try {
        return replaced(order, audience);
      } finally {
        // What is left, if anything is, is tried again.
        finishLeft(RETRY_SECONDS);
      }
    });
  }

  private LibvirtResult replaced(LibvirtOrder order, Rollout.Audience audience) {
    if (!order.dryRun()) {
      finish();
    }
    order.domains().forEach(this::requireThere);
    QemuRelease to = release(order.to());
    Map<String, Entry<ReplacementRecord>> entries = new LinkedHashMap<>();
    List<LibvirtChecks.Looked> all = look(order, to);
    all.forEach(looked -> entries.put(looked.entry().name(), looked.entry()));
    List<Candidate> candidates =
        all.stream().flatMap(looked -> looked.candidate().stream()).toList();
    if (candidates.isEmpty()) {
      return result(order, to, entries, Optional.empty(), "", OptionalDouble.empty());
    }
    LibvirtService service = LibvirtService.find(host, log());
    if (order.dryRun()) {
      return result(order, to, entries, Optional.empty(), service.words(), OptionalDouble.empty());
    }
    told(candidates, entries, audience);
    all.stream().filter(LibvirtChecks.Looked::newBuild).forEach(this::keepBuild);
    Ended ended =
        LibvirtBatch.run(
            seat,
            () -> LibvirtService.find(host, log()),
            new Loan(this, Optional.of(order), Optional.of(to)),
            store,
            audience,
            () -> ending,
            order.groups(candidates));
    ended.entries().forEach(entry -> entries.put(entry.name(), entry));
    return result(order, to, entries, ended.stopped(), service.words(), ended.awayMs());
  }

  /// Several domains may run one build.
  private void keepBuild(LibvirtChecks.Looked looked) {
    RunningBuild build = new RunningBuild(looked.candidate().orElseThrow().domain().pid());
    try {
      var _ =
          guests
              .destinations()
              .kinds()
              .adding(
                  () -> build.add(releases, config.state().resolve("running-build")),
                  QemuRelease::name);
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.RELEASE_NAME) {
        throw e;
      }
    }
  }

  /// What else is wrong with a domain is told with all the others.
  private void requireThere(String name) {
    try {
      var _ = LibvirtDomain.read(host, name);
    } catch (HyperFreshException e) {
      if (e.problem() == Problem.LIBVIRT_UNKNOWN) {
        throw e;
      }
    }
  }

  private static LibvirtResult result(
      LibvirtOrder order,
      QemuRelease to,
      Map<String, Entry<ReplacementRecord>> entries,
      Optional<String> stopped,
      String service,
      OptionalDouble awayMs) {
    return new LibvirtResult(
        new Rollout.Result<>(to.name(), !order.all(), stopped, List.copyOf(entries.values())),
        order.dryRun(),
        service,
        awayMs);
  }

  /// A machine can run no guest that libvirt keeps.
  private QemuRelease release(String name) {
    Release found = guests.destination(name);
    if (!found.kind().equals(Qemu.KIND)) {
      throw Problem.RELEASE_KIND.because(
          found.name() + " is no QEMU of this host; domains of libvirt run on one.");
    }
    return releases
        .find(found.name())
        .orElseThrow(() -> Problem.RELEASE_UNKNOWN.because("'" + name + "' is gone."));
  }

  private List<LibvirtChecks.Looked> look(LibvirtOrder order, QemuRelease to) {
    LibvirtChecks checks =
        new LibvirtChecks(
            host,
            config,
            to,
            QemuModels.of(releases, to.name()),
            releases::list,
            hyperplexor.list());
    return order.all()
        ? LibvirtDomain.names(host).stream().flatMap(name -> found(checks, name)).toList()
        : order.domains().stream().map(checks::look).toList();
  }

  /// One may have ended since all were listed.
  private static Stream<LibvirtChecks.Looked> found(LibvirtChecks checks, String name) {
    try {
      return Stream.of(checks.look(name));
    } catch (HyperFreshException ended) {
      return Stream.empty();
    }
  }

  private static void told(
      List<Candidate> candidates,
      Map<String, Entry<ReplacementRecord>> entries,
      Rollout.Audience audience) {
    for (Candidate candidate : candidates) {
      String name = candidate.domain().name();
      Optional.ofNullable(entries.get(name))
          .map(Entry::detail)
          .filter(detail -> !detail.isEmpty())
          .ifPresent(detail -> {
            var _ = audience.told(name, "check", detail);
          });
    }
  }

  private Path log() {
    return config.state().resolve("libvirt.log");
  }

  private void finish() {
    LibvirtBatch.finish(seat, new Loan(this, Optional.empty(), Optional.empty()), store, log());
  }

  /// Finishes, beside whatever else goes on, what an earlier daemon has left that died while
  /// libvirt was down. What fails is tried again until this daemon ends, and by the next one.
  void finishLeft() {
    finishLeft(0);
  }

  private void finishLeft(long afterSeconds) {
    if (Files.exists(file()) && retrying.compareAndSet(false, true)) {
      Thread.ofPlatform().name("hf-libvirt-left").daemon().start(() -> finishAtLast(afterSeconds));
    }
  }

  private void finishAtLast(long afterSeconds) {
    try {
      long pause = afterSeconds;
      for (int attempt = 0; !closed.await(pause, TimeUnit.SECONDS); attempt++) {
        if (isFinished(attempt)) {
          LOG.info("libvirt has its domains again");
          return;
        }
        pause = RETRY_SECONDS;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      retrying.set(false);
    }
  }

  private boolean isFinished(int attempt) {
    try {
      return alone(() -> {
        finish();
        return true;
      });
    } catch (RuntimeException e) {
      // Whatever it is: libvirt is down or not up to date, and is not to stay so.
      if (attempt % ATTEMPTS_TOLD == 0) {
        LOG.error("libvirt has not all of its domains again: {}", e.getMessage());
      }
      return false;
    }
  }

  /// Does something on a thread of its own: what is begun is to be finished, whatever becomes of
  /// the thread that asks for it.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_BUSY]
  private <T> T alone(Supplier<T> work) {
    if (ending) {
      throw Problem.DAEMON_UPGRADING.because("The daemon ends.");
    }
    if (!turn.tryAcquire()) {
      throw Problem.LIBVIRT_BUSY.because("Another request has ended libvirt, or is about to.");
    }
    CompletableFuture<T> end = new CompletableFuture<>();
    Thread.ofPlatform()
        .name("hf-libvirt")
        .start(() -> {
          try {
            end.complete(inTurn(work));
          } catch (RuntimeException e) {
            end.completeExceptionally(e);
          } finally {
            // Does nothing unless there was an error.
            var _ = end.cancel(false);
          }
        });
    try {
      return end.join();
    } catch (CompletionException e) {
      throw e.getCause() instanceof RuntimeException known ? known : e;
    }
  }

  /// Whoever has the answer may ask again at once.
  private <T> T inTurn(Supplier<T> work) {
    // A newer daemon waits for it.
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return work.get();
    } finally {
      turn.release();
    }
  }

  /// Begins no other domain, has one that is not switched yet given up, and waits until libvirt
  /// runs again.
  @Override
  public void close() {
    ending = true;
    closed.countDown();
    try {
      if (!turn.tryAcquire(LAST_SECONDS, TimeUnit.SECONDS)) {
        LOG.error("libvirt is not up again; the next daemon finishes that");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
