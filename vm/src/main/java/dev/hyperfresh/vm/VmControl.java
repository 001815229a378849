package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuControl;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// The two ways to a virtual machine: the control channel of its hardware and the connection to its
/// agent. What is refused on either is a trouble that names the machine. Thread-safe.
final class VmControl implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(VmControl.class.getName());
  private static final Duration START_LIMIT = Duration.ofSeconds(30);

  /// How long the hardware, or the machine's kernel, may take to let go of something.
  static final Duration UNPLUG_LIMIT = Duration.ofSeconds(20);

  private final VmProcess process;
  private final QemuControl hardware;
  private final Agent agent;
  private final Agent.Hello hello;

  private VmControl(VmProcess process, QemuControl hardware, Agent agent, Agent.Hello hello) {
    this.process = process;
    this.hardware = hardware;
    this.agent = agent;
    this.hello = hello;
  }

  /// Opens both.
  ///
  /// @param ends are told of programs that end inside
  /// @param files the folder with the machine's logs
  /// @param patience how long the agent may take for its first answer
  /// @throws LinuxException when the machine cannot be reached
  /// @throws QemuControl.RefusedException when its hardware does not answer
  /// @throws AgentException when its agent does not
  static VmControl open(
      VmProcess process,
      ProgramEnds ends,
      VirtualMachine.Sockets sockets,
      Path files,
      Duration patience) {
    QemuControl hardware =
        QemuControl.open(
            UnixSocket.connect(sockets.qmp()),
            process.label(),
            files.resolve("qmp.log"),
            START_LIMIT);
    try {
      Agent agent = Agent.over(UnixSocket.connect(sockets.agent()), ends::exited);
      try {
        return new VmControl(process, hardware, agent, agent.awaitHello(patience));
      } catch (RuntimeException e) {
        agent.close();
        throw e;
      }
    } catch (RuntimeException e) {
      hardware.close();
      throw e;
    }
  }

  /// The machine, for people.
  String label() {
    return process.label();
  }

  Agent agent() {
    return agent;
  }

  Agent.Hello hello() {
    return hello;
  }

  /// Runs a command of the hardware.
  ///
  /// @throws TroubleException when it is refused
  JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    try {
      return hardware.execute(command, arguments, descriptors);
    } catch (QemuControl.RefusedException e) {
      throw new TroubleException(label() + ": " + e.getMessage(), e);
    }
  }

  /// Waits until the machine's kernel has let go of a device.
  ///
  /// @param what it is, for people
  /// @throws TroubleException when it does not, within [#UNPLUG_LIMIT]
  void awaitDeleted(String what, String id) {
    if (!hardware.awaitDeleted(id, UNPLUG_LIMIT)) {
      throw new TroubleException(label() + " does not release " + what + " " + id);
    }
  }

  /// Asks something of the agent.
  ///
  /// @throws TroubleException when it refuses or is silent
  <T> T ask(Function<Agent, T> question) {
    try {
      return question.apply(agent);
    } catch (AgentException e) {
      throw new TroubleException(label() + ": " + e.getMessage(), e);
    }
  }

  /// As [#ask], for what has no answer.
  void tell(Consumer<Agent> order) {
    var _ =
        ask(a -> {
          order.accept(a);
          return true;
        });
  }

  /// Does a step of clearing away, whose failure must not keep the next from being done.
  void contained(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      if (!process.ended()) {
        LOG.log(System.Logger.Level.WARNING, label() + " was not cleaned up", e);
      }
    }
  }

  /// As [#contained], of something that may not be there.
  void attempted(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.DEBUG, "nothing to clean up in " + label(), e);
    }
  }

  /// Ends both; the machine goes on.
  @Override
  public void close() {
    agent.close();
    hardware.close();
  }
}
