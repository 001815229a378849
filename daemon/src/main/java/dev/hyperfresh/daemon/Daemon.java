package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.MissingCallException;
import dev.hyperfresh.linux.PrivateFile;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.linux.WarmUp;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.relocation.OsRecipe;
import dev.hyperfresh.relocation.Systems;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One daemon: the hyperplexor, the releases, the history and the API, wired together.
///
/// Life cycle: [#start] validates, takes the lock of the state directory, warms up and serves;
/// [#close] ends in the reverse order. Thread-safe.
public final class Daemon implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Daemon.class);

  /// How long hypervisors may take to say how their guests stand before the daemon serves the
  /// others.
  private static final Duration RECOVERY = Duration.ofSeconds(2);

  private static final Set<GuestView.State> LIVE =
      Set.of(GuestView.State.RUNNING, GuestView.State.REPLACING);

  private final DaemonConfig config;
  private final FileChannel lockFile;
  private final QemuReleases releases;
  private final ReleaseLeases leases = new ReleaseLeases();
  private final Hyperplexor hyperplexor;
  private final MachineRoom machines;
  private final OsRoom systems;
  private final ReleaseKinds releaseKinds;
  private final Observers observers;
  private final History history;
  private final Audit audit;
  private final Api api;
  private final CountDownLatch ended = new CountDownLatch(1);
  private final AtomicBoolean closed = new AtomicBoolean();
  private volatile Optional<UpgradeServer> upgrades = Optional.empty();
  private volatile Optional<LogTrimmer> logs = Optional.empty();

  private Daemon(
      DaemonConfig config,
      Kinds kinds,
      Machines inhabited,
      FileChannel lockFile,
      KvmProbe.Result kvm,
      Observers observers) {
    this.config = config;
    this.observers = observers;
    this.lockFile = lockFile;
    this.releases = new QemuReleases(config.releases(), new DebianPackages(config.packages()));
    releases.letOthersRead();
    // Reads what recovery and the first request need.
    LOG.info("{} releases are installed", releases.list().size());
    this.history = History.open(config.state().resolve("history.db"));
    this.audit = Audit.open(config.state().resolve("history.db"));
    events().addFirst(history);
    this.hyperplexor = new Hyperplexor(config.state(), kinds, kvm, events()::show);
    this.machines =
        new MachineRoom(
            inhabited,
            MachineRecipe.releases(config.releases(), new DebianPackages(config.packages())),
            releases,
            leases,
            hyperplexor,
            kvm);
    this.systems =
        new OsRoom(
            new Systems(config.state(), config.state().resolve("run"), events().systems()),
            OsRecipe.releases(config.releases(), new DebianPackages(config.packages())),
            releases,
            leases,
            hyperplexor,
            kvm.verdict() == KvmProbe.Verdict.USABLE
                ? new AcceleratorChoice(Accelerator.KVM, "KVM")
                : new AcceleratorChoice(Accelerator.TCG, kvm.reason()));
    this.releaseKinds =
        new ReleaseKinds(
            List.of(
                new ProcessReleases(releases, this::usersOf),
                machines.releaseKind(),
                systems.releaseKind()),
            leases);
    observers.count(hyperplexor, machines, systems);
    this.api = new Api(this);
  }

  private LogTrimmer.Guests guestsThatLog() {
    List<GuestView> live =
        hyperplexor.list().stream().filter(view -> LIVE.contains(view.state())).toList();
    return new LogTrimmer.Guests(
        live.stream().collect(Collectors.toMap(view -> view.spec().name(), GuestView::generation)),
        live.stream()
            .filter(view -> view.state() == GuestView.State.REPLACING)
            .map(view -> view.spec().name())
            .collect(Collectors.toSet()));
  }

  private static Machines machines(DaemonConfig config, Events events) {
    return new Machines(
        config.state().resolve("machines"), config.state().resolve("run"), events.machines());
  }

  private static Kinds kinds(Machines machines) {
    Qemu processes = new Qemu();
    return new Kinds(processes, new MachineKind(processes, ControlWatcher.NONE, machines));
  }

  /// Starts a daemon.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon start(DaemonConfig config) {
    Observers observers = new Observers();
    Machines machines = machines(config, observers.events());
    return start(config, kinds(machines), machines, observers);
  }

  /// Starts a daemon whose guests `kinds` run; its releases are those of [QemuReleases].
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon start(DaemonConfig config, Kinds kinds) {
    Observers observers = new Observers();
    return start(config, kinds, machines(config, observers.events()), observers);
  }

  private static Daemon start(
      DaemonConfig config, Kinds kinds, Machines machines, Observers observers) {
    FileChannel lockFile = lock(config.state());
    return launch(config, lockFile, kinds, machines, Daemon::prepare, Map.of(), observers);
  }

  /// Starts a daemon that takes over from the one that runs, if one does. Guests notice nothing,
  /// and requests find nobody only for the moment in which the socket changes hands.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_UPGRADE] when the
  ///   running daemon keeps everything and goes on; [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon upgrade(DaemonConfig config) {
    KvmProbe.Result kvm = prepare();
    Observers observers = new Observers();
    var _ = new QemuReleases(config.releases(), new DebianPackages(config.packages())).list();
    Map<String, Holdings> held = UpgradeClient.takeOver(config.upgradeSocket());
    FileChannel lockFile;
    try {
      lockFile = lock(config.state());
    } catch (RuntimeException e) {
      UpgradeClient.close(held);
      throw e;
    }
    Machines machines = machines(config, observers.events());
    Daemon daemon = launch(config, lockFile, kinds(machines), machines, () -> kvm, held, observers);
    LOG.info("took over {} guests", held.size());
    return daemon;
  }

  /// What takes time and needs nothing of the state directory.
  private static KvmProbe.Result prepare() {
    Scheduling.niceCompilers(Scheduling.BEHIND_GUESTS);
    try {
      WarmUp.run();
    } catch (MissingCallException older) {
      throw Problem.unexpected(older);
    }
    Qemu.warmUp();
    return KvmProbe.probe(Path.of("/dev/kvm"));
  }

  private static Daemon launch(
      DaemonConfig config,
      FileChannel lockFile,
      Kinds kinds,
      Machines machines,
      Supplier<KvmProbe.Result> kvm,
      Map<String, Holdings> held,
      Observers observers) {
    try {
      Roles roles = Roles.read(config.state());
      Daemon daemon = new Daemon(config, kinds, machines, lockFile, kvm.get(), observers);
      daemon.recover(held);
      if (roles.nameOthers()) {
        daemon.hyperplexor.letOthersPass();
      }
      daemon.api.serve(config.socket(), config.state().resolve("run").resolve("api"), roles);
      daemon.logs = Optional.of(LogTrimmer.start(config.state(), daemon::guestsThatLog));
      daemon.upgrades = Optional.of(UpgradeServer.start(config.upgradeSocket(), daemon.new Gift()));
      return daemon;
    } catch (RuntimeException e) {
      release(lockFile);
      throw e;
    }
  }

  private void recover(Map<String, Holdings> held) {
    long begin = System.nanoTime();
    machines.recover(RECOVERY, LOG::info);
    hyperplexor.takeBack(
        machines::whereToRun,
        held,
        RECOVERY,
        LOG::info,
        record -> events().publish(new Event.GuestReplaced(record)));
    systems.recover(RECOVERY, LOG::info);
    LOG.info("recovery took {} ms", (System.nanoTime() - begin) / 1_000_000);
  }

  private static FileChannel lock(Path state) {
    try {
      Files.createDirectories(
          state,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      FileChannel file =
          FileChannel.open(PrivateFile.at(state.resolve("daemon.lock")), StandardOpenOption.WRITE);
      FileLock lock = tryLock(file);
      if (lock == null) {
        file.close();
        throw Problem.DAEMON_RUNNING.because(state + " is locked.");
      }
      return file;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(state + ": " + e.getMessage(), e);
    }
  }

  @org.jspecify.annotations.Nullable
  private static FileLock tryLock(FileChannel file) throws IOException {
    try {
      return file.tryLock();
    } catch (OverlappingFileLockException e) {
      return null;
    }
  }

  /// The configuration it was started with.
  public DaemonConfig config() {
    return config;
  }

  /// The installed releases.
  public QemuReleases releases() {
    return releases;
  }

  /// The guests.
  public Hyperplexor hyperplexor() {
    return hyperplexor;
  }

  /// The machines.
  public MachineRoom machines() {
    return machines;
  }

  /// The operating systems and their containers.
  public OsRoom systems() {
    return systems;
  }

  History history() {
    return history;
  }

  Audit audit() {
    return audit;
  }

  Events events() {
    return observers.events();
  }

  EventStream stream() {
    return observers.stream();
  }

  Metrics metrics() {
    return observers.metrics();
  }

  /// Ends a guest and deletes its files; see [Hyperplexor#delete].
  void deleteGuest(String name) {
    hyperplexor.delete(name);
    events().forget(name);
  }

  /// Makes a guest and starts it where [#releaseFor] says.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException as [Hyperplexor#create]
  public GuestView create(SpecDocument document, Progress progress) {
    try (ReleaseLeases.Lease<Release> lease =
        leases.hold(() -> releaseFor(document), Release::name)) {
      return hyperplexor.create(document.spec(), lease.release(), progress);
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
    return leases.hold(() -> machines.whereToRun(name), Release::name);
  }

  /// Where a new guest starts: the release or the machine that its document names, else the newest
  /// that knows its machine type.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_UNKNOWN]
  public Release releaseFor(SpecDocument document) {
    Optional<String> named = document.release();
    if (named.isPresent()) {
      return machines.whereToRun(named.get());
    }
    List<QemuRelease> all = releases.list();
    return all.reversed().stream()
        .filter(release -> release.machines().contains(document.spec().machine()))
        .map(Release.class::cast)
        .findFirst()
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "No installed release knows machine type " + document.spec().machine() + "."));
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
      events().publish(new Event.GuestReplaced(record));
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

  /// The installed releases of every kind.
  ReleaseKinds releaseKinds() {
    return releaseKinds;
  }

  /// Removes a release that runs no guest and no machine, and on which nothing is being started.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_IN_USE],
  ///   [Problem#RELEASE_UNKNOWN]
  public void removeRelease(String name) {
    events().publish(new Event.ReleaseChanged(releaseKinds.remove(name), false));
  }

  /// Who runs a QEMU of this host, a phrase each.
  private List<String> usersOf(String full) {
    List<String> guests =
        hyperplexor.list().stream()
            .filter(view -> view.release().equals(full))
            .map(view -> view.spec().name())
            .toList();
    return Stream.of(
            phrase("runs ", guests),
            phrase("is the hardware of machine ", machines.onHardware(full)),
            phrase("is the hardware of OS ", systems.onHardware(full)))
        .flatMap(Optional::stream)
        .toList();
  }

  private static Optional<String> phrase(String words, List<String> names) {
    return names.isEmpty() ? Optional.empty() : Optional.of(words + String.join(", ", names));
  }

  /// Moves all guests of a machine to another one and ends the old one; see [MachineRoom#replace].
  ///
  /// @param order the rollout, for the guests and the machine that it is given
  public Replaced<ReplacementRecord> replaceMachine(
      String old,
      String to,
      Function<MachineRoom.Target, GuestRollout.Order> order,
      Rollout.Audience audience) {
    return machines.replace(
        old,
        to,
        target -> rollOut(order.apply(target), audience),
        (state, text) -> {
          var _ = audience.told("", state, text);
        });
  }

  /// Waits until a newer daemon has taken over.
  public void awaitEnd() throws InterruptedException {
    ended.await();
  }

  /// The daemon as the old side of an upgrade.
  private final class Gift implements UpgradeServer.Giver {
    @Override
    public boolean halt(Duration limit) {
      return hyperplexor.halt(limit);
    }

    @Override
    public void goOn() {
      hyperplexor.goOn();
    }

    @Override
    public Map<String, Holdings> holdings() {
      return hyperplexor.holdings();
    }

    @Override
    public void giveAway() {
      letGo();
    }

    @Override
    public void given() {
      ended.countDown();
    }
  }

  /// Ends the daemon and lets its guests and containers go on; the next daemon on this directory
  /// takes them back. Does nothing the second time.
  public void letGo() {
    end(() -> {
      hyperplexor.letGo();
      machines.letGo();
      systems.systems().letGo();
    });
  }

  /// Ends the daemon, every guest, machine, container and OS.
  @Override
  public void close() {
    end(() -> {
      try {
        hyperplexor.close();
      } finally {
        machines.close();
        systems.systems().close();
      }
    });
  }

  private void end(Runnable guests) {
    if (!closed.compareAndSet(false, true)) {
      return;
    }
    upgrades.ifPresent(UpgradeServer::close);
    hyperplexor.endPlans();
    api.close();
    logs.ifPresent(LogTrimmer::close);
    try {
      guests.run();
    } finally {
      history.close();
      audit.close();
      release(lockFile);
    }
  }

  private static void release(FileChannel lockFile) {
    try {
      lockFile.close();
    } catch (IOException e) {
      LOG.warn("the lock file cannot be closed", e);
    }
  }
}
