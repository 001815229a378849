package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/// A hypervisor that is a whole machine: a virtual machine on this host with a kernel, KVM and QEMU
/// of its own, in which guests run. The guests' memory is not the machine's: each is a window into
/// memory that the hyperplexor owns, plugged in for as long as the guest is there. Thread-safe.
///
/// It stands where a release stands with other kinds: a guest is moved *to* a machine. What is
/// built and installed is its [MachineRelease].
public final class Machine implements Release, AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Machine.class.getName());

  /// Translated on a busy host it takes tens of seconds.
  private static final Duration BOOT_LIMIT = Duration.ofMinutes(4);

  private static final int CLOCK_LOOKS = 8;

  /// As for a guest's state.
  private static final int RELAY_PIPE_BYTES = 1 << 20;

  /// QEMU `ACPI_MAX_RAM_SLOTS` is 256; a window takes one.
  private static final int SLOTS = 64;

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
  private final Ledger ledger;
  private final VirtualMachine vm;

  private Machine(MachineSettings settings, Path files, Ledger ledger, VirtualMachine vm) {
    this.settings = settings;
    this.files = files;
    this.ledger = ledger;
    this.vm = vm;
  }

  private static VirtualMachine reached(
      MachineSettings settings, Path files, Path sockets, HostProcess process, Duration patience) {
    return new VirtualMachine(
        "machine " + settings.name(),
        settings.accelerator() == Accelerator.TCG,
        files,
        sockets(settings.name(), sockets),
        process,
        patience);
  }

  private static VirtualMachine.Sockets sockets(String name, Path folder) {
    return VirtualMachine.Sockets.of(folder, name, "machine");
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
          settings, files, ledger, reached(settings, files, sockets, process, ANSWER_LIMIT));
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
    vm.forgetUnnamed();
    if (ledger.places().stream().anyMatch(place -> place.inner() == 0)) {
      endUnknown();
    }
    for (MachineFile.Entry place : ledger.places()) {
      if (place.inner() == 0 || !vm.runs(place.inner())) {
        Place.again(this, place).close();
      }
    }
  }

  /// A program inside whose number nobody has written down was being started for a place that was
  /// not ready yet. The agent knows its own children only by number, and these are small.
  private void endUnknown() {
    List<Integer> known = ledger.places().stream().map(MachineFile.Entry::inner).toList();
    int last =
        vm.ask(a ->
            a.start(
                new Agent.Program(
                    List.of(VirtualMachine.AGENT, "remove", "-"), Map.of(), List.of())));
    vm.watch(last, _ -> {});
    for (int pid = 2; pid < last; pid++) {
      if (!known.contains(pid) && vm.runs(pid)) {
        LOG.log(System.Logger.Level.INFO, "process " + pid + " in " + name() + " is ended");
        vm.endInside(pid);
      }
    }
  }

  /// Starts a machine and returns when its agent answers.
  ///
  /// @param files an existing folder for its logs
  /// @param sockets the folder for its control sockets, mode 0700
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#MACHINE_START] with the last
  ///   that it printed; nothing is left then but the logs
  static Machine boot(MachineSettings settings, Path files, Path sockets) {
    try {
      return up(settings, files, sockets);
    } catch (LinuxException | QemuControl.RefusedException | AgentException e) {
      sockets(settings.name(), sockets).remove();
      throw Problem.MACHINE_START.because(
          settings.name()
              + " ("
              + settings.release().name()
              + ") did not come up: "
              + e.getMessage()
              + "."
              + VirtualMachine.lastWords(files),
          e);
    }
  }

  private static Machine up(MachineSettings settings, Path files, Path sockets) {
    long start = Clock.monotonicNanos();
    HostProcess process =
        VirtualMachine.spawn(
            settings.hardware(),
            "machine-" + settings.name(),
            options(settings),
            Map.of(),
            files,
            sockets(settings.name(), sockets));
    try {
      MachineFile file = MachineFile.of(settings, process.pid());
      file.write(files);
      Ledger ledger = new Ledger(files, file);
      VirtualMachine vm = reached(settings, files, sockets, process, BOOT_LIMIT);
      ledger.booted((Clock.monotonicNanos() - start) / 1e6);
      return new Machine(settings, files, ledger, vm);
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      MachineFile.remove(files);
      throw e;
    }
  }

  private static List<String> options(MachineSettings settings) {
    MachineRelease release = settings.release();
    boolean kvm = settings.accelerator() == Accelerator.KVM;
    List<String> line = new ArrayList<>();
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
    return line;
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
  public boolean keepsSuspended() {
    return settings.release().keepsSuspended();
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

  /// What it runs on.
  VirtualMachine vm() {
    return vm;
  }

  /// What its agent said when it came up.
  public Agent.Hello hello() {
    return vm.hello();
  }

  /// The folder with its logs.
  public Path files() {
    return files;
  }

  /// Its agent.
  public Agent agent() {
    return vm.agent();
  }

  /// The process on this host that is its hardware.
  public int pid() {
    return vm.pid();
  }

  /// Whether it is gone.
  public boolean ended() {
    return vm.ended();
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
      vm.pidFd().signal(signal);
    } catch (LinuxException | IllegalStateException e) {
      if (vm.exited()) {
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
      target.vm.lend(
          way.readEnd(),
          (set, _) ->
              target.vm.addChannel(
                  there, "file", Map.of("in", "/dev/fdset/" + set, "out", "/dev/null")));
      vm.lend(
          way.writeEnd(),
          (set, _) ->
              vm.addChannel(here, "file", Map.of("out", "/dev/fdset/" + set, "append", true)));
      String from = vm.addPort(here);
      String to = target.vm.addPort(there);
      String count = Integer.toString(bytes);
      vm.run(
          List.of(VirtualMachine.AGENT, "copy", "/dev/zero", count, file),
          VirtualMachine.PLUG_LIMIT);
      CompletableFuture<String> arrival =
          CompletableFuture.supplyAsync(() ->
              target.vm.run(
                  List.of(VirtualMachine.AGENT, "copy", to, count, "/dev/null"),
                  VirtualMachine.PLUG_LIMIT));
      vm.run(List.of(VirtualMachine.AGENT, "copy", file, count, from), VirtualMachine.PLUG_LIMIT);
      return Long.parseLong(arrival.join()) / 1e6;
    } catch (TroubleException | CompletionException | NumberFormatException e) {
      throw Problem.INTERNAL.because(
          "The way between machines was not measured: " + e.getMessage(), e);
    } finally {
      vm.contained(
          () -> vm.run(List.of(VirtualMachine.AGENT, "remove", file), VirtualMachine.PLUG_LIMIT));
      dropRelay(here);
      target.dropRelay(there);
    }
  }

  private void dropRelay(String channel) {
    vm.contained(() -> vm.removePort(channel));
    vm.contained(() -> vm.removeChannel(channel));
  }

  /// The machine's wall clock and this host's: what to add to the first to get the second,
  /// microseconds; true to within half of the fastest of some round trips.
  long clockOffsetMicros() {
    long best = Long.MAX_VALUE;
    long offset = 0;
    for (int i = 0; i < CLOCK_LOOKS; i++) {
      long before = Clock.realtimeNanos();
      long inside = vm.agent().clock();
      long after = Clock.realtimeNanos();
      if (after - before < best) {
        best = after - before;
        offset = before + (after - before) / 2 - inside;
      }
    }
    return offset / 1000;
  }

  /// Lets go of the machine, which goes on with all that runs in it.
  void letGo() {
    vm.letGo();
  }

  /// Ends the machine, and with it everything that runs in it. Does nothing the second time.
  @Override
  public void close() {
    vm.close();
    MachineFile.remove(files);
  }

  /// Removes what a machine that is gone has left, but for its logs.
  static void forget(String name, Path files, Path sockets) {
    sockets(name, sockets).remove();
    MachineFile.remove(files);
  }
}
