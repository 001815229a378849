package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.List;
import java.util.ServiceLoader;
import picocli.AutoComplete.GenerateCompletion;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/// The entry of `hyperfresh`.
@Command(
    name = "hyperfresh",
    description = "Replaces the hypervisor under running guests on this host, in milliseconds.",
    version = "hyperfresh " + Main.VERSION,
    synopsisSubcommandLabel = "COMMAND",
    footer = {
      "",
      "Examples:",
      "  hyperfresh demo                         see it work on guests of its own",
      "  hyperfresh doctor                       what works on this host",
      "  hyperfresh daemon &                     start the daemon",
      "  hyperfresh release fetch qemu-10.0      fetch a QEMU from Debian's packages",
      "  hyperfresh guest create -f web1.yaml    start a guest",
      "  hyperfresh replace web1 --to qemu-10.0  replace its hypervisor while it runs",
      "  hyperfresh machine --help               the same with a kernel and KVM",
      "  hyperfresh os --help                    replace the OS under containers",
      "",
      "Exit codes: 0 done, 2 bad input, 3 not possible now, 4 the host lacks something, 5",
      "replacement or move refused or rolled back, 6 guest or container lost, 7 no daemon, 8 a",
      "QEMU is outdated, 70 a defect."
    },
    subcommands = {
      DaemonCommand.class,
      ConfigCommand.class,
      DoctorCommand.class,
      OutdatedCommand.class,
      ExplainCommand.class,
      PolicyCommand.class,
      ReleaseCommand.class,
      GuestCommand.class,
      MachineCommand.class,
      OsCommand.class,
      ContainerCommand.class,
      VolumeCommand.class,
      ReplaceCommand.class,
      HistoryCommand.class,
      EventsCommand.class,
      WaitCommand.class,
      AuditCommand.class,
      GenerateCompletion.class
    })
public final class Main implements Runnable {
  /// The version of command, daemon and API.
  public static final String VERSION = "0.1.0";

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Show the version and exit.")
  private boolean version;

  private Main() {}

  /// Runs one command and exits with its code.
  public static void main(String[] arguments) {
    System.exit(run(arguments));
  }

  /// Runs one command.
  ///
  /// @return its exit code
  public static int run(String... arguments) {
    return line().execute(arguments);
  }

  /// All commands, also those of other modules.
  static CommandLine line() {
    CommandLine line = new CommandLine(new Main());
    for (ExtraCommand extra : ServiceLoader.load(ExtraCommand.class)) {
      line.addSubcommand(extra);
    }
    line.setExecutionExceptionHandler(Main::report);
    line.setParameterExceptionHandler(Main::refuse);
    Help.arrange(line, Terminal.helpWidth(Terminal.columns()));
    return line;
  }

  static int report(Exception e, CommandLine line, CommandLine.ParseResult result) {
    if (e instanceof HyperFreshException known) {
      Output.problem(known, Options.format(line.getCommandSpec()));
      return known.problem().exitCode();
    }
    line.getErr().println("hyperfresh: a defect of HyperFresh: " + e);
    e.printStackTrace(line.getErr());
    return 70;
  }

  /// What is wrong in one line, and what helps in the next.
  private static int refuse(ParameterException e, String[] arguments) {
    CommandLine line = e.getCommandLine();
    List<String> similar =
        e instanceof UnmatchedArgumentException unmatched
            ? unmatched.getSuggestions().stream().limit(3).toList()
            : List.of();
    line.getErr().println("hyperfresh: " + inOneLine(String.valueOf(e.getMessage())));
    line.getErr()
        .println(
            similar.isEmpty()
                ? "  `" + line.getCommandSpec().qualifiedName() + " --help` shows what it takes."
                : "  Did you mean " + String.join(", ", similar) + "?");
    return line.getCommandSpec().exitCodeOnInvalidInput();
  }

  private static String inOneLine(String message) {
    return message.replaceFirst("^Error: ", "").replaceAll("\\R\\s*", " ");
  }

  @Override
  public void run() {
    spec.commandLine().usage(System.out);
  }
}
