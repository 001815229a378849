package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.testkit.FaultMatrix.Case;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// A daemon in a process of its own that takes a guest back, replaces its hypervisor once with a
/// plan against itself, and prints what became of it, if it can.
final class FaultyDaemon {
  /// More than a daemon ever needs.
  private static final int ENOUGH_DESCRIPTORS = 1024;

  private FaultyDaemon() {}

  /// The command that runs it.
  ///
  /// @param network the file of the network namespace of the guest's port
  static List<String> command(Path network, Path state, FaultPlan plan) {
    List<String> command = new ArrayList<>(List.of("nsenter", "--net=" + network));
    List<String> java = CommandRun.command();
    command.addAll(java.subList(0, java.size() - 1));
    command.addAll(List.of(FaultyDaemon.class.getName(), state.toString(), plan.toString()));
    return command;
  }

  /// Takes the state directory and the words of a plan.
  public static void main(String[] arguments) {
    int code = 0;
    try {
      run(arguments);
    } catch (RuntimeException | Error e) {
      e.printStackTrace(System.out);
      code = 1;
    }
    // The threads that serve would keep a process whose work has failed.
    System.exit(code);
  }

  private static void run(String[] arguments) {
    Path state = Path.of(arguments[0]);
    FaultPlan plan = plan(arguments[1]);
    FaultInjector injector = new FaultInjector(state);
    Daemon daemon = Daemon.start(FaultBench.config(state), injector.kinds(FaultBench.ANSWER));
    FaultCharge charge = injector.arm(plan, daemon.hyperplexor().show(FaultBench.GUEST));
    replace(daemon, FaultInjector.progress(charge));
    System.out.println("went off: " + charge.wentOff());
    injector.disarm(FaultBench.GUEST);
    FaultCharge.limitDescriptors(ENOUGH_DESCRIPTORS);
    daemon.letGo();
  }

  private static FaultPlan plan(String words) {
    return FaultMatrix.ofTheDaemon().stream()
        .map(Case::plan)
        .filter(plan -> plan.toString().equals(words))
        .findFirst()
        .orElseThrow();
  }

  private static void replace(Daemon daemon, Progress progress) {
    String release = daemon.hyperplexor().show(FaultBench.GUEST).release();
    try {
      ReplacementRecord record =
          daemon
              .guests()
              .replace(
                  FaultBench.GUEST,
                  FaultBench.other(release),
                  FaultBench.MAX_BLACKOUT,
                  false,
                  false,
                  progress);
      System.out.println(record.outcome().label() + " " + record.problem() + " " + record.detail());
    } catch (HyperFreshException e) {
      System.out.println(e.problem().code() + " " + e.detail());
    }
  }
}
