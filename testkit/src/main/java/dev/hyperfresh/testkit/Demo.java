package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.ExtraCommand;
import dev.hyperfresh.cli.Logging;
import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.logging.Level;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `hyperfresh demo`: the whole product on guests of its own, and nothing left behind.
///
/// The demonstration runs in a network namespace that lives as long as its process, so its tap and
/// its addresses touch nothing and cannot outlive it.
@Command(
    name = "demo",
    description = "Replace the hypervisor under a Linux guest that serves TCP, there and back.",
    mixinStandardHelpOptions = true,
    subcommands = {MachineDemo.class, OsDemo.class},
    footer = {
      "",
      "Boots a Linux guest under QEMU 7.2 and moves it to QEMU 10.0 and back while a TCP stream",
      "and a heartbeat continue. Where /dev/kvm opens, does the same with a guest on real KVM.",
      "Uses its own daemon in a directory that is removed at the end; what it fetches or builds",
      "(QEMU releases, a guest kernel) is kept in the cache for the next time.",
      "",
      "Examples:",
      "  hyperfresh demo",
      "  hyperfresh demo --json | tail -n 1",
      "  hyperfresh demo machine                    kernel, KVM and QEMU in one",
      "  hyperfresh demo os                         the OS under two containers"
    })
public final class Demo implements ExtraCommand {
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

  /// For the service loader.
  public Demo() {}

  @Override
  public void run() {
    Logging.plain(Level.WARNING);
    PrintStream out = json ? System.err : System.out;
    String obstacle = network ? "" : OwnNetwork.obstacle();
    if (!network) {
      // Before the namespace, which has no way to a mirror.
      DemoRun.fetch(Cache.ofThisUser(), out);
    }
    if (!network && obstacle.isEmpty()) {
      System.exit(OwnNetwork.runAgain());
    }
    withDaemon(
        daemon -> new DemoRun(daemon, Cache.ofThisUser(), out, obstacle, injection).run(json));
  }

  /// Runs `demonstration` on a daemon of its own, of which nothing is left afterwards.
  static void withDaemon(Consumer<Daemon> demonstration) {
    withDaemon(Daemon::start, demonstration);
  }

  /// As the other one, on a daemon that `start` starts.
  static void withDaemon(Function<DaemonConfig, Daemon> start, Consumer<Daemon> demonstration) {
    Path state = stateDirectory();
    try (Daemon daemon = start.apply(config(state))) {
      // Ctrl-C takes the same way out as the end of the demonstration.
      Thread exit = new Thread(() -> leave(daemon, state), "hf-demo-exit");
      Runtime.getRuntime().addShutdownHook(exit);
      demonstration.accept(daemon);
      stay(exit);
    } finally {
      clean(state);
    }
  }

  /// Takes the way out back, unless it is being taken: then whoever takes it ends all.
  private static void stay(Thread exit) {
    try {
      Runtime.getRuntime().removeShutdownHook(exit);
    } catch (IllegalStateException e) {
      // What `Runtime` throws when this virtual machine of Java is on its way out already.
      System.getLogger(Demo.class.getName()).log(System.Logger.Level.DEBUG, "on the way out", e);
    }
  }

  private static void leave(Daemon daemon, Path state) {
    daemon.close();
    clean(state);
  }

  private static DaemonConfig config(Path state) {
    Path cache = Cache.ofThisUser().folder();
    return new DaemonConfig(state, cache.resolve("releases"), cache.resolve("apt"));
  }

  private static Path stateDirectory() {
    try {
      return Files.createTempDirectory(Path.of("/tmp"), "hf-demo-");
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because("/tmp: " + e.getMessage(), e);
    }
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
