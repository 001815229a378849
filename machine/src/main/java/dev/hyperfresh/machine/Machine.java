package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// A hypervisor that is a whole machine: a virtual machine on this host with a kernel, KVM and QEMU
/// of its own, in which guests run. The guests' memory is not the machine's: each is a window into
/// memory that the hyperplexor owns, plugged in for as long as the guest is there. Thread-safe.
///
/// It stands where a release stands with other kinds: a guest is moved *to* a machine. What is
/// built and installed is its [MachineRelease].
public final class Machine implements Release, AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Machine.class.getName());
  private static final int QMP_FD = 10;
  private static final int AGENT_FD = 11;
  private static final Duration START_LIMIT = Duration.ofSeconds(30);

  /// Translated on a busy host it takes tens of seconds.
  private static final Duration BOOT_LIMIT = Duration.ofMinutes(4);

  static final Duration PLUG_LIMIT = Duration.ofSeconds(30);
  private static final Duration UNPLUG_LIMIT = Duration.ofSeconds(20);
  private static final int CLOCK_LOOKS = 8;
  private static final long LOOK_NANOS = 5_000_000;

  /// As for a guest's state.
  private static final int RELAY_PIPE_BYTES = 1 << 20;

  /// The agent is also the only other program of the image.
  static final String AGENT = "/init";

  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);
  private static final Duration END_LOOK = Duration.ofMillis(20);

  /// QEMU `ACPI_MAX_RAM_SLOTS` is 256; a window takes one.
  private static final int SLOTS = 64;

  /// How soon it is seen that a machine is let go of.
  private static final Duration LOOK = Duration.ofMillis(200);

  /// How long a machine that an earlier daemon left may take for its first answer.
  private static final Duration ANSWER_LIMIT = Duration.ofSeconds(20);

  /// Windows are placed at multiples of 1 GiB.
  private static final long ROOM_BYTES = 64L << 30;

  /// `acpi_no_memhotplug`: a window that is plugged in is not to become memory of this kernel. No
  /// IPv6: its network cards belong to guests, and must not say a word of their own.
  private static final String KERNEL_OPTIONS =
      "console=ttyS0 quiet acpi_no_memhotplug panic=-1 ipv6.disable=1";

  private final MachineSettings settings;
  private final Path files;
  private final List<Path> socketFiles;
  private final HostProcess process;
  private final Ledger ledger;
  private final QemuControl control;
  private final Agent agent;
  private final Agent.Hello hello;

  /// Held while memories come and go.
  private final Object memories = new Object();

  /// The processes inside that are watched, by their numbers there.
  private final Map<Integer, Consumer<Agent.Exited>> watched = new ConcurrentHashMap<>();

  /// What ended before anybody watched it.
  private final Map<Integer, Agent.Exited> early = new ConcurrentHashMap<>();

  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread watcher;
  private volatile boolean released;

  /// Reaches the machine that `process` is.
  ///
  /// @param patience how long its agent may take for its first answer
  private Machine(
      MachineSettings settings,
      Path files,
      List<Path> socketFiles,
      HostProcess process,
      Ledger ledger,
      Duration patience) {
    this.settings = settings;
    this.files = files;
    this.socketFiles = socketFiles;
    this.process = process;
    this.ledger = ledger;
    this.watcher =
        Thread.ofPlatform()
            .name("hf-machine-" + settings.name())
            .daemon()
            .start(this::awaitProcess);
    QemuControl opened = null;
    Agent reached = null;
    try {
      opened =
          QemuControl.open(
              UnixSocket.connect(socketFiles.get(0)),
              settings.name(),
              files.resolve("qmp.log"),
              START_LIMIT);
      reached = Agent.over(UnixSocket.connect(socketFiles.get(1)), this::exited);
      this.control = opened;
      this.agent = reached;
      this.hello = reached.awaitHello(patience);
    } catch (RuntimeException e) {
      if (opened != null) {
        opened.close();
      }
      if (reached != null) {
        reached.close();
      }
      release();
      throw e;
    }
  }

  private static List<Path> socketFiles(String name, Path sockets) {
    return List.of(
        sockets.resolve(name + ".machine.qmp"), sockets.resolve(name + ".machine.agent"));
  }

  /// Takes over a machine that an earlier daemon left. Guests in it notice nothing; what belongs to
  /// none that runs is taken out of it. The machine goes on whether this succeeds or not.
  ///
  /// @param file what is written down of it, of a process that lives
  /// @throws TroubleException when it does not answer
  static Machine again(MachineSettings settings, MachineFile file, Path files, Path sockets) {
    Ledger ledger = new Ledger(files, file);
    try {
      requireGoing(settings.name(), file, ledger);
      Machine machine = reach(settings, file.pid(), files, sockets, ledger);
      try {
        machine.tidy();
        return machine;
      } catch (RuntimeException e) {
        machine.letGo();
        throw e;
      }
    } catch (LinuxException | QemuControl.RefusedException | AgentException e) {
      throw new TroubleException("it does not answer: " + e.getMessage(), e);
    }
  }

  private static Machine reach(
      MachineSettings settings, int pid, Path files, Path sockets, Ledger ledger) {
    HostProcess process = HostProcess.survivor(pid);
    try {
      return new Machine(
          settings, files, socketFiles(settings.name(), sockets), process, ledger, ANSWER_LIMIT);
    } catch (RuntimeException e) {
      process.close();
      throw e;
    }
  }

  /// An earlier daemon stops a machine when it cannot do otherwise, and lets it go on when what it
  /// was in doubt of has been settled. It may have died in between.
  private static void requireGoing(String name, MachineFile file, Ledger ledger) {
    if (!file.halted()) {
      return;
    }
    if (file.places().stream().anyMatch(MachineFile.Entry::condemned)) {
      throw new TroubleException(
          "it was stopped and stays so, because in it is a hypervisor that must not run any more");
    }
    try (PidFd process = PidFd.open(file.pid())) {
      process.signal(Signals.CONT);
    }
    LOG.log(System.Logger.Level.INFO, "machine " + name + " was stopped and goes on");
    ledger.halted(false);
  }

  /// Takes out what an earlier daemon had not finished making or removing, and what has ended.
  private void tidy() {
    forgetUnnamed();
    if (ledger.places().stream().anyMatch(place -> place.inner() == 0)) {
      endUnknown();
    }
    for (MachineFile.Entry place : ledger.places()) {
      if (place.inner() == 0 || !runs(place.inner())) {
        Place.again(this, place).close();
      }
    }
  }

  /// A program inside whose number nobody has written down was being started for a place that was
  /// not ready yet. The agent knows its own children only by number, and these are small.
  private void endUnknown() {
    List<Integer> known = ledger.places().stream().map(MachineFile.Entry::inner).toList();
    int last =
        ask(a -> a.start(new Agent.Program(List.of(AGENT, "remove", "-"), Map.of(), List.of())));
    watch(last, _ -> {});
    for (int pid = 2; pid < last; pid++) {
      if (!known.contains(pid) && runs(pid)) {
        LOG.log(System.Logger.Level.INFO, "process " + pid + " in " + name() + " is ended");
        endInside(pid);
      }
    }
  }

  /// Whether process `pid` inside is one of the agent's that runs.
  ///
  /// @throws TroubleException when the agent is silent
  boolean runs(int pid) {
    try {
      var _ = agent.state(pid);
      return true;
    } catch (AgentException e) {
      if (e.refused()) {
        return false;
      }
      throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
    }
  }

  /// Ends a process inside that nobody watches.
  ///
  /// @throws TroubleException when that is not certain
  void endInside(int pid) {
    try {
      agent.signal(pid, Signals.KILL);
    } catch (AgentException e) {
      if (!e.refused()) {
        throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
      }
    }
    long deadline = Clock.monotonicNanos() + KILL_LIMIT.toNanos();
    while (runs(pid)) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException("process " + pid + " of machine " + name() + " lives on");
      }
      LockSupport.parkNanos(END_LOOK.toNanos());
    }
  }

  /// Starts a machine and returns when its agent answers.
  ///
  /// @param files an existing folder for its logs
  /// @param sockets the folder for its control sockets, mode 0700
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#MACHINE_START] with the last
  ///   that it printed; nothing is left then but the logs
  static Machine boot(MachineSettings settings, Path files, Path sockets) {
    List<Path> socketFiles = socketFiles(settings.name(), sockets);
    try {
      return boot(settings, files, socketFiles);
    } catch (LinuxException | QemuControl.RefusedException | AgentException e) {
      removeAll(socketFiles);
      throw Problem.MACHINE_START.because(
          settings.name()
              + " ("
              + settings.release().name()
              + ") did not come up: "
              + e.getMessage()
              + "."
              + said(files.resolve("hardware.log"), " Its hardware said: ")
              + said(files.resolve("console.log"), " Its kernel said: "),
          e);
    }
  }

  private static Machine boot(MachineSettings settings, Path files, List<Path> socketFiles) {
    long start = Clock.monotonicNanos();
    HostProcess process = HostProcess.of(spawn(settings, files, socketFiles));
    try {
      MachineFile file = MachineFile.of(settings, process.pid());
      file.write(files);
      Ledger ledger = new Ledger(files, file);
      Machine machine = new Machine(settings, files, socketFiles, process, ledger, BOOT_LIMIT);
      ledger.booted((Clock.monotonicNanos() - start) / 1e6);
      return machine;
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      MachineFile.remove(files);
      throw e;
    }
  }

  private static ChildProcess spawn(MachineSettings settings, Path files, List<Path> socketFiles) {
    removeAll(socketFiles);
    removeAll(List.of(files.resolve("hardware.log"), files.resolve("console.log")));
    try (UnixSocket qmp = UnixSocket.listen(socketFiles.get(0), 0600);
        UnixSocket agent = UnixSocket.listen(socketFiles.get(1), 0600)) {
      return ChildProcess.spawn(
          new ChildProcess.Request(
              command(settings, files),
              settings.hardware().environment(),
              Map.of(QMP_FD, qmp.fd(), AGENT_FD, agent.fd()),
              files.resolve("hardware.log"),
              true));
    }
  }

  private static List<String> command(MachineSettings settings, Path files) {
    MachineRelease release = settings.release();
    boolean kvm = settings.accelerator() == Accelerator.KVM;
    List<String> line = new ArrayList<>();
    line.add(settings.hardware().binary().toString());
    line.addAll(settings.hardware().arguments());
    line.addAll(List.of("-name", "guest=machine-" + settings.name() + ",debug-threads=on"));
    line.addAll(List.of("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"));
    line.addAll(QemuControl.SANDBOX);
    // Devices come and go on one flat bus of 29 places by the ACPI of this machine type. A machine
    // never moves itself, so that the alias does no harm.
    line.addAll(List.of("-machine", "pc", "-accel", settings.accelerator().label()));
    // TCG translates AMD's virtualization and not Intel's.
    line.addAll(List.of("-cpu", kvm ? "host" : "EPYC,+svm,+npt"));
    line.addAll(List.of("-smp", Integer.toString(settings.vcpus())));
    long room = Host.totalMemoryBytes() * 2 + ROOM_BYTES;
    line.addAll(
        List.of(
            "-m",
            (settings.memoryBytes() >> 20)
                + "M,slots="
                + SLOTS
                + ",maxmem="
                + ((settings.memoryBytes() + room) >> 20)
                + "M"));
    line.addAll(
        List.of("-kernel", release.kernel().toString(), "-initrd", release.initrd().toString()));
    line.addAll(List.of("-append", KERNEL_OPTIONS));
    line.addAll(
        List.of(
            "-chardev",
            "file,id=kernel,path=" + files.resolve("console.log").toString().replace(",", ",,")));
    line.addAll(List.of("-serial", "chardev:kernel"));
    line.addAll(List.of("-chardev", "socket,id=qmp,fd=" + QMP_FD + ",server=on,wait=off"));
    line.addAll(List.of("-mon", "chardev=qmp,mode=control"));
    line.addAll(List.of("-device", "virtio-serial-pci,id=ports,max_ports=255"));
    line.addAll(List.of("-chardev", "socket,id=agent,fd=" + AGENT_FD + ",server=on,wait=off"));
    line.addAll(
        List.of(
            "-device",
            "virtserialport,bus=ports.0,nr=1,chardev=agent,name=" + MachineRelease.AGENT_PORT));
    return line;
  }

  private static String said(Path log, String introduction) {
    try {
      List<String> lines =
          Files.readString(log, StandardCharsets.ISO_8859_1)
              .lines()
              .map(String::strip)
              .filter(line -> !line.isEmpty())
              .toList();
      return lines.isEmpty()
          ? ""
          : introduction
              + String.join(" / ", lines.subList(Math.max(0, lines.size() - 3), lines.size()));
    } catch (IOException e) {
      return "";
    }
  }

  private void awaitProcess() {
    while (!process.awaitEnd(LOOK)) {
      if (released) {
        return;
      }
    }
    ended.countDown();
    Map<Integer, Consumer<Agent.Exited>> left;
    synchronized (watched) {
      left = Map.copyOf(watched);
      watched.clear();
    }
    left.forEach((pid, end) -> end.accept(lost(pid)));
  }

  private Agent.Exited lost(int pid) {
    return new Agent.Exited(pid, Signals.KILL, "machine " + name() + " ended");
  }

  private void exited(Agent.Exited exit) {
    Consumer<Agent.Exited> end;
    synchronized (watched) {
      end = watched.remove(exit.pid());
      if (end == null) {
        early.put(exit.pid(), exit);
      }
    }
    if (end != null) {
      end.accept(exit);
    }
  }

  /// Has `end` told once, on a thread that must not be held, when process `pid` inside ends or the
  /// machine does.
  void watch(int pid, Consumer<Agent.Exited> end) {
    Agent.Exited before;
    synchronized (watched) {
      before = ended() ? lost(pid) : early.remove(pid);
      if (before == null) {
        watched.put(pid, end);
      }
    }
    if (before != null) {
      end.accept(before);
    }
  }

  /// Takes back what [#watch] was told.
  void unwatch(int pid) {
    synchronized (watched) {
      watched.remove(pid);
    }
  }

  /// Runs a program inside to its end.
  ///
  /// @return what it printed
  /// @throws TroubleException when it fails, or does not end within `limit`
  String run(List<String> command, Duration limit) {
    int pid = ask(a -> a.start(new Agent.Program(command, Map.of(), List.of())));
    CompletableFuture<Agent.Exited> exit = new CompletableFuture<>();
    watch(pid, exit::complete);
    try {
      Agent.Exited result = exit.get(limit.toNanos(), TimeUnit.NANOSECONDS);
      if (result.status() != 0) {
        throw new TroubleException(
            "machine " + name() + ": " + command + " failed: " + result.tail().strip());
      }
      return result.tail().strip();
    } catch (TimeoutException | ExecutionException e) {
      throw new TroubleException("machine " + name() + ": " + command + " does not end", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new TroubleException("machine " + name() + ": interrupted", e);
    }
  }

  @Override
  public String name() {
    return settings.name();
  }

  @Override
  public String kind() {
    return MachineRelease.KIND;
  }

  @Override
  public Map<String, String> parts() {
    return settings.release().parts();
  }

  @Override
  public String version() {
    return settings.release().version();
  }

  @Override
  public Set<String> machines() {
    return settings.release().machines();
  }

  /// What it is made of.
  public MachineSettings settings() {
    return settings;
  }

  /// From the start of its hardware to the first word of its agent, milliseconds.
  public double bootMs() {
    return ledger.bootMs();
  }

  /// What its agent said when it came up.
  public Agent.Hello hello() {
    return hello;
  }

  /// The folder with its logs.
  public Path files() {
    return files;
  }

  /// The process on this host that is its hardware.
  public int pid() {
    return process.pid();
  }

  /// Its agent.
  public Agent agent() {
    return agent;
  }

  /// Whether it is gone.
  public boolean ended() {
    return ended.getCount() == 0;
  }

  /// Whether its process has ended, also when nobody was told yet.
  boolean exited() {
    return ended() || process.pidFd().exited();
  }

  /// Whether anything of a guest is in it, also of one that is on its way in or out.
  public boolean isOccupied() {
    return !ledger.places().isEmpty();
  }

  /// What is in it.
  Ledger ledger() {
    return ledger;
  }

  /// Stops all that the machine does, where it stands.
  void halt() {
    try {
      ledger.halted(true);
    } catch (HyperFreshException e) {
      // The next daemon would leave it as it is then.
      LOG.log(System.Logger.Level.WARNING, "machine " + name() + " is stopped unwritten", e);
    }
    signal(Signals.STOP);
  }

  /// Whether nothing in the machine can run.
  boolean stands() {
    return ProcessThreads.allStopped(pid());
  }

  /// Lets it go on after [#halt].
  void goOn() {
    signal(Signals.CONT);
    ledger.halted(false);
  }

  /// After [#halt], for a guest that must never run here: kills the machine, unless other guests
  /// are in it. These stand with it, until somebody ends the machine; no later daemon lets it go
  /// on.
  ///
  /// @param place of the guest
  void condemn(String place) {
    if (ledger.places().stream().allMatch(other -> other.id().equals(place))) {
      signal(Signals.KILL);
    } else {
      ledger.update(place, MachineFile.Entry::asCondemned);
      LOG.log(
          System.Logger.Level.ERROR,
          "machine {0} does not answer and stays stopped, with other guests in it",
          name());
    }
  }

  private void signal(int signal) {
    try {
      process.pidFd().signal(signal);
    } catch (LinuxException | IllegalStateException e) {
      if (exited()) {
        return;
      }
      throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
    }
  }

  /// How long the way of a guest's state from this machine to `target` takes for so many bytes,
  /// with nobody who saves or loads them: from the first to the last that comes, milliseconds.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#INTERNAL] when it cannot be
  ///   measured
  public double relayMs(Machine target, int bytes) {
    String there = target.ledger.newPlace() + ".relay";
    String here = ledger.newPlace() + ".relay";
    String file = MachineRelease.RUN_FOLDER + "/" + here;
    try (Pipe way = Pipe.open(RELAY_PIPE_BYTES, here)) {
      target.lend(
          way.readEnd(),
          (set, _) ->
              target.addChannel(
                  there, "file", Map.of("in", "/dev/fdset/" + set, "out", "/dev/null")));
      lend(
          way.writeEnd(),
          (set, _) -> addChannel(here, "file", Map.of("out", "/dev/fdset/" + set, "append", true)));
      String from = addPort(here);
      String to = target.addPort(there);
      String count = Integer.toString(bytes);
      run(List.of(AGENT, "copy", "/dev/zero", count, file), PLUG_LIMIT);
      CompletableFuture<String> arrival =
          CompletableFuture.supplyAsync(
              () -> target.run(List.of(AGENT, "copy", to, count, "/dev/null"), PLUG_LIMIT));
      run(List.of(AGENT, "copy", file, count, from), PLUG_LIMIT);
      return Long.parseLong(arrival.join()) / 1e6;
    } catch (TroubleException | CompletionException | NumberFormatException e) {
      throw Problem.INTERNAL.because(
          "The way between machines was not measured: " + e.getMessage(), e);
    } finally {
      contained(() -> run(List.of(AGENT, "remove", file), PLUG_LIMIT));
      dropRelay(here);
      target.dropRelay(there);
    }
  }

  private void dropRelay(String channel) {
    contained(() -> removePort(channel));
    contained(() -> removeChannel(channel));
  }

  /// The machine's wall clock and this host's: what to add to the first to get the second,
  /// microseconds; true to within half of the fastest of some round trips.
  long clockOffsetMicros() {
    long best = Long.MAX_VALUE;
    long offset = 0;
    for (int i = 0; i < CLOCK_LOOKS; i++) {
      long before = Clock.realtimeNanos();
      long inside = agent.clock();
      long after = Clock.realtimeNanos();
      if (after - before < best) {
        best = after - before;
        offset = before + (after - before) / 2 - inside;
      }
    }
    return offset / 1000;
  }

  /// Runs a command of the machine's hardware.
  ///
  /// @throws TroubleException when it is refused
  JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    try {
      return control.execute(command, arguments, descriptors);
    } catch (QemuControl.RefusedException e) {
      throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
    }
  }

  /// Asks something of the agent.
  ///
  /// @throws TroubleException when it refuses or is silent
  <T> T ask(Function<Agent, T> question) {
    try {
      return question.apply(agent);
    } catch (AgentException e) {
      throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
    }
  }

  /// As [#ask], for what has no answer.
  void tell(Consumer<Agent> order) {
    var _ =
        ask(a -> {
          order.accept(a);
          return true;
        });
  }

  /// Gives the hardware a copy of a descriptor, has it used, and takes the copy back.
  ///
  /// @param use gets the number of the set and of the descriptor
  void lend(Fd descriptor, BiConsumer<Integer, Integer> use) {
    JsonNode lent = execute("add-fd", Map.of(), descriptor);
    int set = lent.path("fdset-id").asInt();
    try {
      use.accept(set, lent.path("fd").asInt());
    } finally {
      forget(set);
    }
  }

  /// Gives the hardware a copy of a descriptor to keep for the next daemon.
  void keep(String name, Fd descriptor) {
    execute("add-fd", Map.of("opaque", name), descriptor);
  }

  /// Has the hardware close what it keeps under that name.
  void forget(String name) {
    execute("query-fdsets", Map.of())
        .forEach(set -> {
          if (names(set).contains(name)) {
            forget(set.path("fdset-id").asInt());
          }
        });
  }

  /// A copy of what the hardware keeps under that name, if it does.
  ///
  /// @throws TroubleException when it may not be copied
  Optional<Fd> kept(String name) {
    for (JsonNode set : execute("query-fdsets", Map.of())) {
      for (JsonNode fd : set.path("fds")) {
        if (fd.path("opaque").asString("").equals(name)) {
          return Optional.of(copy(fd.path("fd").asInt()));
        }
      }
    }
    return Optional.empty();
  }

  private Fd copy(int number) {
    try {
      return process.pidFd().takeFd(number);
    } catch (LinuxException e) {
      throw new TroubleException("machine " + name() + ": " + e.getMessage(), e);
    }
  }

  /// What was only lent, by a daemon that did not live to take it back. It would keep pipes open.
  private void forgetUnnamed() {
    execute("query-fdsets", Map.of())
        .forEach(set -> {
          if (names(set).stream().allMatch(String::isEmpty)) {
            contained(() -> forget(set.path("fdset-id").asInt()));
          }
        });
  }

  private static List<String> names(JsonNode set) {
    List<String> names = new ArrayList<>();
    set.path("fds").forEach(fd -> names.add(fd.path("opaque").asString("")));
    return names;
  }

  private void forget(int set) {
    execute("remove-fd", Map.of("fdset-id", set));
  }

  /// A character device of the hardware.
  void addChannel(String id, String type, Map<String, ?> data, Fd... descriptors) {
    if (descriptors.length > 0) {
      execute("getfd", Map.of("fdname", id), descriptors);
    }
    execute("chardev-add", Map.of("id", id, "backend", backend(type, data)));
  }

  /// Puts another backend under a character device.
  void changeChannel(String id, String type, Map<String, ?> data) {
    execute("chardev-change", Map.of("id", id, "backend", backend(type, data)));
  }

  private static Map<String, ?> backend(String type, Map<String, ?> data) {
    return Map.of("type", type, "data", data);
  }

  /// A port of the machine, called like the character device behind it.
  ///
  /// @return the path by which a process inside opens it
  String addPort(String id) {
    execute(
        "device_add",
        Map.of(
            "driver",
            "virtserialport",
            "bus",
            "ports.0",
            "id",
            id + ".port",
            "chardev",
            id,
            "name",
            id));
    return ask(a -> a.port(id, PLUG_LIMIT));
  }

  /// Takes a port away, and leaves the character device behind it.
  void removePort(String id) {
    unplug(id + ".port");
  }

  /// Takes a character device away.
  void removeChannel(String id) {
    execute("chardev-remove", Map.of("id", id));
  }

  /// Plugs in a device of the PCI bus.
  void plug(String id, String driver, Map<String, ?> properties) {
    Map<String, Object> arguments = new LinkedHashMap<>(properties);
    arguments.put("id", id);
    arguments.put("driver", driver);
    execute("device_add", arguments);
  }

  /// Unplugs a device, with the consent of the machine's kernel.
  void unplug(String id) {
    execute("device_del", Map.of("id", id));
    if (!control.awaitDeleted(id, UNPLUG_LIMIT)) {
      throw new TroubleException("machine " + name() + " does not let go of device " + id);
    }
  }

  /// Takes the memory behind a window away.
  ///
  /// QEMU's translator finds translated code by the address that the memory had in its own list of
  /// memories, and forgets none of it when the memory goes. Another guest that got these addresses
  /// would run the code of the first: seen as a guest whose BIOS did not find its memory. So, where
  /// a machine is translated, they are given to a piece of memory that nobody ever touches.
  void removeMemory(String id, long bytes) {
    synchronized (memories) {
      long before = countMemories();
      execute("object-del", Map.of("id", id));
      if (settings.accelerator() == Accelerator.TCG) {
        spend(id, bytes, before);
      }
    }
  }

  private void spend(String id, long bytes, long before) {
    long deadline = Clock.monotonicNanos() + UNPLUG_LIMIT.toNanos();
    while (countMemories() >= before) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException("machine " + name() + " does not let go of memory " + id);
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    execute(
        "object-add",
        Map.of(
            "qom-type",
            "memory-backend-ram",
            "id",
            id + ".spent",
            "size",
            bytes,
            "reserve",
            false));
  }

  /// A memory without a device has no name in this list, and can be seen there by its number alone.
  private long countMemories() {
    return execute("human-monitor-command", Map.of("command-line", "info ramblock"))
        .asString("")
        .lines()
        .count();
  }

  /// Adds memory from a file that the hardware has open.
  void addMemory(String id, long bytes, int descriptor) {
    synchronized (memories) {
      execute(
          "object-add",
          Map.of(
              "qom-type",
              "memory-backend-file",
              "id",
              id,
              "size",
              bytes,
              "mem-path",
              "/proc/self/fd/" + descriptor,
              "share",
              true));
    }
  }

  /// Takes a window from the machine. Its kernel knows nothing of windows, so that its agent does
  /// what a kernel would.
  void eject(String dimm, int slot) {
    tell(a -> a.eject(slot));
    if (!control.awaitDeleted(dimm, UNPLUG_LIMIT)) {
      throw new TroubleException("machine " + name() + " does not let go of window " + dimm);
    }
  }

  /// Does a step of clearing away, whose failure must not keep the next from being done.
  void contained(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      if (!ended()) {
        LOG.log(System.Logger.Level.WARNING, "machine " + name() + " was not cleared up", e);
      }
    }
  }

  /// As [#contained], of something that may not be there.
  void attempted(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.DEBUG, "nothing to clear up in " + name(), e);
    }
  }

  /// Lets go of the machine, which goes on with all that runs in it.
  void letGo() {
    agent.close();
    control.close();
    release();
    process.close();
  }

  /// Nobody waits for the end of the process any more.
  private void release() {
    released = true;
    try {
      watcher.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Ends the machine, and with it everything that runs in it. Does nothing the second time.
  @Override
  public void close() {
    try {
      process.kill();
    } catch (LinuxException | IllegalStateException e) {
      if (!ended()) {
        throw Problem.INTERNAL.because(
            "Process " + pid() + " of machine " + name() + " lives on: " + e.getMessage(), e);
      }
    }
    awaitEnd();
    agent.close();
    control.close();
    process.close();
    removeAll(socketFiles);
    MachineFile.remove(files);
  }

  /// Removes what a machine that is gone has left, but for its logs.
  static void forget(String name, Path files, Path sockets) {
    removeAll(socketFiles(name, sockets));
    MachineFile.remove(files);
  }

  private void awaitEnd() {
    try {
      if (!ended.await(KILL_LIMIT.toSeconds(), TimeUnit.SECONDS)) {
        throw Problem.INTERNAL.because("Process " + pid() + " of machine " + name() + " lives on.");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void removeAll(List<Path> paths) {
    for (Path path : paths) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, path + " cannot be removed", e);
      }
    }
  }
}
