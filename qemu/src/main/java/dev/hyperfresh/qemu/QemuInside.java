package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/// What a guest's QEMU inside a machine is attached to, by the paths that it has there.
///
/// @param program the emulator and the arguments that every start of it needs
/// @param memory the file that has the guest's memory
/// @param offset where in it the memory begins, in bytes; empty for a QEMU that has no such option,
///   and for which something else places the mapping
/// @param kernel a copy of the guest's kernel; not read when it has none
/// @param initrd likewise
/// @param control a character device for its control channel
/// @param console one for the guest's serial console
/// @param disks in the order of the spec
public record QemuInside(
    List<String> program,
    String memory,
    OptionalLong offset,
    String kernel,
    String initrd,
    String control,
    String console,
    List<Disk> disks) {
  public QemuInside {
    program = List.copyOf(program);
    disks = List.copyOf(disks);
  }

  /// A block device of the machine.
  public record Disk(String device, boolean readOnly) {}

  /// Under which number the QEMU finds the tap of the first card; the next has the next.
  public static final int FIRST_NIC = Descriptors.FIRST_NIC;

  /// A guest's files, opened on this host.
  ///
  /// @param kernel its kernel and, if it has one, its initrd
  /// @param disks in the order of the spec
  public record Files(List<Fd> kernel, List<Fd> disks, Fd consoleLog) implements AutoCloseable {
    public Files {
      kernel = List.copyOf(kernel);
      disks = List.copyOf(disks);
    }

    @Override
    public void close() {
      kernel.forEach(Fd::close);
      disks.forEach(Fd::close);
      consoleLog.close();
    }
  }

  /// Opens the files of a guest whose disks are plain images.
  ///
  /// @param waiting whether for an instance that waits for the guest's state
  /// @throws QemuProcess.TroubleException when one cannot be opened, or is not the file it was
  public static Files open(Launch launch, boolean waiting) {
    try {
      Map<Integer, Fd> opened = HandedFiles.open(launch, waiting).descriptors();
      int disks = launch.spec().disks().size();
      return new Files(
          Stream.of(Descriptors.KERNEL, Descriptors.INITRD)
              .flatMap(number -> Stream.ofNullable(opened.get(number)))
              .toList(),
          IntStream.range(0, disks)
              .mapToObj(
                  i -> Optional.ofNullable(opened.get(Descriptors.FIRST_IMAGE + i)).orElseThrow())
              .toList(),
          Optional.ofNullable(opened.get(Descriptors.CONSOLE_LOG)).orElseThrow());
    } catch (LinuxException | DiskImages.DiskChanged e) {
      throw new QemuProcess.TroubleException(String.valueOf(e.getMessage()), e);
    }
  }

  /// What the kernel says of handing on a guest's disks that process `pid` of this host has open.
  public static List<Check> diskChecks(Launch launch, int pid) {
    return new DiskChecks(
            launch.spec().disks(), Path.of("/proc", Integer.toString(pid)), Path.of("/proc/locks"))
        .all();
  }

  /// What keeps a QEMU that knows these machine types, CPU models and migration capabilities from
  /// running the guest, and what does not.
  ///
  /// @param deprecated of the machine types and CPU models
  public static List<Check> checks(
      GuestSpec spec,
      String release,
      Set<String> machines,
      Set<String> cpus,
      Set<String> able,
      Set<String> deprecated) {
    return List.of(
        Qemu.machine(spec, release, machines, deprecated),
        Qemu.cpu(spec, release, cpus, deprecated),
        Qemu.capabilities(release, able));
  }

  /// The command that starts it.
  ///
  /// @param waiting whether it expects the guest's state instead of booting
  public List<String> command(Launch launch, boolean waiting) {
    return CommandLine.line(launch, program, waiting, new Backends.InMachine(this));
  }

  /// The instance that such a process is, once it has been started.
  ///
  /// @param control the other end of its control channel, of which a copy is kept elsewhere for the
  ///   next daemon; belongs to the instance now
  /// @param consoleSocket where the host finds its console
  /// @param watcher told of what passes on the control channel
  /// @param patience how long the answer to a command is awaited
  /// @throws QemuProcess.TroubleException when it does not answer; the caller still owns the
  ///   process
  public static Instance instance(
      Launch launch,
      QemuProcess process,
      UnixSocket control,
      Path consoleSocket,
      ControlWatcher watcher,
      Duration patience) {
    return instance(launch, process, control, Qmp.Channel.KEPT, consoleSocket, watcher, patience);
  }

  /// As [#instance], of a process that an earlier daemon started.
  ///
  /// @param control the end of its control channel that was kept
  public static Instance found(
      Launch launch,
      QemuProcess process,
      UnixSocket control,
      Path consoleSocket,
      ControlWatcher watcher,
      Duration patience) {
    return instance(launch, process, control, Qmp.Channel.FOUND, consoleSocket, watcher, patience);
  }

  private static Instance instance(
      Launch launch,
      QemuProcess process,
      UnixSocket control,
      Qmp.Channel channel,
      Path consoleSocket,
      ControlWatcher watcher,
      Duration patience) {
    try {
      return new QemuInstance(
          launch, process, control, channel, consoleSocket, Rehearser.NONE, watcher, patience);
    } catch (Qmp.QmpException e) {
      throw new QemuProcess.TroubleException(String.valueOf(e.getMessage()), e);
    }
  }
}
