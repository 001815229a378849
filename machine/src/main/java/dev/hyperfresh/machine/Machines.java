package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.vm.TakingBack;
import dev.hyperfresh.vm.VmDefinitions;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRegistry;
import dev.hyperfresh.vm.VmSettings;
import dev.hyperfresh.vm.VmStock;
import dev.hyperfresh.vm.VmWatch;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/// The machines of one state directory. Thread-safe.
///
/// Machines go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
public final class Machines implements VmStock<Machine, MachineRelease>, AutoCloseable {
  /// What is said of machines.
  public static final VmKind.About ABOUT = MachineBoot.ABOUT;

  private final VmRegistry<Machine, MachineRelease> registry;

  /// @param directory where each machine has a folder with its logs
  /// @param sockets the folder for their control sockets, mode 0700
  public Machines(Path directory, Path sockets) {
    this(directory, sockets, VmWatch.none());
  }

  /// As the other one, with somebody who is told of each machine that comes and goes.
  public Machines(Path directory, Path sockets, VmWatch<Machine> watch) {
    this.registry = new VmRegistry<>(new MachineBoot(), directory, sockets, watch);
  }

  /// Boots a machine and returns when it can take guests. One that is translated gets one
  /// processor.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_EXISTS], [Problem#MACHINE_START],
  ///   [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY], [Problem#DAEMON_STATE]
  @Override
  public Machine create(VmSettings<MachineRelease> settings) {
    return registry.create(settings);
  }

  @Override
  public Machine start(VmSettings<MachineRelease> settings) {
    return registry.start(settings);
  }

  @Override
  public Machine startDue(VmSettings<MachineRelease> settings) {
    return registry.startDue(settings);
  }

  @Override
  public VmDefinitions definitions() {
    return registry.definitions();
  }

  @Override
  public List<Machine> list() {
    return registry.list();
  }

  @Override
  public Optional<Machine> find(String name) {
    return registry.find(name);
  }

  @Override
  public Machine get(String name) {
    return registry.get(name);
  }

  @Override
  public List<String> on(String release) {
    return registry.on(release);
  }

  /// The folder with the logs of a machine, which may be gone.
  public Path files(String name) {
    return registry.files(name);
  }

  /// The machine whose hardware is process `pid` of this host.
  Optional<Machine> ofProcess(int pid) {
    return registry.list().stream().filter(machine -> machine.pid() == pid).findFirst();
  }

  /// What is written of the guests in each machine, by the process of its hardware; also of
  /// machines that do not answer yet.
  Map<Integer, List<LedgerFile.Entry>> places() {
    Map<Integer, List<LedgerFile.Entry>> places = new HashMap<>();
    registry
        .waiting()
        .forEach((name, file) ->
            legible(name).ifPresent(ledger -> places.put(file.process().pid(), ledger.places())));
    registry.list().forEach(machine -> places.put(machine.pid(), machine.ledger().places()));
    return places;
  }

  /// Of one that is damaged nothing is known: its machine is not taken back, and its guests wait.
  private Optional<LedgerFile> legible(String name) {
    try {
      return Optional.of(LedgerFile.read(registry.files(name)));
    } catch (HyperFreshException damaged) {
      return Optional.empty();
    }
  }

  /// Takes back the machines that an earlier process on this directory left, all at once. Comes
  /// before guests are taken back. One whose hardware is gone is stopped; its logs stay. One that
  /// does not answer within `patience` is left as it is, and taken back when it answers. One of
  /// which the record is damaged is left alone. No machine is ended that can have a guest.
  ///
  /// @param releases finds what runs in machines, by its name
  /// @param hardware finds what they run on, by its name
  /// @param told one sentence for each machine, and more when it changes; called by several threads
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public void recover(
      Function<String, MachineRelease> releases,
      Function<String, QemuRelease> hardware,
      Duration patience,
      Consumer<String> told) {
    TakingBack begun = new TakingBack(told);
    registry.recover(new VmRegistry.Parts<>(releases, hardware), begun);
    begun.await(patience);
  }

  /// Lets go of every machine, which goes on with all that runs in it; the next process on this
  /// directory takes them back. Guests have been let go of before.
  public void letGo() {
    registry.letGo();
  }

  /// Whoever calls has made sure that no guest is in it.
  @Override
  public void stop(String name) {
    registry.stop(name);
  }

  /// As the other one.
  ///
  /// @param free throws when a guest is in it, which is asked when nobody else can begin to end it
  public void stop(String name, Consumer<Machine> free) {
    registry.stop(name, free);
  }

  /// Whoever calls has made sure that no guest is in it.
  @Override
  public void delete(String name) {
    registry.delete(name);
  }

  /// As the other one.
  ///
  /// @param free see [#stop(String, Consumer)]
  public void delete(String name, Consumer<Machine> free) {
    registry.delete(name, free);
  }

  /// Ends all machines, except those that have not been taken back.
  @Override
  public void close() {
    registry.close();
  }
}
