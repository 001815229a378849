package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/// A network namespace of a test's own, removed at its end with all that was made in it.
final class TestNetwork implements AutoCloseable {
  private final String name = "hf-test-" + ProcessHandle.current().pid();

  private TestNetwork() {}

  /// Makes one, or leaves the test out where that is not possible.
  static TestNetwork create() {
    Workshop.require(Host.effectiveUid() == 0, "a network namespace needs root");
    Workshop.require(Files.exists(Path.of("/dev/net/tun")), "there is no /dev/net/tun");
    TestNetwork network = new TestNetwork();
    try {
      run("ip", "netns", "add", network.name);
    } catch (AssertionError e) {
      Workshop.require(false, "no network namespace can be made: " + e.getMessage());
    }
    return network;
  }

  /// Runs `body` inside; taps and sockets made there stay there.
  <T> T within(Supplier<T> body) {
    return Host.inNetworkNamespace(path(), body);
  }

  /// The words that start a program inside.
  List<String> prefix() {
    return List.of("ip", "netns", "exec", name);
  }

  /// Runs `ip` of iproute2 inside and gives what it prints.
  String ip(String... arguments) {
    List<String> command = new ArrayList<>(List.of("ip", "-n", name));
    command.addAll(List.of(arguments));
    return run(command.toArray(String[]::new));
  }

  /// The file of the namespace.
  Path path() {
    return Path.of("/run/netns", name);
  }

  /// Names of the interfaces inside.
  List<String> interfaces() {
    return ip("-brief", "link").lines().map(line -> line.split("[ @]+", 2)[0]).toList();
  }

  static String run(String... command) {
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      int code = process.waitFor();
      // Otherwise they stay open until the collector finds them, and look like leaks.
      process.getOutputStream().close();
      process.getInputStream().close();
      process.getErrorStream().close();
      if (code != 0) {
        throw new AssertionError(String.join(" ", command) + ": " + said.strip());
      }
      return said;
    } catch (IOException e) {
      throw new AssertionError(String.join(" ", command) + ": " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted", e);
    }
  }

  @Override
  public void close() {
    run("ip", "netns", "del", name);
  }
}
