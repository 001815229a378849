package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VirtualMachine;
import dev.hyperfresh.vm.VmFile;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Function;

/// A hypervisor that is a whole machine: a virtual machine on this host with a kernel, KVM and QEMU
/// of its own, in which guests run. The guests' memory is not the machine's: each is a window into
/// memory that the hyperplexor owns, plugged in for as long as the guest is there. Thread-safe.
///
/// It stands where a release stands with other kinds: a guest is moved *to* a machine. What is
/// built and installed is its [MachineRelease].
public final class Machine implements Release, VmKind.Member<MachineRelease> {
  private static final System.Logger LOG = System.getLogger(Machine.class.getName());

  /// As for a guest's state.
  private static final int RELAY_PIPE_BYTES = 1 << 20;

  private final VmSettings<MachineRelease> settings;
  private final Path files;
  private final Ledger ledger;
  private final VirtualMachine vm;
  private final double bootMs;

  /// @param files the folder with its logs
  /// @param vm what it runs on
  /// @param bootMs from the start of its hardware to the first word of its agent
  Machine(
      VmSettings<MachineRelease> settings,
      Path files,
      Ledger ledger,
      VirtualMachine vm,
      double bootMs) {
    this.settings = settings;
    this.files = files;
    this.ledger = ledger;
    this.vm = vm;
    this.bootMs = bootMs;
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

  @Override
  public VmSettings<MachineRelease> settings() {
    return settings;
  }

  /// To the first word of its agent.
  @Override
  public double bootMs() {
    return bootMs;
  }

  /// What it runs on.
  VirtualMachine vm() {
    return vm;
  }

  @Override
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

  @Override
  public int pid() {
    return vm.pid();
  }

  @Override
  public void onEnd(Runnable told) {
    vm.onEnd(told);
  }

  @Override
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
      LOG.log(
          System.Logger.Level.WARNING,
          "machine " + name() + " is paused, but this is not recorded",
          e);
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
      ledger.update(place, LedgerFile.Entry::asCondemned);
      LOG.log(
          System.Logger.Level.ERROR,
          "machine {0} does not answer and stays paused, with other guests in it",
          name());
    }
  }

  private void signal(int signal) {
    try {
      vm.pidFd().signal(signal);
    } catch (LinuxException | ClosedException e) {
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
    String file = VirtualMachine.RUN_FOLDER + "/" + here;
    Duration limit = VirtualMachine.PLUG_LIMIT;
    try (Pipe way = Pipe.open(RELAY_PIPE_BYTES, here)) {
      target.relay(there, way.readEnd(), set -> Map.of("in", set, "out", "/dev/null"));
      relay(here, way.writeEnd(), set -> Map.of("out", set, "append", true));
      String from = vm.channels().addPort(here);
      String to = target.vm.channels().addPort(there);
      var _ = vm.programs().copy("/dev/zero", bytes, file, limit);
      CompletableFuture<String> arrival =
          CompletableFuture.supplyAsync(
              () -> target.vm.programs().copy(to, bytes, "/dev/null", limit));
      var _ = vm.programs().copy(file, bytes, from, limit);
      return Long.parseLong(arrival.join()) / 1e6;
    } catch (TroubleException | CompletionException | NumberFormatException e) {
      throw Problem.INTERNAL.because(
          "The way between machines was not measured: " + e.getMessage(), e);
    } finally {
      vm.contained(() -> vm.programs().remove(file, limit));
      dropRelay(here);
      target.dropRelay(there);
    }
  }

  private void relay(String channel, Fd end, Function<String, Map<String, ?>> data) {
    vm.descriptors()
        .lend(end, (set, _) -> vm.channels().add(channel, "file", data.apply("/dev/fdset/" + set)));
  }

  private void dropRelay(String channel) {
    vm.contained(() -> vm.channels().removePort(channel));
    vm.contained(() -> vm.channels().remove(channel));
  }

  @Override
  public void letGo() {
    vm.letGo();
  }

  @Override
  public void close() {
    vm.close();
    VmFile.remove(files);
    LedgerFile.remove(files);
  }
}
