package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.Logging;
import dev.hyperfresh.hypervisor.Problem;
import java.io.PrintStream;
import java.util.logging.Level;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `hyperfresh demo os`: the operating system replaced under two containers.
@Command(
    name = "os",
    description = "Replace the operating system under two containers that serve TCP.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Runs two containers in an OS with Linux 6.1, boots an OS with Linux 6.12 beside it, and",
      "moves the containers over while clients talk to them: their memory is mapped instead of",
      "copied. Then verifies every page and ends the old OS. For comparison, also moves the same",
      "containers in the ordinary way, by a dump, a copy and a restore. Uses its own daemon in a",
      "directory that is removed at the end. Needs root. Where the host's KVM does not run Linux",
      "at speed, the operating systems are translated, and everything is slower.",
      "",
      "Examples:",
      "  hyperfresh demo os",
      "  hyperfresh demo os --json | tail -n 1"
    })
final class OsDemo implements Runnable {
  @Option(names = "--json", description = "End with one line of JSON on standard output.")
  private boolean json;

  @Option(
      names = OwnNetwork.INSIDE,
      hidden = true,
      description = "Runs in a network namespace already.")
  private boolean network;

  @Override
  public void run() {
    Logging.plain(Level.WARNING);
    PrintStream out = json ? System.err : System.out;
    if (!network) {
      String obstacle = OwnNetwork.obstacle();
      if (!obstacle.isEmpty()) {
        throw Problem.HOST_MISSING.because("Containers need a network to show this: " + obstacle);
      }
      OsDemoRun.fetch(Cache.ofThisUser(), out);
      System.exit(OwnNetwork.runAgain());
    }
    Demo.withDaemon(daemon -> new OsDemoRun(daemon, out).run(json));
  }
}
