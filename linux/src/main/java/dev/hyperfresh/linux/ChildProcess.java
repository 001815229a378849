package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Siginfo;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// A process that this one started, with exactly the descriptors that were chosen.
///
/// All methods may be called by any thread. A child that has ended stays as a zombie until
/// [#waitFor] is called, so every child needs that call once.
public final class ChildProcess implements AutoCloseable {
  private static final Duration FOR_EVER = Duration.ofSeconds(Long.MAX_VALUE);

  private final String program;
  private final PidFd pidFd;
  private final boolean newSession;
  private @Nullable Exit exit;

  private ChildProcess(String program, PidFd pidFd, boolean newSession) {
    this.program = program;
    this.newSession = newSession;
    this.pidFd = pidFd;
  }

  /// What to start.
  ///
  /// @param command the program, looked up in `PATH` unless it holds a slash, and its arguments
  /// @param environment the whole environment of the child
  /// @param descriptors which number in the child, 3 to 1023, is which descriptor of this process
  /// @param output where standard output and errors are appended; made with mode 0600
  /// @param newSession whether the child leads a session of its own, out of reach of this terminal
  public record Request(
      List<String> command,
      Map<String, String> environment,
      Map<Integer, Fd> descriptors,
      Path output,
      boolean newSession) {
    private static final int FIRST_NUMBER = 3;
    private static final int LAST_NUMBER = 1023;

    /// Copies the collections and checks them.
    ///
    /// @throws IllegalArgumentException when the command is empty, a descriptor number is out of
    ///   range, or a text cannot be handed to a process
    public Request {
      command = List.copyOf(command);
      environment = Map.copyOf(environment);
      descriptors = Map.copyOf(descriptors);
      Objects.requireNonNull(output);
      if (command.isEmpty() || command.getFirst().isEmpty()) {
        throw new IllegalArgumentException("a child process needs a command");
      }
      command.forEach(Request::refuseNul);
      environment.forEach((name, value) -> {
        refuseNul(name + value);
        if (name.isEmpty() || name.contains("=")) {
          throw new IllegalArgumentException("not the name of a variable: \"" + name + "\"");
        }
      });
      for (int number : descriptors.keySet()) {
        if (number < FIRST_NUMBER || number > LAST_NUMBER) {
          throw new IllegalArgumentException(
              "descriptor %d of the child must be %d to %d"
                  .formatted(number, FIRST_NUMBER, LAST_NUMBER));
        }
      }
    }

    private static void refuseNul(String text) {
      if (text.indexOf('\0') >= 0) {
        throw new IllegalArgumentException("a NUL inside \"" + text.replace('\0', '?') + "\"");
      }
    }
  }

  /// Starts a process. Its standard input is `/dev/null`; every signal has its default action and
  /// none is blocked. Returns once the program has been loaded.
  ///
  /// @throws LinuxException when the program cannot be run (`ENOENT`, `EACCES`) or the output file
  ///   cannot be opened
  public static ChildProcess spawn(Request request) {
    String program = request.command().getFirst();
    int pid = Spawn.start(request);
    try {
      return new ChildProcess(program, PidFd.open(pid), request.newSession());
    } catch (LinuxException noDescriptorLeft) {
      Spawn.abandon(pid);
      throw noDescriptorLeft;
    }
  }

  /// The number of the process.
  public int pid() {
    return pidFd.pid();
  }

  /// The process by descriptor, which this object owns.
  public PidFd pidFd() {
    return pidFd;
  }

  /// Waits for the end of the process and reaps it. Later calls give the same answer at once.
  public Exit waitFor() {
    return waitFor(FOR_EVER).orElseThrow();
  }

  /// Waits for the end of the process and reaps it when that comes in time.
  ///
  /// @return how it ended, or nothing when it still runs
  public Optional<Exit> waitFor(Duration timeout) {
    Optional<Exit> known = reaped();
    if (known.isPresent() || !pidFd.awaitExit(timeout)) {
      return known;
    }
    return Optional.of(reap());
  }

  /// Ends the process with `SIGKILL`. Does nothing when it has ended.
  public void kill() {
    int done = reaped().isPresent() ? 0 : pidFd.trySignal(Constants.SIGKILL);
    if (done != -Constants.ESRCH) {
      check(done, "pidfd_send_signal " + Constants.SIGKILL, program);
    }
  }

  /// Ends the process, and what it has started in its session, with `SIGKILL`, as far as this one
  /// may. Does nothing when it has been reaped: its number may mean another one then.
  ///
  /// @throws IllegalStateException when it has no session of its own
  public synchronized void killSession() {
    if (!newSession) {
      throw new IllegalStateException(program + " is in the session of this process");
    }
    if (exit == null) {
      int _ = SignalCalls.kill(-pid(), Constants.SIGKILL);
    }
  }

  /// Lets go of the process: never kills it, and does not reap it.
  @Override
  public void close() {
    pidFd.close();
  }

  private synchronized Optional<Exit> reaped() {
    return Optional.ofNullable(exit);
  }

  private synchronized Exit reap() {
    if (exit == null) {
      int held = pidFd.fd().acquire();
      try {
        exit = reap(Constants.P_PIDFD, held, program);
      } finally {
        pidFd.fd().release();
      }
    }
    return exit;
  }

  /// Reaps a child of this process, waiting for its end when it still runs.
  static Exit reap(int idType, int id, String program) {
    MemorySegment info = Scratch.mine().arguments();
    info.fill((byte) 0);
    int done;
    do {
      done = PidCalls.waitid(idType, id, info, Constants.WEXITED);
    } while (done == -Constants.EINTR);
    check(done, "waitid", program);
    int status = Siginfo.si_status.get(info);
    return switch (Siginfo.si_code.get(info)) {
      case Constants.CLD_EXITED -> Exit.withCode(status);
      case Constants.CLD_KILLED, Constants.CLD_DUMPED -> Exit.bySignal(status);
      default -> throw new IllegalStateException("waitid says that " + program + " has not ended");
    };
  }
}
