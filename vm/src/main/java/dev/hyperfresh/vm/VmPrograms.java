package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Signals;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/// The programs that the agent of a virtual machine runs, by their numbers inside. Thread-safe.
public final class VmPrograms {
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);
  private static final Duration END_LOOK = Duration.ofMillis(20);

  private final VmControl control;
  private final ProgramEnds ends;

  VmPrograms(VmControl control, ProgramEnds ends) {
    this.control = control;
    this.ends = ends;
  }

  /// Runs a program inside, which is to go well.
  ///
  /// @return what it printed
  /// @throws TroubleException when it fails, or does not end within `limit`
  public String run(List<String> command, Duration limit) {
    Agent.Exited result = runToEnd(command, limit);
    if (result.status() != 0) {
      throw new TroubleException(
          control.label() + ": " + command + " failed: " + result.tail().strip());
    }
    return result.tail().strip();
  }

  /// Runs a program inside to its end, whatever that is.
  ///
  /// @throws TroubleException when it cannot be started, or does not end within `limit`: then it is
  ///   killed, as it would keep one of the agent's places for ever
  public Agent.Exited runToEnd(List<String> command, Duration limit) {
    int pid = start(command);
    CompletableFuture<Agent.Exited> end = endOf(pid);
    try {
      return await(end, command, limit);
    } catch (TroubleException e) {
      if (!end.isDone() && !Thread.currentThread().isInterrupted()) {
        control.attempted(() -> control.tell(agent -> agent.signal(pid, Signals.KILL)));
      }
      throw e;
    }
  }

  /// Starts a program inside.
  ///
  /// @return its end, which comes on a thread that must not be held
  /// @throws TroubleException when it cannot be started
  public CompletableFuture<Agent.Exited> begin(List<String> command) {
    return endOf(start(command));
  }

  private int start(List<String> command) {
    return control.ask(a -> a.start(new Agent.Program(command, Map.of(), List.of())));
  }

  private CompletableFuture<Agent.Exited> endOf(int pid) {
    CompletableFuture<Agent.Exited> end = new CompletableFuture<>();
    watch(pid, end::complete);
    return end;
  }

  /// Waits for the end of a program.
  ///
  /// @param command what it is, for people
  /// @throws TroubleException when it does not end within `limit`
  public Agent.Exited await(
      CompletableFuture<Agent.Exited> end, List<String> command, Duration limit) {
    try {
      return end.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException | ExecutionException e) {
      throw new TroubleException(control.label() + ": " + command + " does not end", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new TroubleException(control.label() + ": interrupted", e);
    }
  }

  /// Moves bytes inside from one file or port to another, with the agent's own program.
  ///
  /// @return how long that took after the first of them came, in nanoseconds, as it printed it
  /// @throws TroubleException when it fails, or does not end within `limit`
  public String copy(String from, long bytes, String to, Duration limit) {
    return run(List.of(VirtualMachine.AGENT, "copy", from, Long.toString(bytes), to), limit);
  }

  /// Removes a file inside below [VirtualMachine#RUN_FOLDER], with the agent's own program.
  ///
  /// @throws TroubleException when it fails, or does not end within `limit`
  public void remove(String file, Duration limit) {
    var _ = run(List.of(VirtualMachine.AGENT, "remove", file), limit);
  }

  /// Has `end` told once, on a thread that must not be held, when process `pid` inside ends or the
  /// machine does.
  public void watch(int pid, Consumer<Agent.Exited> end) {
    ends.watch(pid, end);
  }

  /// Takes back what [#watch] was told.
  public void unwatch(int pid) {
    ends.unwatch(pid);
  }

  /// Whether process `pid` inside is one of the agent's that runs.
  ///
  /// @throws TroubleException when the agent is silent
  public boolean runs(int pid) {
    try {
      var _ = control.agent().state(pid);
      return true;
    } catch (AgentException e) {
      if (e.refused()) {
        return false;
      }
      throw new TroubleException(control.label() + ": " + e.getMessage(), e);
    }
  }

  /// Ends a process inside that nobody watches.
  ///
  /// @throws TroubleException when that is not certain
  public void end(int pid) {
    try {
      control.agent().signal(pid, Signals.KILL);
    } catch (AgentException e) {
      if (!e.refused()) {
        throw new TroubleException(control.label() + ": " + e.getMessage(), e);
      }
    }
    long deadline = Clock.monotonicNanos() + KILL_LIMIT.toNanos();
    while (runs(pid)) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException("process " + pid + " of " + control.label() + " does not end");
      }
      LockSupport.parkNanos(END_LOOK.toNanos());
    }
  }
}
