package dev.hyperfresh.vm;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Exit;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;

/// The agent, compiled from the image's source and run on this host with a socket for a port.
final class AgentProcess implements AutoCloseable {
  private static Optional<Path> compiled = Optional.empty();

  private final ChildProcess process;
  private final UnixSocket socket;
  private final Path run;

  private AgentProcess(ChildProcess process, UnixSocket socket, Path run) {
    this.process = process;
    this.socket = socket;
    this.run = run;
  }

  /// Starts it with `folder` for its logs and sockets, and a made-up or real `sys`.
  static AgentProcess start(Path folder, Path sys) {
    return start(List.of(), folder, sys);
  }

  /// As the other one, in a network namespace of its own that ends with it. Needs root.
  static AgentProcess startAlone(Path folder) {
    require(Host.effectiveUid() == 0, "network interfaces need root");
    String script = "mount -t sysfs sys /sys && exec \"$@\"";
    return start(
        List.of("unshare", "--net", "--mount", "sh", "-c", script, "sh"), folder, Path.of("/sys"));
  }

  private static AgentProcess start(List<String> prefix, Path folder, Path sys) {
    Path run = folder.resolve("run");
    List<String> command = new ArrayList<>(prefix);
    command.addAll(List.of(binary().toString(), "3", run.toString(), sys.toString()));
    UnixSocket.Pair pair = UnixSocket.pair();
    ChildProcess process =
        ChildProcess.spawn(
            new ChildProcess.Request(
                command,
                Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                Map.of(3, pair.right().fd()),
                folder.resolve("agent.log"),
                true));
    pair.right().close();
    return new AgentProcess(process, pair.left(), run);
  }

  private static synchronized Path binary() {
    if (compiled.isEmpty()) {
      try {
        Path folder = Files.createTempDirectory("hf-agent-");
        // The last one registered goes first.
        folder.toFile().deleteOnExit();
        Path binary = folder.resolve("agent");
        binary.toFile().deleteOnExit();
        // Static as in the image, and with every check that the compiler has.
        List<Object> command =
            new ArrayList<>(
                List.of(
                    "gcc",
                    "-std=c11",
                    "-O2",
                    "-static",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-o",
                    binary));
        for (String resource : VmSources.AGENT) {
          Path source = copied(resource, folder);
          if (resource.endsWith(".c")) {
            command.add(source);
          }
        }
        run(command.toArray());
        compiled = Optional.of(binary);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return compiled.get();
  }

  private static Path copied(String resource, Path folder) throws IOException {
    Path copy = folder.resolve(resource.substring(resource.lastIndexOf('/') + 1));
    try (InputStream in = AgentProcess.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new AssertionError("no resource " + resource);
      }
      Files.copy(in, copy);
    }
    copy.toFile().deleteOnExit();
    return copy;
  }

  /// Runs a program to its end; a failure fails the test.
  static String run(Object... words) {
    try {
      List<String> command = new ArrayList<>();
      for (Object word : words) {
        command.add(word.toString());
      }
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw new AssertionError(command + " failed: " + output);
      }
      return output;
    } catch (IOException e) {
      Assumptions.abort(words[0] + " cannot be run: " + e.getMessage());
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  /// Leaves the test out, and says why, unless `holds`.
  static void require(boolean holds, String otherwise) {
    if (!holds) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  /// The host's end of the port.
  UnixSocket socket() {
    return socket;
  }

  /// Where it makes logs and sockets.
  Path runFolder() {
    return run;
  }

  int pid() {
    return process.pid();
  }

  /// Waits for its end.
  Optional<Exit> exit(Duration limit) {
    return process.waitFor(limit);
  }

  @Override
  public void close() {
    socket.close();
    process.kill();
    process.waitFor();
    process.close();
  }
}
