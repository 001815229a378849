package dev.hyperfresh.testkit;

import dev.hyperfresh.cli.ExtraCommand;
import dev.hyperfresh.cli.Logging;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Optional;
import java.util.logging.Level;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.json.JsonMapper;

/// `hyperfresh bench`: replacements beside every other way to get a guest into a new hypervisor on
/// the same host, in one run.
@Command(
    name = "bench",
    description =
        "Measure replacements beside other ways to get a guest into another QEMU on this host.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Boots its own guests. Each way has a guest of its own, and the ways take turns, so that",
      "whatever else this host does meets all alike; guests that wait for their turn are frozen.",
      "The first turns are not counted. A blackout is the time from the old hypervisor's STOP to",
      "the new one's RESUME, by their own clocks. Use it on a host that does nothing else.",
      "A way that fails, or that this host does not have, is named, and the others go on.",
      "",
      "Examples:",
      "  hyperfresh bench --quick",
      "  hyperfresh bench memory --html bench.html",
      "  hyperfresh bench --json > bench.json",
      "  hyperfresh bench --check=bench.json        status 1 when anything got worse since then"
    })
public final class Bench implements ExtraCommand, CommandLine.IExitCodeGenerator {
  private static final int WORSE = 1;

  @Parameters(
      arity = "0..1",
      paramLabel = "SUITE",
      description = "What is measured: rivals or memory (default: both).")
  private @Nullable BenchSuite suite;

  @Option(names = "--quick", description = "Fewer turns: less than 5 minutes, instead of 60.")
  private boolean quick;

  @Option(names = "--json", description = "End with one line of JSON on standard output.")
  private boolean json;

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Write a page with plots there, which needs no other file.")
  private @Nullable Path html;

  @Option(
      names = "--check",
      arity = "0..1",
      paramLabel = "FILE",
      fallbackValue = "bench.json",
      description =
          "Compare with an earlier result of --json, and end with status 1 when the blackout"
              + " became longer beside those of other ways (default: bench.json).")
  private @Nullable Path check;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  private int status;

  /// For the service loader.
  public Bench() {}

  @Override
  public void run() {
    PrintStream out = json ? System.err : System.out;
    requireWritable();
    Optional<BenchCheck> earlier = Optional.ofNullable(check).map(this::read);
    Logging.plain(Level.SEVERE);
    DemoRun.fetch(Cache.ofThisUser(), out);
    BenchResult result = measure(out);
    BenchText.print(result, out);
    if (html != null) {
      write(html, BenchPage.of(result));
    }
    if (json) {
      System.out.println(JsonMapper.shared().writeValueAsString(result.json()));
    }
    if (!result.losses().isEmpty()) {
      throw Problem.RUN_LOST.because(String.join("\n  ", result.losses()));
    }
    earlier.ifPresent(was -> compare(was, result, out));
  }

  @Override
  public int getExitCode() {
    return status;
  }

  private BenchResult measure(PrintStream out) {
    Path state = stateDirectory();
    BenchRun run = new BenchRun(state, Cache.ofThisUser(), quick, out);
    // Ctrl-C takes the same way out as the end of the run.
    Thread exit = new Thread(() -> leave(run, state), "hf-bench-exit");
    Runtime.getRuntime().addShutdownHook(exit);
    try {
      return run.measure(suite == null ? EnumSet.allOf(BenchSuite.class) : EnumSet.of(suite));
    } finally {
      if (Runtime.getRuntime().removeShutdownHook(exit)) {
        leave(run, state);
      }
    }
  }

  private void compare(BenchCheck earlier, BenchResult result, PrintStream out) {
    BenchCheck.Verdict verdict = earlier.of(result);
    out.println();
    verdict.unmeasured().forEach(name -> out.println("not measured in this run: " + name));
    verdict.worse().forEach(line -> out.println("worse: " + line));
    if (verdict.worse().isEmpty()) {
      out.println(
          "None of " + verdict.compared() + " figures is worse than in " + earlier.file() + ".");
    } else {
      status = WORSE;
    }
  }

  private BenchCheck read(Path file) {
    try {
      return BenchCheck.read(file);
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), "--check: " + e.getMessage(), e);
    }
  }

  /// Before minutes of work, and not after them.
  private void requireWritable() {
    if (html == null) {
      return;
    }
    Path folder = html.toAbsolutePath().getParent();
    if (Files.isDirectory(html) || folder == null || !Files.isWritable(folder)) {
      throw new CommandLine.ParameterException(
          spec.commandLine(), "--html: " + html + " cannot be written");
    }
  }

  private static void write(Path file, String text) {
    try {
      Files.writeString(file, text, StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw Problem.INTERNAL.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  private static Path stateDirectory() {
    try {
      return Files.createTempDirectory(Path.of("/tmp"), "hf-bench-");
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because("/tmp: " + e.getMessage(), e);
    }
  }

  private static void leave(BenchRun run, Path state) {
    run.close();
    try {
      GuestImages.delete(state);
    } catch (IOException e) {
      System.err.println("hyperfresh: " + state + " could not be removed: " + e.getMessage());
    }
  }
}
