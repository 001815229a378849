package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.Logging;
import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.qemu.Qemu;
import java.io.PrintStream;
import java.util.logging.Level;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `hyperfresh demo machine`: the whole hypervisor, kernel and all, replaced under two guests.
@Command(
    name = "machine",
    description = "Replace kernel, KVM and QEMU under two Linux guests, one machine by another.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Boots two guests in a machine with Linux 6.1, boots a machine with Linux 6.12 beside it, and",
      "moves both guests over while a TCP stream and their heartbeats continue. Then ends the old",
      "machine. Uses its own daemon in a directory that is removed at the end; what it fetches or",
      "builds is kept in the cache for the next time. Where the host has no nested KVM, the machines",
      "are translated, and everything is slower.",
      "",
      "Examples:",
      "  hyperfresh demo machine",
      "  hyperfresh demo machine --json | tail -n 1"
    })
final class MachineDemo implements Runnable {
  @Option(names = "--json", description = "End with one line of JSON on standard output.")
  private boolean json;

  @Option(
      names = "--inject",
      paramLabel = "FAULT",
      defaultValue = "none",
      description =
          "Break something on purpose, which is reported and makes the command fail:"
              + " kill-target-after-commit.")
  private Injection injection = Injection.NONE;

  @Option(
      names = OwnNetwork.INSIDE,
      hidden = true,
      description = "Runs in a network namespace already.")
  private boolean network;

  @Override
  public void run() {
    Logging.plain(Level.WARNING);
    PrintStream out = json ? System.err : System.out;
    String obstacle = network ? "" : OwnNetwork.obstacle();
    if (!network) {
      MachineDemoRun.fetch(Cache.ofThisUser(), out);
    }
    if (!network && obstacle.isEmpty()) {
      System.exit(OwnNetwork.runAgain());
    }
    try (MeasuredWay way = new MeasuredWay()) {
      way.measure(true);
      Qemu processes = new Qemu();
      Kinds kinds = new Kinds(processes, way.over(new MachineKind(processes)));
      Demo.withDaemon(
          config -> Daemon.start(config, kinds),
          daemon ->
              new MachineDemoRun(daemon, way, Cache.ofThisUser(), out, obstacle, injection)
                  .run(json));
    }
  }
}
