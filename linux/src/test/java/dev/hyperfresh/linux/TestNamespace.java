package dev.hyperfresh.linux;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/// A network namespace for one test class, away from the network of the host.
final class TestNamespace implements AutoCloseable {
  private final String name;

  private TestNamespace(String name) {
    this.name = name;
  }

  static TestNamespace create(String label) {
    Here.requireRoot();
    Here.requireProgram("ip");
    String name = "hf-" + label + "-" + ProcessHandle.current().pid();
    Here.run("ip", "netns", "add", name);
    return new TestNamespace(name);
  }

  Path file() {
    Path run = Path.of("/run/netns", name);
    return Files.exists(run) ? run : Path.of("/var/run/netns", name);
  }

  <T> T within(Supplier<T> body) {
    return Host.inNetworkNamespace(file(), body);
  }

  String ip(String... arguments) {
    List<String> command = new ArrayList<>(List.of("ip", "-n", name));
    command.addAll(List.of(arguments));
    return Here.run(command.toArray(String[]::new));
  }

  @Override
  public void close() {
    Here.run("ip", "netns", "del", name);
  }
}
