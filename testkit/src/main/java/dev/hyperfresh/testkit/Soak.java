package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.ExtraCommand;
import dev.hyperfresh.cli.Logging;
import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.logging.Level;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `hyperfresh soak`: many replacements under many guests, with faults, and a count of all that was
/// lost.
@Command(
    name = "soak",
    description =
        "Replace the hypervisor under Linux guests many times, with faults, and count what is"
            + " lost.",
    mixinStandardHelpOptions = true,
    subcommands = MachineSoak.class,
    footer = {
      "",
      "Boots its own guests, which write to disks, check their memory and echo TCP streams, and",
      "moves them between QEMU 7.2 and 10.0. Some of the replacements are broken at a random point",
      "in a way that a guest must survive. Fails if anything was lost. Uses a daemon in a",
      "directory that is removed at the end, also after Ctrl-C.",
      "",
      "Examples:",
      "  hyperfresh soak",
      "  hyperfresh soak --replacements 1000 --guests 4 --seed 1",
      "  hyperfresh soak --replacements 50 --guests 2 --faults 100 --json | tail -n 1",
      "  hyperfresh soak machines --boots 100       machines and guests in them, booted and ended"
    })
public final class Soak implements ExtraCommand {
  /// How long a QEMU may take for an answer before it counts as hung.
  private static final Duration ANSWER = Duration.ofSeconds(2);

  /// What is learned later after a switch is not shown here.
  private static final WatchTimes WATCH_TIMES =
      new WatchTimes(WatchTimes.USUAL.before(), Duration.ofMillis(100));

  @Option(
      names = "--replacements",
      paramLabel = "N",
      defaultValue = "200",
      description = "How many, 1 to 1000000 (default: ${DEFAULT-VALUE}).")
  private int replacements;

  @Option(
      names = "--guests",
      paramLabel = "N",
      defaultValue = "3",
      description = "Under how many guests of 128 MiB, 1 to 16 (default: ${DEFAULT-VALUE}).")
  private int guests;

  @Option(
      names = "--faults",
      paramLabel = "PERCENT",
      defaultValue = "40",
      description = "How many of them are broken, 0 to 100 (default: ${DEFAULT-VALUE}).")
  private int faults;

  @Option(
      names = "--parallel",
      paramLabel = "N",
      defaultValue = "2",
      description = "How many at a time, 1 to the number of guests (default: ${DEFAULT-VALUE}).")
  private int parallel;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Choose the same faults as the run that printed this number.")
  private @Nullable Long seed;

  @Option(names = "--json", description = "End with one line of JSON on standard output.")
  private boolean json;

  @Option(
      names = OwnNetwork.INSIDE,
      hidden = true,
      description = "Runs in a network namespace already.")
  private boolean network;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  /// For the service loader.
  public Soak() {}

  @Override
  public void run() {
    require(spec, "--replacements", replacements, 1, 1_000_000);
    require(spec, "--guests", guests, 1, 16);
    require(spec, "--faults", faults, 0, 100);
    require(spec, "--parallel", parallel, 1, 16);
    Logging.plain(Level.SEVERE);
    PrintStream out = json ? System.err : System.out;
    String obstacle = network ? "" : OwnNetwork.obstacle();
    if (!network) {
      // Before the namespace, which has no way to a mirror.
      DemoRun.fetch(Cache.ofThisUser(), out);
    }
    if (!network && obstacle.isEmpty()) {
      System.exit(OwnNetwork.runAgain());
    }
    soak(out, obstacle);
  }

  /// Fails unless the value of an option is in its range.
  static void require(
      CommandLine.Model.CommandSpec spec, String option, int value, int least, int most) {
    if (value < least || value > most) {
      throw new CommandLine.ParameterException(
          spec.commandLine(), option + " must be " + least + " to " + most + ", not " + value);
    }
  }

  private void soak(PrintStream out, String networkObstacle) {
    Path state = stateDirectory();
    FaultInjector injector = new FaultInjector(state);
    try (Daemon daemon = daemon(state, injector)) {
      // Ctrl-C takes the same way out as the end of the run.
      Thread exit = new Thread(() -> leave(daemon, state), "hf-soak-exit");
      Runtime.getRuntime().addShutdownHook(exit);
      SoakRun.Order order =
          new SoakRun.Order(
              replacements,
              guests,
              faults,
              Math.min(parallel, guests),
              seed == null ? System.nanoTime() : seed);
      new SoakRun(daemon, injector, Cache.ofThisUser(), order, out, networkObstacle).run(json);
      Runtime.getRuntime().removeShutdownHook(exit);
    } finally {
      clean(state);
    }
  }

  private static Daemon daemon(Path state, FaultInjector injector) {
    Path cache = Cache.ofThisUser().folder();
    return Daemon.start(
        new DaemonConfig(state, cache.resolve("releases"), cache.resolve("apt"))
            .watching(WATCH_TIMES),
        injector.kinds(ANSWER));
  }

  private static Path stateDirectory() {
    try {
      return Files.createTempDirectory(Path.of("/tmp"), "hf-soak-");
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because("/tmp: " + e.getMessage(), e);
    }
  }

  private static void leave(Daemon daemon, Path state) {
    daemon.close();
    clean(state);
  }

  private static void clean(Path state) {
    if (!Files.exists(state)) {
      return;
    }
    try (Stream<Path> files = Files.walk(state)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      System.err.println("hyperfresh: " + state + " could not be removed: " + e.getMessage());
    }
  }
}
