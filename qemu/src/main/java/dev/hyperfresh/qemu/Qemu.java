package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Printable;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Background;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The `process` kind of hypervisor: each guest in a QEMU process of its own. Remembers nothing but
/// the rehearsals that were passed.
public final class Qemu implements Hypervisor, Adopter {
  /// The name of this kind.
  public static final String KIND = "process";

  /// How long a target that starts may wait for everybody else: several times what it takes alone.
  private static final Duration START_IN_BACKGROUND = Duration.ofSeconds(1);

  static final String PINNED_KERNEL = "kernel";
  static final String PINNED_INITRD = "initrd";

  /// What an instance without a console socket says.
  static final Path NO_CONSOLE = Path.of("");

  private static final System.Logger LOG = System.getLogger(Qemu.class.getName());

  /// What QEMU calls by its version, or a distribution by its own: `pc-q35-rhel9.2.0`,
  /// `pc-i440fx-jammy`. None of these names is an alias anywhere.
  private static final Pattern VERSIONED =
      Pattern.compile("pc-(q35|i440fx)-[a-z0-9.+-]+|.*-[0-9]+\\.[0-9]+");

  /// Migration capabilities without which no guest can be moved.
  static final List<String> NEEDED_CAPABILITIES = List.of("x-ignore-shared", "events");

  private final Rehearsals rehearsals = new Rehearsals();
  private final ControlWatcher watcher;
  private final Duration patience;

  /// Unwatched, and as patient as no QEMU needs that works.
  public Qemu() {
    this(ControlWatcher.NONE, Qmp.PATIENCE);
  }

  /// With a watcher of all control channels.
  ///
  /// @param patience how long a QEMU may take for an answer once it has started, more than zero;
  ///   one that takes longer counts as hung
  public Qemu(ControlWatcher watcher, Duration patience) {
    this.watcher = watcher;
    this.patience = patience;
  }

  /// Does once what talking to a process takes, since the first time costs Java tenths of a second.
  /// Touches nothing.
  public static void warmUp() {
    byte[] answer =
        "{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": \"1\"}"
            .getBytes(StandardCharsets.UTF_8);
    var _ = QmpMessage.decode(answer, 0, answer.length);
    var _ = Qmp.encode("query-status", Map.of("a", List.of()), "1");
    var _ = GuestProcesses.in(Path.of("/nonexistent")).survivors();
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public AcceleratorChoice accelerator(
      AcceleratorWish wish, Release release, KvmProbe.Result host) {
    return AcceleratorChoice.choose(wish, host);
  }

  @Override
  public Optional<Adopter> adopter() {
    return Optional.of(this);
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    if (!(release instanceof QemuRelease qemu)) {
      return List.of(
          Check.fail(
              "release",
              release.name() + " is a " + release.kind() + ", not a " + KIND + ".",
              "Choose a release of the same kind."));
    }
    List<Check> checks = new ArrayList<>();
    checks.add(binary(qemu));
    checks.add(machine(spec, qemu.name(), qemu.machines(), qemu.deprecated()));
    checks.add(cpu(spec, qemu.name(), qemu.cpus(), qemu.deprecated()));
    checks.add(capabilities(qemu.name(), qemu.capabilities()));
    VhostNet.check(spec, () -> VhostNet.isUsable(FileUser.SELF)).ifPresent(checks::add);
    return checks;
  }

  private static Check binary(QemuRelease release) {
    return Files.isExecutable(release.binary())
        ? Check.pass("release", release.name() + " is installed and can be executed.")
        : Check.fail(
            "release",
            release.name() + " has no executable " + release.binary() + ".",
            "Remove the release and fetch or add it again.");
  }

  static Check machine(
      GuestSpec spec, String release, Set<String> machines, Set<String> deprecated) {
    String machine = spec.machine();
    if (!isVersioned(machine)) {
      return Check.fail(
          "machine type",
          "Machine type " + machine + " has no version, so two releases disagree on it.",
          "Create the guest with a versioned type such as pc-q35-7.2.");
    }
    return machines.contains(machine)
        ? known("machine type", release, machine, deprecated)
        : Check.fail(
            "machine type",
            release + " does not know machine type " + machine + ".",
            "Choose a release that lists it: hyperfresh release show NAME.");
  }

  static Check cpu(GuestSpec spec, String release, Set<String> cpus, Set<String> deprecated) {
    String model = spec.cpu().split(",", 2)[0];
    return cpus.contains(model)
        ? known("CPU model", release, model, deprecated)
        : Check.fail(
            "CPU model",
            release + " does not know CPU model " + model + ".",
            "Choose a release that lists it, or create the guest with another model.");
  }

  private static Check known(String what, String release, String name, Set<String> deprecated) {
    return deprecated.contains(name)
        ? Check.remark(
            what,
            release + " knows " + name + ", but deprecates it: a later release will not know it.",
            "Choose a newer " + what + " the next time the guest is stopped.")
        : Check.pass(what, release + " knows " + name + ".");
  }

  static Check capabilities(String release, Set<String> capabilities) {
    List<String> lacks =
        NEEDED_CAPABILITIES.stream().filter(c -> !capabilities.contains(c)).toList();
    return lacks.isEmpty()
        ? Check.pass(
            "capabilities", release + " has " + String.join(", ", NEEDED_CAPABILITIES) + ".")
        : Check.fail(
            "capabilities",
            release + " lacks the migration capability " + String.join(", ", lacks) + ".",
            "Choose QEMU 4.0 or newer.");
  }

  /// Whether a machine type means the same machine on every release that knows it.
  static boolean isVersioned(String machine) {
    return VERSIONED.matcher(machine).matches();
  }

  @Override
  public void remember(GuestSpec spec, Path files) {
    DeviceNames.remember(spec, files, BlockDevice.SYS);
  }

  /// Copies small files into the guest's folder: a later release must find the same, whatever the
  /// host's package manager did to the originals since.
  @Override
  public void pin(Launch launch) {
    launch
        .spec()
        .boot()
        .ifPresent(boot -> {
          copy(boot.kernel(), launch, PINNED_KERNEL);
          boot.initrd().ifPresent(initrd -> copy(initrd, launch, PINNED_INITRD));
        });
    Seed.pin(launch);
    ScreenPassword.pin(launch);
    var _ = DiskImages.pin(launch);
    UefiFiles.of(launch).ifPresent(UefiFiles::pin);
    GuestTpm.pin(launch);
  }

  /// The hypervisor opens the copy anew, so the guest's group may read it.
  private static void copy(Path from, Launch launch, String name) {
    Path to = launch.files().resolve(name);
    try {
      Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING);
      if (launch.confinement().user().isPresent()) {
        Files.setAttribute(to, "unix:gid", launch.confinement().user().getAsInt());
        Files.setPosixFilePermissions(to, PosixFilePermissions.fromString("rw-r-----"));
      }
    } catch (IOException e) {
      throw Problem.SPEC_FILE_MISSING.because(from + " cannot be copied: " + e.getMessage(), e);
    }
  }

  @Override
  public Instance start(Launch launch) {
    return spawn(launch, false);
  }

  @Override
  public Instance startWaiting(Launch launch) {
    try {
      return spawn(launch, true);
    } catch (RuntimeException e) {
      LocalQemu.abandonTpm(launch);
      throw e;
    }
  }

  private Instance spawn(Launch launch, boolean waiting) {
    QemuRelease release = (QemuRelease) launch.release();
    Problem problem = waiting ? Problem.REPLACE_PREPARE : Problem.GUEST_START;
    Path qmp = socket(launch, ".qmp");
    Path console = socket(launch, ".con");
    Path log = log(launch.files(), launch.generation());
    QemuUser.obstacle(launch, release)
        .or(() -> waiting ? Optional.empty() : QemuUser.narrow(launch))
        .ifPresent(why -> {
          throw problem.because(why + ".");
        });
    try {
      // A guest of the same name may have left one.
      Files.deleteIfExists(log);
      HostProcess process = spawn(launch, release, waiting, qmp, console, log);
      return waiting
          ? connectInBackground(launch, process, qmp, console)
          : connect(launch, process, qmp, console);
    } catch (DiskImages.DiskChanged e) {
      removeSockets(launch, qmp, console);
      throw (waiting ? problem : Problem.GUEST_DISK).because(String.valueOf(e.getMessage()), e);
    } catch (IOException | UncheckedIOException | LinuxException | Qmp.QmpException e) {
      removeSockets(launch, qmp, console);
      String why = lastLines(log, String.valueOf(e.getMessage()));
      throw problem.because(release.name() + " did not start: " + Swtpm.explained(launch, why), e);
    }
  }

  private static HostProcess spawn(
      Launch launch, QemuRelease release, boolean waiting, Path qmp, Path console, Path log)
      throws IOException {
    Optional<Swtpm> tpm = Swtpm.start(launch, waiting);
    try {
      ChildProcess process =
          DiskNeighbours.oneAtATime(
              launch, waiting, () -> spawn(launch, release, waiting, qmp, console, log, tpm));
      GuestGroups groups = new GuestGroups(launch, process.pid());
      tpm.ifPresent(swtpm -> groups.add(swtpm.process().pid()));
      return HostProcess.of(process).servedBy(tpm.map(Swtpm::process));
    } catch (RuntimeException e) {
      tpm.ifPresent(Swtpm::end);
      throw e;
    } finally {
      tpm.ifPresent(Swtpm::close);
    }
  }

  private static ChildProcess spawn(
      Launch launch,
      QemuRelease release,
      boolean waiting,
      Path qmp,
      Path console,
      Path log,
      Optional<Swtpm> tpm) {
    QemuUser user = QemuUser.of(launch);
    Optional<UnixSocket> agentListener = agent(launch).map(Qemu::listen);
    // Closed here before the greeting is awaited: a QEMU that dies must end the connection.
    try (UnixSocket qmpListener = listen(qmp);
        UnixSocket consoleListener = listen(console);
        HandedFiles files = HandedFiles.open(launch, waiting)) {
      Map<Integer, Fd> descriptors = new HashMap<>(files.descriptors());
      descriptors.putAll(Descriptors.of(launch));
      descriptors.put(Descriptors.QMP, qmpListener.fd());
      descriptors.put(Descriptors.CONSOLE, consoleListener.fd());
      agentListener.ifPresent(listener -> descriptors.put(Descriptors.AGENT, listener.fd()));
      tpm.ifPresent(swtpm -> descriptors.put(Descriptors.TPM, swtpm.control()));
      ChildProcess.Request request =
          new ChildProcess.Request(
              user.command(user.labelled(CommandLine.of(launch, release, waiting)), release),
              user.environment(release),
              descriptors,
              log,
              true);
      ChildProcess process = launch.confinement().within(() -> ChildProcess.spawn(request));
      new GuestGroups(launch, process.pid()).enter(waiting);
      return process;
    } finally {
      agentListener.ifPresent(UnixSocket::close);
    }
  }

  /// The guest runs meanwhile, and the start of a second hypervisor is not to cost it anything.
  private Instance connectInBackground(Launch launch, HostProcess process, Path qmp, Path console) {
    try (Background _ = Background.of(process.pid(), START_IN_BACKGROUND)) {
      return connect(launch, process, qmp, console);
    }
  }

  private Instance connect(Launch launch, HostProcess process, Path qmp, Path console) {
    try {
      return instance(launch, process, qmp, console);
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      new GuestGroups(launch, process.pid()).removeOwn();
      throw e;
    }
  }

  private Instance instance(Launch launch, HostProcess process, Path qmp, Path console) {
    return new QemuInstance(
        launch,
        new LocalQemu(process, launch, qmp, console, agent(launch)),
        LocalQemu.control(launch, process.pid(), qmp, Qmp.PATIENCE),
        Qmp.Channel.OWN,
        console,
        rehearsals,
        watcher,
        patience);
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int queues) {
    List<Fd> taken = new ArrayList<>();
    try (PidFd process = PidFd.open(pid)) {
      for (int i = 0; i < memories; i++) {
        taken.add(process.takeFd(Descriptors.memory(i)));
      }
      for (int i = 0; i < queues; i++) {
        taken.add(process.takeFd(Descriptors.queue(i)));
      }
      return new Holdings(taken.subList(0, memories), taken.subList(memories, taken.size()));
    } catch (LinuxException e) {
      taken.forEach(Fd::close);
      throw Problem.GUEST_STATE.because("Process " + pid + ": " + e.getMessage(), e);
    }
  }

  @Override
  public Adoption adopt(AdoptRequest request) {
    return new QemuAdoption(request).adopt();
  }

  @Override
  public Holdings holdings(GuestSpec guest, int pid, AdoptedMachine machine) {
    return FirstHoldings.of(guest, pid, machine);
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    Release release = launch.release();
    HostProcess process = HostProcess.survivor(pid);
    Optional<AdoptedMachine> foreign =
        launch.adopted().filter(_ -> AdoptedMachine.isFirst(launch.generation()));
    try {
      return instance(
          launch,
          process,
          foreign.map(AdoptedMachine::control).orElseGet(() -> socket(launch, ".qmp")),
          foreign
              .map(machine -> machine.console().orElse(NO_CONSOLE))
              .orElseGet(() -> socket(launch, ".con")));
    } catch (LinuxException | Qmp.QmpException | QemuProcess.TroubleException e) {
      process.close();
      throw Problem.GUEST_STATE.because(
          release.name() + " with pid " + pid + " does not answer: " + e.getMessage(), e);
    }
  }

  @Override
  public Optional<Boolean> hasRun(Path files, int generation) {
    return RunStates.ofLog(log(files, generation));
  }

  @Override
  public List<Survivor> survivors(Path guests) {
    return GuestProcesses.in(guests).survivors();
  }

  /// The instance is the process.
  @Override
  public boolean lives(Survivor instance) {
    return true;
  }

  @Override
  public boolean hasOwnProcess(Survivor instance) {
    return true;
  }

  @Override
  public void goOn(Survivor instance) {
    GuestProcesses.goOn(instance);
  }

  @Override
  public void end(Survivor instance) {
    GuestProcesses.end(instance);
  }

  @Override
  public void endRehearsals(Path guests) {
    GuestProcesses.in(guests).endRehearsals();
  }

  static Path log(Path files, int generation) {
    return files.resolve("hypervisor-" + generation + ".log");
  }

  /// A QEMU removes what has the name of its socket when it ends, so the next loan of a guest that
  /// was borrowed has other names.
  private static Path socket(Launch launch, String ending) {
    String loan =
        launch.adopted().map(AdoptedMachine::borrowed).filter(OptionalInt::isPresent).stream()
            .map(process -> Integer.toString(process.getAsInt()))
            .collect(Collectors.joining());
    return launch
        .sockets()
        .resolve(launch.spec().name() + "." + launch.generation() + ending + loan);
  }

  /// Where the channel to an agent in the guest is, if it has one.
  private static Optional<Path> agent(Launch launch) {
    return launch.spec().agent() ? Optional.of(socket(launch, ".agt")) : Optional.empty();
  }

  /// Removes all sockets of a process; nobody is to connect to them any more.
  static void removeSockets(Launch launch, Path qmp, Path console) {
    removeSockets(qmp, console);
    agent(launch).ifPresent(Qemu::removeSockets);
    BesideSocket.all(launch).forEach(socket -> socket.remove(LocalQemu.user(launch)));
  }

  /// Removes the sockets of a process that is gone; nobody could connect to them any more.
  static void removeSockets(Path... paths) {
    for (Path path : paths) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, path + " cannot be removed", e);
      }
    }
  }

  private static UnixSocket listen(Path path) {
    removeSockets(path);
    return UnixSocket.listen(path, 0600);
  }

  /// What the process said before it ended, or `otherwise`.
  static String lastLines(Path log, String otherwise) {
    try {
      List<String> lines = RunStates.words(new LogFile(log).lastLines());
      return lines.isEmpty()
          ? otherwise
          : Printable.of(
              String.join(" / ", lines.subList(Math.max(0, lines.size() - 3), lines.size())));
    } catch (IOException e) {
      return otherwise;
    }
  }
}
