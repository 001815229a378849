package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// A daemon with the heap that the launcher gives it, and with a machine that is not its own but
/// hostile. Answers each line on its standard input with the bytes of its heap that live.
///
/// Arguments: the state directory, the folder of the machine's sockets, and the process that is its
/// hardware.
final class FloodedDaemon {
  static final String MACHINE = "hostile";
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private FloodedDaemon() {}

  /// The command that starts one.
  static List<String> command(Path state, Path sockets, long hardware) {
    List<String> line = new ArrayList<>(CommandRun.command());
    line.set(line.size() - 1, FloodedDaemon.class.getName());
    line.addAll(1, List.of("-Xmx512m", "-XX:+ExitOnOutOfMemoryError"));
    line.addAll(List.of(state.toString(), sockets.toString(), Long.toString(hardware)));
    return line;
  }

  static VirtualMachine.Sockets sockets(Path folder) {
    return VirtualMachine.Sockets.of(folder, MACHINE, "machine");
  }

  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments[1]);
    Daemon daemon = Daemon.start(DaemonConfig.under(Path.of(arguments[0])));
    VirtualMachine hostile =
        new VirtualMachine(
            MACHINE,
            false,
            folder,
            sockets(folder),
            HostProcess.survivor(Integer.parseInt(arguments[2])),
            PATIENCE);
    System.out.println(MortalDaemon.SERVING + " on " + daemon.config().socket());
    try (BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      while (in.readLine() != null) {
        System.gc();
        System.out.println(ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
      }
    }
    hostile.letGo();
    daemon.letGo();
    System.exit(0);
  }
}
