package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtHost;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.MissingCallException;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.linux.WarmUp;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.relocation.OsRecipe;
import dev.hyperfresh.relocation.Systems;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
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
  private final StateLock lock;
  private final QemuReleases releases;
  private final Hyperplexor hyperplexor;
  private final GuestRoom guests;
  private final LibvirtRoom libvirt;
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

  /// What runs guests here, and on which releases.
  ///
  /// @param machines those of the kind of machines among `kinds`
  /// @param releases those of kinds that no class of this package knows
  private record Wiring(Kinds kinds, Machines machines, List<ReleaseKind> releases) {
    Wiring {
      releases = List.copyOf(releases);
    }

    /// Processes and machines.
    static Wiring of(DaemonConfig config, Events events) {
      Qemu processes = new Qemu();
      Machines machines = machinesOf(config, events);
      return new Wiring(
          new Kinds(processes, new MachineKind(processes, ControlWatcher.NONE, machines)),
          machines,
          List.of());
    }

    static Machines machinesOf(DaemonConfig config, Events events) {
      return new Machines(
          config.state().resolve("machines"), config.state().resolve("run"), events.machines());
    }
  }

  private Daemon(
      DaemonConfig config,
      Wiring wiring,
      StateLock lock,
      KvmProbe.Result kvm,
      Observers observers) {
    this.config = config;
    this.observers = observers;
    this.lock = lock;
    this.releases = new QemuReleases(config.releases(), new DebianPackages(config.packages()));
    releases.letOthersRead();
    ReleaseLeases leases = new ReleaseLeases();
    // Reads what recovery and the first request need.
    LOG.info("{} releases are installed", releases.list().size());
    this.history = History.open(config.state().resolve("history.db"));
    this.audit = Audit.open(config.state().resolve("history.db"));
    events().addFirst(history);
    this.hyperplexor =
        new Hyperplexor(
            config.state(), wiring.kinds(), kvm, events().guests(), config.watchTimes());
    this.machines =
        new MachineRoom(
            wiring.machines(),
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
    this.releaseKinds = new ReleaseKinds(allReleases(wiring.releases()), leases, events());
    this.guests =
        new GuestRoom(
            hyperplexor,
            new GuestRoom.Processes(releases::list, releases::ofProcess),
            new Destinations(machines::list, machines::isStopped, machines::isComing, releaseKinds),
            events());
    this.libvirt = new LibvirtRoom(LibvirtHost.THIS, config, hyperplexor, guests, releases);
    observers.count(hyperplexor, machines, systems);
    this.api = new Api(this);
  }

  /// In the order in which a name is looked up among them.
  private List<ReleaseKind> allReleases(List<ReleaseKind> others) {
    List<ReleaseKind> all = new ArrayList<>();
    all.add(
        new ProcessReleases(
            releases, new ReleaseUsers(hyperplexor, machines, systems, config.state())::of));
    all.add(machines.releaseKind());
    all.add(systems.releaseKind());
    all.addAll(others);
    return all;
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

  /// Starts a daemon.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon start(DaemonConfig config) {
    return start(config, ServiceNotices.ofEnvironment());
  }

  static Daemon start(DaemonConfig config, ServiceNotices service) {
    Observers observers = new Observers(service);
    return start(config, Wiring.of(config, observers.events()), observers);
  }

  /// Starts a daemon whose guests `kinds` run; its releases are those of [QemuReleases].
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon start(DaemonConfig config, Kinds kinds) {
    return start(config, kinds, List.of());
  }

  /// As [#start(DaemonConfig, Kinds)].
  ///
  /// @param releases of the kinds that this class does not know
  static Daemon start(DaemonConfig config, Kinds kinds, List<ReleaseKind> releases) {
    Observers observers = new Observers(ServiceNotices.ofEnvironment());
    Machines machines = Wiring.machinesOf(config, observers.events());
    return start(config, new Wiring(kinds, machines, releases), observers);
  }

  private static Daemon start(DaemonConfig config, Wiring wiring, Observers observers) {
    StateLock lock = StateLock.take(config.state());
    return launch(config, lock, wiring, Daemon::prepare, Map.of(), observers);
  }

  /// Starts a daemon that takes over from the one that runs, if one does. Guests notice nothing,
  /// and requests find nobody only for the moment in which the socket changes hands.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_UPGRADE] when the
  ///   running daemon keeps everything and goes on; [Problem#DAEMON_RUNNING],
  ///   [Problem#DAEMON_STATE]
  public static Daemon upgrade(DaemonConfig config) {
    KvmProbe.Result kvm = prepare();
    Observers observers = new Observers(ServiceNotices.ofEnvironment());
    var _ = new QemuReleases(config.releases(), new DebianPackages(config.packages())).list();
    Readiness.require(config.state());
    Map<String, Holdings> held = UpgradeClient.takeOver(config.upgradeSocket());
    StateLock lock;
    try {
      lock = StateLock.take(config.state());
    } catch (RuntimeException e) {
      UpgradeClient.close(held);
      throw e;
    }
    Wiring wiring = Wiring.of(config, observers.events());
    Daemon daemon = launch(config, lock, wiring, () -> kvm, held, observers);
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
      StateLock lock,
      Wiring wiring,
      Supplier<KvmProbe.Result> kvm,
      Map<String, Holdings> held,
      Observers observers) {
    try {
      Roles roles = Roles.read(config.state());
      Daemon daemon = new Daemon(config, wiring, lock, kvm.get(), observers);
      daemon.recover(held);
      daemon.libvirt.finishLeft();
      if (roles.nameOthers()) {
        daemon.hyperplexor.letOthersPass();
      }
      daemon.api.serve(config.socket(), config.state().resolve("run").resolve("api"), roles);
      daemon.startThemselves(Pace.of(config.startsAtOnce()));
      daemon.logs = Optional.of(LogTrimmer.start(config.state(), daemon::guestsThatLog));
      daemon.upgrades = Optional.of(UpgradeServer.start(config.upgradeSocket(), daemon.new Gift()));
      observers.service().ready();
      observers.service().watch(() -> ServiceNotices.answers(config.socket()));
      return daemon;
    } catch (RuntimeException e) {
      lock.close();
      throw e;
    }
  }

  /// What others live in comes first.
  private void startThemselves(Pace pace) {
    machines.startThemselves(pace);
    systems.startThemselves(pace);
    hyperplexor.startThemselves(pace, guests::startWanted);
  }

  private void recover(Map<String, Holdings> held) {
    long begin = System.nanoTime();
    machines.recover(RECOVERY, LOG::info);
    hyperplexor.takeBack(
        guests.destinations()::recorded,
        held,
        RECOVERY,
        LOG::info,
        record -> events().publish(new Event.GuestReplaced(record)));
    systems.recover(RECOVERY, LOG::info);
    LOG.info("recovery took {} ms", (System.nanoTime() - begin) / 1_000_000);
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

  /// What is done with guests.
  public GuestRoom guests() {
    return guests;
  }

  /// The domains of libvirt.
  LibvirtRoom libvirt() {
    return libvirt;
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

  /// The installed releases of every kind.
  ReleaseKinds releaseKinds() {
    return releaseKinds;
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
        target -> guests.rollOut(order.apply(target), audience),
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
      observers.service().reloading();
      boolean halted = hyperplexor.halt(limit);
      if (!halted) {
        observers.service().ready();
      }
      return halted;
    }

    @Override
    public void goOn() {
      hyperplexor.goOn();
      observers.service().ready();
    }

    @Override
    public Map<String, Holdings> holdings() {
      return hyperplexor.holdings();
    }

    @Override
    public void giveAway(int successor) {
      // Before this process ends, or the end of it would be that of the service.
      observers.service().passOn(successor);
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
    observers.service().stopping();
    libvirt.close();
    upgrades.ifPresent(UpgradeServer::close);
    hyperplexor.endPlans();
    api.close();
    logs.ifPresent(LogTrimmer::close);
    try {
      guests.run();
    } finally {
      history.close();
      audit.close();
      lock.close();
      observers.service().close();
    }
  }
}
