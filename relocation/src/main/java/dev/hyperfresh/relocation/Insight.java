package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.Agent;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/// What somebody outside sees of the inside of containers: what they have written, what they use,
/// and what a program in them says. Thread-safe.
final class Insight {
  private static final Duration EXEC_LIMIT = Duration.ofMinutes(10);
  private static final int MOST_OUTPUT_BYTES = 4 << 20;

  private final Containers containers;

  /// Of the files for what programs print. No name comes again under another daemon: an OS knows
  /// for a second which file a name was, and would write to one that has been deleted.
  private final AtomicLong outputs = new AtomicLong(System.currentTimeMillis());

  Insight(Containers containers) {
    this.containers = containers;
  }

  /// See [Systems#execute].
  Systems.Executed execute(String name, List<String> command) {
    Container container = containers.all().get(name);
    if (command.isEmpty()) {
      throw Problem.API_REQUEST.because("There is no command.");
    }
    return Held.during(
        container,
        () -> {
          String file = "exec." + outputs.incrementAndGet();
          try {
            Agent.Exited end =
                new Inside(container.os(), container.spec()).execute(file, command, EXEC_LIMIT);
            return new Systems.Executed(
                end.code().orElseGet(() -> 128 + end.signal().orElse(0)),
                printed(container.folder(), file, end));
          } finally {
            container.folder().removeOutput(file);
          }
        });
  }

  private static String printed(ContainerFolder folder, String file, Agent.Exited end)
      throws IOException {
    return folder
        .output(file, MOST_OUTPUT_BYTES)
        .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
        .orElse(end.tail());
  }

  /// See [Systems#stats].
  ContainerStats stats(String name) {
    Container container = containers.all().get(name);
    try {
      return new Inside(container.os(), container.spec()).stats();
    } catch (TroubleException e) {
      throw Problem.CONTAINER_STATE.because(name + ": " + e.getMessage() + ".", e);
    }
  }

  /// Of a container that is there, whether it runs or not.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_UNKNOWN]
  private ContainerFolder folderOf(String name) {
    return containers.all().folderOf(containers.views().get(name).name());
  }

  /// See [Systems#logOf].
  ContainerLog logOf(String name) {
    return new ContainerLog(folderOf(name).share());
  }

  /// See [Systems#log].
  String log(String name) {
    ContainerFolder folder = folderOf(name);
    try {
      return new String(folder.log(MOST_OUTPUT_BYTES), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder.log() + ": " + e.getMessage(), e);
    }
  }
}
