package dev.hyperfresh.testkit;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// A network namespace for a command that gives network cards to guests of its own: the command
/// runs itself again inside one. It lives as long as that process, so taps and addresses touch
/// nothing and cannot outlive it.
final class OwnNetwork {
  /// The option by which the inner command knows that it is inside.
  static final String INSIDE = "--network";

  private OwnNetwork() {}

  /// Why the guest cannot have a network card here, or empty when it can.
  static String obstacle() {
    try (Fd tun = Fd.open(Path.of("/dev/net/tun"), OpenFlags.READ_WRITE)) {
      List<String> trial = new ArrayList<>(unshare());
      trial.add("true");
      int status =
          new ProcessBuilder(trial)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor();
      return status == 0
          ? ""
          : tun.label() + " opens, but this user may not create a network namespace";
    } catch (LinuxException | IOException e) {
      return "this user cannot create a tap: " + e.getMessage();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "interrupted";
    }
  }

  /// An ordinary user gets a network namespace together with a user namespace, where the host
  /// allows it.
  private static List<String> unshare() {
    return Host.effectiveUid() == 0
        ? List.of("unshare", "--net", "--")
        : List.of("unshare", "--map-root-user", "--net", "--");
  }

  /// Runs this very command again, in a network namespace of its own.
  static int runAgain() {
    try {
      List<String> command = new ArrayList<>(unshare());
      String self = Files.readString(Path.of("/proc/self/cmdline"), StandardCharsets.UTF_8);
      List<String> arguments = List.of(self.split("\0"));
      command.add(ProcessHandle.current().info().command().orElse(arguments.getFirst()));
      command.addAll(arguments.subList(1, arguments.size()));
      command.add(INSIDE);
      Process process = new ProcessBuilder(command).inheritIO().start();
      // Ctrl-C reaches the whole process group; a plain kill of this process alone must too.
      Runtime.getRuntime().addShutdownHook(new Thread(() -> await(process), "hf-wait"));
      return process.waitFor();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Problem.INTERNAL.exitCode();
    }
  }

  private static void await(Process process) {
    process.destroy();
    try {
      process.waitFor();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
