package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// A virtual machine of this host with an agent of ours inside: the process that is its hardware,
/// the control channel through which devices come and go, and the agent. What can be done with each
/// is in its parts: [#programs], [#descriptors], [#channels], [#devices], [#folders], [#cards] and
/// [#windows]. [VmHardware] starts one. Thread-safe.
public final class VirtualMachine implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(VirtualMachine.class.getName());

  /// How long a device may take to come up inside.
  public static final Duration PLUG_LIMIT = Duration.ofSeconds(30);

  /// The agent is also the only other program of the image.
  public static final String AGENT = "/init";

  /// The name of the virtio-serial port that the agent serves.
  public static final String AGENT_PORT = "dev.hyperfresh.agent";

  /// Where the agent lets outlets be made, inside.
  public static final String RUN_FOLDER = "/run/hf";

  private static final int CLOCK_LOOKS = 8;

  private final Sockets sockets;
  private final VmProcess process;
  private final VmControl control;
  private final VmPrograms programs;
  private final VmDescriptors descriptors;
  private final VmDevices devices;
  private final VmChannels channels;
  private final VmFolders folders;
  private final VmCards cards;
  private final VmWindows windows;

  /// Reaches the machine that `process` is.
  ///
  /// @param label for people, such as `machine m1`
  /// @param translated whether QEMU's translator executes it
  /// @param files the folder with its logs
  /// @param patience how long its agent may take for its first answer
  /// @throws LinuxException when it cannot be reached
  /// @throws QemuControl.RefusedException when its hardware does not answer
  /// @throws AgentException when its agent does not
  public VirtualMachine(
      String label,
      boolean translated,
      Path files,
      Sockets sockets,
      HostProcess process,
      Duration patience) {
    this.sockets = sockets;
    this.process = new VmProcess(label, process);
    ProgramEnds ends = new ProgramEnds(this.process);
    try {
      this.control = VmControl.open(this.process, ends, sockets, files, patience);
    } catch (RuntimeException e) {
      this.process.release();
      this.process.awaitRelease();
      throw e;
    }
    this.programs = new VmPrograms(control, ends);
    this.descriptors = new VmDescriptors(control, this.process);
    this.devices = new VmDevices(control);
    this.channels = new VmChannels(control, devices);
    this.folders = new VmFolders(control, devices, channels);
    this.cards = new VmCards(control, devices);
    this.windows = new VmWindows(control, devices, descriptors, translated);
  }

  /// Where a machine is reached.
  ///
  /// @param qmp the socket of its hardware's control channel
  /// @param agent the socket of its agent
  public record Sockets(Path qmp, Path agent) {
    /// Of the machine `name` in `folder`, which has the mode 0700.
    ///
    /// @param kind what it is, so that names of different kinds do not meet
    public static Sockets of(Path folder, String name, String kind) {
      String prefix = name + "." + kind;
      return new Sockets(folder.resolve(prefix + ".qmp"), folder.resolve(prefix + ".agent"));
    }

    /// Removes both.
    public void remove() {
      removeAll(List.of(qmp, agent));
    }
  }

  /// The programs in it.
  public VmPrograms programs() {
    return programs;
  }

  /// The descriptors of ours that its hardware has.
  public VmDescriptors descriptors() {
    return descriptors;
  }

  /// The channels into it.
  public VmChannels channels() {
    return channels;
  }

  /// The devices that come and go, of whatever kind.
  public VmDevices devices() {
    return devices;
  }

  /// The folders of this host that it mounts.
  public VmFolders folders() {
    return folders;
  }

  /// The network cards that come and go.
  public VmCards cards() {
    return cards;
  }

  /// The windows onto memory that is not its own.
  public VmWindows windows() {
    return windows;
  }

  /// What its agent said when it came up.
  public Agent.Hello hello() {
    return control.hello();
  }

  /// Its agent.
  public Agent agent() {
    return control.agent();
  }

  /// The process on this host that is its hardware, by descriptor.
  public PidFd pidFd() {
    return process.pidFd();
  }

  /// The number of that process.
  public int pid() {
    return process.pid();
  }

  /// Whether it is gone.
  public boolean ended() {
    return process.ended();
  }

  /// Whether its process has ended, also when nobody was told yet.
  public boolean exited() {
    return process.exited();
  }

  /// Has `told` run once, on a thread that must not be held, when the machine ends.
  public void onEnd(Runnable told) {
    process.onEnd(told);
  }

  /// Runs a command of the machine's hardware.
  ///
  /// @throws TroubleException when it is refused
  public JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    return control.execute(command, arguments, descriptors);
  }

  /// Asks something of the agent.
  ///
  /// @throws TroubleException when it refuses or is silent
  public <T> T ask(Function<Agent, T> question) {
    return control.ask(question);
  }

  /// As [#ask], for what has no answer.
  public void tell(Consumer<Agent> order) {
    control.tell(order);
  }

  /// Does a step of clearing away, whose failure must not keep the next from being done.
  public void contained(Runnable step) {
    control.contained(step);
  }

  /// As [#contained], of something that may not be there.
  public void attempted(Runnable step) {
    control.attempted(step);
  }

  /// The machine's wall clock and this host's: what to add to the first to get the second,
  /// microseconds; true to within half of the fastest of some round trips.
  ///
  /// @throws TroubleException when the agent is silent
  public long clockOffsetMicros() {
    long best = Long.MAX_VALUE;
    long offset = 0;
    for (int i = 0; i < CLOCK_LOOKS; i++) {
      long before = Clock.realtimeNanos();
      long inside = ask(Agent::clock);
      long after = Clock.realtimeNanos();
      if (after - before < best) {
        best = after - before;
        offset = before + (after - before) / 2 - inside;
      }
    }
    return offset / 1000;
  }

  /// Whether it was let go of.
  public boolean released() {
    return process.released();
  }

  /// Lets go of the machine, which goes on with all that runs in it.
  public void letGo() {
    process.release();
    control.close();
    process.awaitRelease();
    process.close();
  }

  /// Ends the machine, and with it everything that runs in it. Does nothing the second time.
  @Override
  public void close() {
    process.kill();
    control.close();
    process.close();
    sockets.remove();
  }

  /// Removes files, as far as they are there.
  static void removeAll(List<Path> paths) {
    for (Path path : paths) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, path + " cannot be removed", e);
      }
    }
  }
}
