package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.Logging;
import java.io.PrintStream;
import java.util.logging.Level;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `hyperfresh soak machines`: machine after machine booted, and guests in them; none may die.
@Command(
    name = "machines",
    description = "Boot machine after machine with two Linux guests each, and count what dies.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Boots a machine with Linux 6.1 and 6.12 in turn, boots two Linux guests in it, watches",
      "their heartbeats and their memory for a while, ends everything, and starts again. Fails",
      "with what died, when, and its last messages. Uses a daemon in a directory that is removed",
      "at the end, also after Ctrl-C. Where the host has no nested KVM, the machines are",
      "translated. With --parallel above half the number of processors, every boot takes longer.",
      "",
      "Examples:",
      "  hyperfresh soak machines --boots 100",
      "  hyperfresh soak machines --boots 100 --parallel 2 --json | tail -n 1"
    })
final class MachineSoak implements Runnable {
  @Option(
      names = "--boots",
      paramLabel = "N",
      defaultValue = "20",
      description = "How many machines, 1 to 100000 (default: ${DEFAULT-VALUE}).")
  private int boots;

  @Option(
      names = "--parallel",
      paramLabel = "N",
      defaultValue = "1",
      description = "How many at a time, 1 to 16 (default: ${DEFAULT-VALUE}).")
  private int parallel;

  @Option(names = "--json", description = "End with one line of JSON on standard output.")
  private boolean json;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  @Override
  public void run() {
    Soak.require(spec, "--boots", boots, 1, 100_000);
    Soak.require(spec, "--parallel", parallel, 1, 16);
    Logging.plain(Level.SEVERE);
    PrintStream out = json ? System.err : System.out;
    MachineDemoRun.fetch(Cache.ofThisUser(), out);
    Demo.withDaemon(
        daemon -> new MachineSoakRun(daemon, Cache.ofThisUser(), boots, parallel, out).run(json));
  }
}
