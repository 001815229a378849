package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.AdoptOrder;
import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// The guests of a daemon and what they run on: made, adopted and moved here, each on a release
/// that nobody removes meanwhile. Thread-safe.
public final class GuestRoom {
  private final Hyperplexor hyperplexor;
  private final Processes processes;
  private final Destinations destinations;
  private final Events events;

  /// The installed QEMUs of this host.
  ///
  /// @param installed all of them, oldest first
  /// @param ofProcess the one that a process runs, installed now unless it is here already, given
  ///   the process and what a start of it needs
  record Processes(
      Supplier<List<QemuRelease>> installed,
      BiFunction<FoundProcess, List<String>, QemuRelease> ofProcess) {}

  GuestRoom(
      Hyperplexor hyperplexor, Processes processes, Destinations destinations, Events events) {
    this.hyperplexor = hyperplexor;
    this.processes = processes;
    this.destinations = destinations;
    this.events = events;
  }

  private ReleaseKinds kinds() {
    return destinations.kinds();
  }

  /// Makes a guest and starts it where [#releaseFor] says.
  ///
  /// @throws HyperFreshException as [Hyperplexor#create]
  public GuestView create(SpecDocument document, Progress progress) {
    return create(document, true, progress);
  }

  /// As [#create(SpecDocument, Progress)].
  ///
  /// @param start whether it is started now
  GuestView create(SpecDocument document, boolean start, Progress progress) {
    try (ReleaseLeases.Lease<Release> lease = holdToRun(releaseFor(document).name())) {
      return hyperplexor.create(document.spec(), lease.release(), start, progress);
    }
  }

  /// Starts a guest that nothing runs.
  ///
  /// @param release where; empty to start it where it ran last or its spec says
  /// @throws HyperFreshException as [Hyperplexor#start]
  public GuestView start(String guest, Optional<String> release, Progress progress) {
    try (ReleaseLeases.Lease<Release> lease = holdToStart(guest, release)) {
      return hyperplexor.start(guest, lease.release(), StartReason.REQUEST, progress);
    }
  }

  /// Starts a guest for another reason than that somebody asks for it.
  void startWanted(String guest, StartReason why) {
    try (ReleaseLeases.Lease<Release> lease = holdToStart(guest, Optional.empty())) {
      var _ = hyperplexor.start(guest, lease.release(), why, Progress.NONE);
    }
  }

  /// Ends a guest and starts it, as [#start] does.
  GuestView restart(String guest, Optional<String> release, Duration patience, Progress progress) {
    try (ReleaseLeases.Lease<Release> lease = holdToStart(guest, release)) {
      return hyperplexor.restart(guest, lease.release(), patience, progress);
    }
  }

  /// Has a guest's next start make something else of it.
  ///
  /// @throws HyperFreshException as [Hyperplexor#edit]
  GuestView edit(String guest, SpecDocument document) {
    try (ReleaseLeases.Lease<Release> lease = holdToStart(guest, document.release())) {
      return hyperplexor.edit(
          guest, document.spec(), lease.release(), document.release().isPresent());
    }
  }

  /// What is written down names one build, for which no other is a substitute.
  private ReleaseLeases.Lease<Release> holdToStart(String guest, Optional<String> release) {
    if (release.isPresent()) {
      return holdToRun(release.get());
    }
    String full = hyperplexor.show(guest).starts().release();
    return kinds().leases().hold(() -> destinations.recorded(full), Release::name);
  }

  /// Where a new guest starts: the release or the machine that its document names, else the newest
  /// that knows its machine type.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  Release releaseFor(SpecDocument document) {
    Optional<String> named = document.release();
    if (named.isPresent()) {
      return destination(named.get());
    }
    return newestFor(document.spec().machine());
  }

  private Release newestFor(String machine) {
    return QemuReleases.plain(processes.installed().get()).reversed().stream()
        .filter(release -> release.machines().contains(machine))
        .map(Release.class::cast)
        .findFirst()
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "No installed release knows machine type " + machine + "."));
  }

  /// Where guests can run.
  Destinations destinations() {
    return destinations;
  }

  /// As [Destinations#named].
  Release destination(String name) {
    return destinations.named(name);
  }

  /// Takes a running QEMU under management; what it runs becomes a release, unless it is one.
  ///
  /// @param control its control socket
  /// @param console the socket of its serial console; empty to find it out
  /// @param copy what is done when its memory is private; empty to refuse it then
  /// @throws HyperFreshException as [Hyperplexor#adopt]
  GuestView adopt(
      String name,
      int pid,
      Path control,
      Optional<Path> console,
      Optional<CopyWish> copy,
      Progress progress) {
    return adopt(name, pid, control, console, copy, false, _ -> {}, progress);
  }

  /// Takes a guest of something else for the time of a replacement, after which
  /// [Hyperplexor#handBack] gives it back.
  ///
  /// @param copy what is done when its memory is private
  /// @return the replacement, when its memory was copied; otherwise it is still to be replaced
  /// @throws HyperFreshException as [Hyperplexor#adopt]
  Optional<ReplacementRecord> borrow(
      String name, int pid, Path control, CopyWish copy, Progress progress) {
    List<ReplacementRecord> copied = new CopyOnWriteArrayList<>();
    var _ =
        adopt(name, pid, control, Optional.empty(), Optional.of(copy), true, copied::add, progress);
    return copied.stream().findFirst();
  }

  private GuestView adopt(
      String name,
      int pid,
      Path control,
      Optional<Path> console,
      Optional<CopyWish> copy,
      boolean borrowed,
      Consumer<ReplacementRecord> copied,
      Progress progress) {
    // A newer daemon must find the record of a copy in the history.
    try (Hyperplexor.Work _ = hyperplexor.begin();
        HeldTarget target = new HeldTarget(copy.flatMap(CopyWish::release))) {
      return hyperplexor.adopt(
          new AdoptOrder(
              name,
              pid,
              control,
              console,
              (process, arguments) ->
                  kinds()
                      .adding(
                          () -> processes.ofProcess().apply(process, arguments), QemuRelease::name),
              copy.map(wish ->
                  new AdoptOrder.Copy(
                      target::choose,
                      wish.limits(),
                      record -> {
                        events.publish(new Event.GuestReplaced(record));
                        copied.accept(record);
                      })),
              borrowed),
          progress);
    }
  }

  /// How the memory of a guest that is adopted may be copied.
  ///
  /// @param release that runs it afterwards; empty for the newest that knows its machine type
  record CopyWish(Optional<String> release, MemoryCopy limits) {}

  /// The release to which a guest's memory is copied, held from its choice on.
  private final class HeldTarget implements AutoCloseable {
    private final Optional<String> full;
    private Optional<ReleaseLeases.Lease<Release>> lease = Optional.empty();

    /// @param named if one is
    /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
    HeldTarget(Optional<String> named) {
      this.full = named.map(name -> destination(name).name());
    }

    Release choose(GuestSpec spec) {
      ReleaseLeases.Lease<Release> held =
          holdToRun(full.orElseGet(() -> newestFor(spec.machine()).name()));
      lease = Optional.of(held);
      return held.release();
    }

    @Override
    public void close() {
      lease.ifPresent(ReleaseLeases.Lease::close);
    }
  }

  /// Looks at what decides whether a guest can move; see [Hyperplexor#plan].
  List<Check> plan(
      String guest, Release to, boolean rehearse, boolean stepClock, Progress progress) {
    try (ReleaseLeases.Lease<Release> lease = holdToRun(to.name())) {
      return hyperplexor.plan(guest, lease.release(), rehearse, stepClock, progress);
    }
  }

  private ReleaseLeases.Lease<Release> holdToRun(String name) {
    // It may be copied first, while others can start.
    String full = destination(name).name();
    return kinds().leases().hold(() -> destination(full), Release::name);
  }

  /// The release on which a guest runs already, if that is the one that `name` means. One that is
  /// paused, or of which there is something else to say, is not called there.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], [Problem#GUEST_UNKNOWN]
  Optional<Release> there(String guest, String name) {
    Release to = destination(name);
    GuestView view = hyperplexor.show(guest);
    return Optional.of(to)
        .filter(release -> view.state() == GuestView.State.RUNNING && view.detail().isEmpty())
        .filter(release -> release.name().equals(view.release()));
  }

  /// Replaces, after a rehearsal, and records.
  public ReplacementRecord replace(
      String guest, String release, Duration maxBlackout, Progress progress) {
    return replace(guest, release, maxBlackout, true, false, progress);
  }

  /// Replaces and records.
  ///
  /// @param rehearse whether the move is first tried out beside the guest
  /// @param stepClock as in [Hyperplexor#replace]
  public ReplacementRecord replace(
      String guest,
      String release,
      Duration maxBlackout,
      boolean rehearse,
      boolean stepClock,
      Progress progress) {
    // A newer daemon must find the record in the history.
    try (Hyperplexor.Work _ = hyperplexor.begin();
        ReleaseLeases.Lease<Release> lease = holdToRun(release)) {
      ReplacementRecord record =
          hyperplexor.replace(guest, lease.release(), maxBlackout, rehearse, stepClock, progress);
      events.publish(new Event.GuestReplaced(record));
      return record;
    }
  }

  /// Replaces under many guests and records each.
  public Rollout.Result<ReplacementRecord> rollOut(
      GuestRollout.Order order, Rollout.Audience audience) {
    return hyperplexor.rollOut(
        order,
        (guest, maxBlackout, progress) ->
            replace(
                guest,
                order.to().name(),
                maxBlackout,
                order.rehearse(),
                order.stepClock(),
                progress),
        audience);
  }
}
