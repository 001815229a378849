package dev.hyperfresh.vm;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// The hardware of virtual machines, which is a QEMU of this host: how it is started, and what it
/// last said. Stateless.
public final class VmHardware {
  private static final String HARDWARE_LOG = "hardware.log";
  private static final String CONSOLE_LOG = "console.log";
  private static final int QMP_FD = 10;
  private static final int AGENT_FD = 11;

  /// From here on descriptors are a caller's of [#spawn].
  public static final int FIRST_FD = 12;

  /// QEMU `ACPI_MAX_RAM_SLOTS` is 256; a window takes one.
  private static final int SLOTS = 64;

  /// Windows are placed at multiples of 1 GiB.
  private static final long ROOM_BYTES = 64L << 30;

  /// `acpi_no_memhotplug`: a window that is plugged in is not to become memory of this kernel.
  private static final String KERNEL_OPTIONS = "console=ttyS0 quiet acpi_no_memhotplug panic=-1";

  private static final int MOST_WORDS = 3;

  private VmHardware() {}

  /// What a kind of virtual machines has of its own.
  ///
  /// @param kind as in [VirtualMachine.Sockets#of]
  /// @param machine QEMU's machine type, and its options
  /// @param cpu the model, and its flags
  /// @param kernelOptions beside those that all have
  /// @param more options of QEMU
  public record Board(
      String kind, String machine, String cpu, String kernelOptions, List<String> more) {
    /// Copies the list.
    public Board {
      more = List.copyOf(more);
    }
  }

  /// Starts the hardware of a machine; its kernel's words and its own go to `console.log` and
  /// `hardware.log` in `files`.
  ///
  /// @param descriptors what the board's options refer to by number, from [#FIRST_FD]
  /// @throws LinuxException when it cannot be started
  public static HostProcess spawn(
      VmSettings<?> settings,
      Board board,
      Map<Integer, Fd> descriptors,
      Path files,
      VirtualMachine.Sockets sockets) {
    sockets.remove();
    VirtualMachine.removeAll(List.of(files.resolve(HARDWARE_LOG), files.resolve(CONSOLE_LOG)));
    QemuRelease hardware = settings.hardware();
    List<String> command = command(hardware, board.kind() + "-" + settings.name(), files);
    command.addAll(board.more());
    command.addAll(options(settings, board));
    try (UnixSocket qmp = UnixSocket.listen(sockets.qmp(), 0600);
        UnixSocket agent = UnixSocket.listen(sockets.agent(), 0600)) {
      Map<Integer, Fd> all = new LinkedHashMap<>(descriptors);
      all.put(QMP_FD, qmp.fd());
      all.put(AGENT_FD, agent.fd());
      return HostProcess.of(
          ChildProcess.spawn(
              new ChildProcess.Request(
                  command, hardware.environment(), all, files.resolve(HARDWARE_LOG), true)));
    }
  }

  private static List<String> options(VmSettings<?> settings, Board board) {
    long room = Host.totalMemoryBytes() * 2 + ROOM_BYTES;
    return List.of(
        "-machine",
        board.machine(),
        "-accel",
        settings.accelerator().label(),
        "-cpu",
        board.cpu(),
        "-smp",
        Integer.toString(settings.vcpus()),
        "-m",
        (settings.memoryBytes() >> 20)
            + "M,slots="
            + SLOTS
            + ",maxmem="
            + ((settings.memoryBytes() + room) >> 20)
            + "M",
        "-kernel",
        settings.release().kernel().toString(),
        "-initrd",
        settings.release().initrd().toString(),
        "-append",
        KERNEL_OPTIONS + " " + board.kernelOptions());
  }

  private static List<String> command(QemuRelease hardware, String name, Path files) {
    List<String> line = new ArrayList<>(hardware.program());
    line.addAll(hardware.arguments());
    line.addAll(List.of("-name", "guest=" + name + ",debug-threads=on"));
    line.addAll(List.of("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"));
    line.addAll(QemuControl.SANDBOX);
    line.addAll(
        List.of(
            "-chardev",
            "file,id=kernel,path="
                + files.resolve(CONSOLE_LOG).toString().replace(",", ",,")
                + ",append=on"));
    line.addAll(List.of("-serial", "chardev:kernel"));
    line.addAll(List.of("-chardev", "socket,id=qmp,fd=" + QMP_FD + ",server=on,wait=off"));
    line.addAll(List.of("-mon", "chardev=qmp,mode=control"));
    line.addAll(List.of("-device", "virtio-serial-pci,id=ports,max_ports=255"));
    line.addAll(List.of("-chardev", "socket,id=agent,fd=" + AGENT_FD + ",server=on,wait=off"));
    line.addAll(
        List.of(
            "-device",
            "virtserialport,bus=ports.0,nr=1,chardev=agent,name=" + VirtualMachine.AGENT_PORT));
    return line;
  }

  /// The last that the hardware and the kernel of a machine said, as sentences; empty when nothing.
  ///
  /// @param files the folder with its logs
  public static String lastWords(Path files) {
    return said(files.resolve(HARDWARE_LOG), " Its hardware said: ")
        + said(files.resolve(CONSOLE_LOG), " Its kernel said: ");
  }

  private static String said(Path log, String introduction) {
    try {
      List<String> lines = new LogFile(log).lastLines();
      int from = Math.max(0, lines.size() - MOST_WORDS);
      return lines.isEmpty()
          ? ""
          : introduction + String.join(" / ", lines.subList(from, lines.size()));
    } catch (IOException e) {
      return "";
    }
  }
}
