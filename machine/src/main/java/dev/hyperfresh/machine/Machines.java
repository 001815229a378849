package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/// The machines of one state directory. Thread-safe.
///
/// Machines go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
public final class Machines implements AutoCloseable {
  /// How soon a machine that does not answer is asked again, unless it ends before.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private final Path directory;
  private final Path sockets;
  private final Map<String, Machine> machines = new ConcurrentHashMap<>();

  /// Names in use, from before a machine boots until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  /// What an earlier process has written of machines that do not answer yet.
  private final Map<String, Waiting> waiting = new ConcurrentHashMap<>();

  private volatile boolean closed;

  /// A machine that does not answer yet, and why.
  private record Waiting(MachineFile file, String why) {}

  /// @param directory where each machine has a folder with its logs
  /// @param sockets the folder for their control sockets, mode 0700
  public Machines(Path directory, Path sockets) {
    this.directory = directory;
    this.sockets = sockets;
  }

  /// Boots a machine and returns when it can take guests. One that is translated gets one
  /// processor.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_EXISTS], [Problem#MACHINE_START],
  ///   [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY], [Problem#DAEMON_STATE]
  public Machine create(MachineSettings settings) {
    check(settings);
    if (!names.add(settings.name())) {
      throw Problem.MACHINE_EXISTS.because("Machine " + settings.name() + " is here already.");
    }
    boolean made = false;
    try {
      Path files = folder(settings.name());
      MachineFile.read(files)
          .filter(MachineFile::lives)
          .ifPresent(left -> {
            throw Problem.MACHINE_EXISTS.because(
                "Machine "
                    + settings.name()
                    + " of an earlier daemon is here, process "
                    + left.pid()
                    + ".");
          });
      Machine machine = Machine.boot(settings.dependable(), files, sockets);
      keep(machine);
      made = true;
      return machine;
    } finally {
      if (!made) {
        names.remove(settings.name());
      }
    }
  }

  /// Nobody would end a machine that comes up when all others have been ended.
  private synchronized void keep(Machine machine) {
    if (closed) {
      machine.close();
      throw Problem.MACHINE_START.because(machine.name() + " came up when the daemon had ended.");
    }
    machines.put(machine.name(), machine);
  }

  private static void check(MachineSettings settings) {
    if (!GuestSpec.isName(settings.name())) {
      throw Problem.SPEC_INVALID.because(
          "name: '"
              + settings.name()
              + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    long memory = settings.memoryBytes();
    if (memory < MachineSettings.MIN_MEMORY_BYTES || memory % (1 << 20) != 0) {
      throw Problem.SPEC_INVALID.because(
          "memory: " + memory + " bytes is not a multiple of 1 MiB of at least 512 MiB");
    }
    if (settings.vcpus() < 1 || settings.vcpus() > 64) {
      throw Problem.SPEC_INVALID.because("vcpus: " + settings.vcpus() + " is not between 1 and 64");
    }
    if (memory > Host.availableMemoryBytes()) {
      throw Problem.SPEC_MEMORY.because(
          (memory >> 20)
              + " MiB asked for, "
              + (Host.availableMemoryBytes() >> 20)
              + " MiB available.");
    }
  }

  private Path folder(String name) {
    Path folder = directory.resolve(name);
    try {
      return Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be made: " + e.getMessage(), e);
    }
  }

  /// All machines, by name.
  public List<Machine> list() {
    return machines.values().stream().sorted(Comparator.comparing(Machine::name)).toList();
  }

  /// The machine called `name`, if there is one.
  public Optional<Machine> find(String name) {
    return Optional.ofNullable(machines.get(name));
  }

  /// The machine called `name`.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN]
  public Machine get(String name) {
    return find(name)
        .orElseThrow(() -> {
          Waiting one = waiting.get(name);
          return Problem.MACHINE_UNKNOWN.because(
              one == null
                  ? "No machine is called '" + name + "'."
                  : "Machine "
                      + name
                      + ", process "
                      + one.file.pid()
                      + ", is not taken back: "
                      + one.why);
        });
  }

  /// The machine whose hardware is process `pid` of this host.
  Optional<Machine> ofProcess(int pid) {
    return machines.values().stream().filter(machine -> machine.pid() == pid).findFirst();
  }

  /// What is written of the guests in each machine, by the process of its hardware; also of
  /// machines that do not answer yet.
  Map<Integer, List<MachineFile.Entry>> places() {
    Map<Integer, List<MachineFile.Entry>> places = new HashMap<>();
    waiting.values().forEach(one -> places.put(one.file.pid(), one.file.places()));
    machines.values().forEach(machine -> places.put(machine.pid(), machine.ledger().places()));
    return places;
  }

  /// Takes back the machines that an earlier process on this directory left, all at once. Comes
  /// before guests are taken back. One whose hardware is gone is forgotten; its logs stay. One that
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
    List<CountDownLatch> answered = new ArrayList<>();
    for (Path files : folders()) {
      String name = String.valueOf(files.getFileName());
      try {
        MachineFile.read(files)
            .filter(file -> survived(name, file, files, told))
            .ifPresent(file -> {
              CountDownLatch end = new CountDownLatch(1);
              answered.add(end);
              names.add(name);
              waiting.put(name, new Waiting(file, "it was not asked yet"));
              Thread.ofPlatform()
                  .name("hf-recover-" + name)
                  .daemon()
                  .start(() -> {
                    try {
                      recover(name, files, releases, hardware, told);
                    } finally {
                      end.countDown();
                    }
                  });
            });
      } catch (HyperFreshException e) {
        names.add(name);
        told.accept("Machine " + name + " cannot be taken back: " + e.detail());
      }
    }
    await(answered, patience);
  }

  private static void await(List<CountDownLatch> all, Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    try {
      for (CountDownLatch one : all) {
        var _ = one.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private List<Path> folders() {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(directory)) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(directory + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Whether there is something to take back. A machine that never came up has no guest.
  private boolean survived(String name, MachineFile file, Path files, Consumer<String> told) {
    boolean lives = file.lives();
    if (lives && file.booted()) {
      return true;
    }
    if (lives) {
      end(file.pid());
    }
    Machine.forget(name, files, sockets);
    told.accept(
        lives
            ? "Machine " + name + " had not come up yet and was ended."
            : "Machine " + name + " ended while no daemon ran; its logs are in " + files + ".");
    return false;
  }

  private static void end(int pid) {
    try (HostProcess process = HostProcess.survivor(pid)) {
      process.kill();
    } catch (LinuxException | IllegalStateException e) {
      throw Problem.DAEMON_STATE.because(
          "Process " + pid + " cannot be ended: " + e.getMessage(), e);
    }
  }

  private void recover(
      String name,
      Path files,
      Function<String, MachineRelease> releases,
      Function<String, QemuRelease> hardware,
      Consumer<String> told) {
    while (!closed && !attempt(name, files, releases, hardware, told)) {
      Waiting one = waiting.get(name);
      if (one != null) {
        awaitEnd(one.file.pid());
      }
    }
  }

  private static void awaitEnd(int pid) {
    try (PidFd process = PidFd.open(pid)) {
      process.awaitExit(AGAIN);
    } catch (LinuxException gone) {
      // The next attempt finds that out.
      LockSupport.parkNanos(AGAIN.toNanos());
    }
  }

  private boolean attempt(
      String name,
      Path files,
      Function<String, MachineRelease> releases,
      Function<String, QemuRelease> hardware,
      Consumer<String> told) {
    try {
      Optional<MachineFile> file = MachineFile.read(files);
      if (file.isEmpty() || !survived(name, file.get(), files, told)) {
        waiting.remove(name);
        names.remove(name);
        return true;
      }
      take(
          name,
          Machine.again(
              settings(name, file.get(), releases, hardware), file.get(), files, sockets));
      told.accept("Machine " + name + " was taken back.");
      return true;
    } catch (HyperFreshException e) {
      remember(name, e.detail(), told);
    } catch (TroubleException e) {
      remember(name, String.valueOf(e.getMessage()), told);
    }
    return false;
  }

  private synchronized void take(String name, Machine machine) {
    if (closed) {
      machine.letGo();
      return;
    }
    machines.put(name, machine);
    waiting.remove(name);
  }

  private void remember(String name, String why, Consumer<String> told) {
    Waiting before = waiting.get(name);
    var _ = waiting.computeIfPresent(name, (_, one) -> new Waiting(one.file, why));
    if (before != null && !before.why.equals(why)) {
      told.accept("Machine " + name + " is not taken back yet: " + why);
    }
  }

  private static MachineSettings settings(
      String name,
      MachineFile file,
      Function<String, MachineRelease> releases,
      Function<String, QemuRelease> hardware) {
    return new MachineSettings(
        name,
        releases.apply(file.release()),
        hardware.apply(file.hardware()),
        file.accelerator(),
        file.vcpus(),
        file.memoryBytes());
  }

  /// Lets go of every machine, which goes on with all that runs in it; the next process on this
  /// directory takes them back. Guests have been let go of before.
  public synchronized void letGo() {
    closed = true;
    machines.values().forEach(Machine::letGo);
    machines.clear();
    waiting.clear();
    names.clear();
  }

  /// Ends a machine and removes its folder. Whoever calls has made sure that no guest is in it.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN], [Problem#INTERNAL]
  public void delete(String name) {
    Machine machine = get(name);
    machine.close();
    deleteFolder(machine.files());
    machines.remove(name, machine);
    names.remove(name);
  }

  private static void deleteFolder(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }

  /// Ends all machines, except those that have not been taken back.
  @Override
  public synchronized void close() {
    closed = true;
    waiting.clear();
    machines.values().forEach(Machine::close);
    machines.clear();
    names.clear();
  }
}
