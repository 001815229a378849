package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// A virtual machine of this host with an agent of ours inside: the process that is its hardware,
/// the control channel through which devices come and go, and the agent. Thread-safe.
public final class VirtualMachine implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(VirtualMachine.class.getName());
  private static final String HARDWARE_LOG = "hardware.log";
  private static final String CONSOLE_LOG = "console.log";
  private static final int QMP_FD = 10;
  private static final int AGENT_FD = 11;

  /// From here on descriptors are a caller's of [#spawn].
  public static final int FIRST_FD = 12;

  /// QEMU `ACPI_MAX_RAM_SLOTS` is 256; a window takes one.
  private static final int SLOTS = 64;

  /// Windows are placed at multiples of 1 GiB.
  private static final long ROOM_BYTES = 64L << 30;

  /// `acpi_no_memhotplug`: a window that is plugged in is not to become memory of this kernel.
  private static final String KERNEL_OPTIONS = "console=ttyS0 quiet acpi_no_memhotplug panic=-1";

  private static final Duration START_LIMIT = Duration.ofSeconds(30);

  /// How long a device may take to come up inside.
  public static final Duration PLUG_LIMIT = Duration.ofSeconds(30);

  private static final int CLOCK_LOOKS = 8;
  private static final Duration UNPLUG_LIMIT = Duration.ofSeconds(20);
  private static final long LOOK_NANOS = 5_000_000;
  private static final long HOLD_MICROS = 4_000_000_000L;

  /// The agent is also the only other program of the image.
  public static final String AGENT = "/init";

  /// The name of the virtio-serial port that the agent serves.
  public static final String AGENT_PORT = "dev.hyperfresh.agent";

  /// Where the agent lets outlets be made, inside.
  public static final String RUN_FOLDER = "/run/hf";

  /// More programs than an agent runs at once (`CHILDREN` in agent.c).
  static final int MAX_EARLY = 256;

  private static final int MOST_WORDS = 3;
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);
  private static final Duration END_LOOK = Duration.ofMillis(20);

  /// How soon it is seen that a machine is let go of.
  private static final Duration LOOK = Duration.ofMillis(200);

  /// A card whose packets always have the same header, 10 bytes, and never more than one segment.
  ///
  /// Header length and offloads belong to the whole port and not to one queue of it. A card sets
  /// them for whatever its driver negotiates, and again when it is reset: so a card that is
  /// unplugged after its guest has left would change them under the next hypervisor. This one has
  /// nothing to set.
  private static final Map<String, Object> PLAIN_CARD =
      Map.ofEntries(
          Map.entry("disable-modern", true),
          Map.entry("disable-legacy", "off"),
          Map.entry("mrg_rxbuf", false),
          Map.entry("ctrl_guest_offloads", false),
          Map.entry("guest_csum", false),
          Map.entry("guest_tso4", false),
          Map.entry("guest_tso6", false),
          Map.entry("guest_ecn", false),
          Map.entry("guest_ufo", false),
          Map.entry("guest_uso4", false),
          Map.entry("guest_uso6", false));

  private final String label;
  private final boolean translated;
  private final Sockets sockets;
  private final HostProcess process;
  private final QemuControl control;
  private final Agent agent;
  private final Agent.Hello hello;

  /// Held while memories come and go.
  private final Object memories = new Object();

  /// The processes inside that are watched, by their numbers there.
  private final Map<Integer, Consumer<Agent.Exited>> watched = new ConcurrentHashMap<>();

  /// What ended before anybody watched it, the newest ends. Guarded by `watched`.
  private final LinkedHashMap<Integer, Agent.Exited> early = new LinkedHashMap<>();

  /// What is to run when the machine has ended. Guarded by `watched`.
  private final List<Runnable> ends = new ArrayList<>();

  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread watcher;
  private volatile boolean released;

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
    this.label = label;
    this.translated = translated;
    this.sockets = sockets;
    this.process = process;
    this.watcher =
        Thread.ofPlatform()
            .name("hf-" + label.replace(' ', '-'))
            .daemon()
            .start(this::awaitProcess);
    QemuControl opened = null;
    Agent reached = null;
    try {
      opened =
          QemuControl.open(
              UnixSocket.connect(sockets.qmp()), label, files.resolve("qmp.log"), START_LIMIT);
      reached = Agent.over(UnixSocket.connect(sockets.agent()), this::exited);
      this.control = opened;
      this.agent = reached;
      this.hello = reached.awaitHello(patience);
    } catch (RuntimeException e) {
      if (opened != null) {
        opened.close();
      }
      if (reached != null) {
        reached.close();
      }
      release();
      throw e;
    }
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

  /// Whether process `pid` inside is one of the agent's that runs.
  ///
  /// @throws TroubleException when the agent is silent
  public boolean runs(int pid) {
    try {
      var _ = agent.state(pid);
      return true;
    } catch (AgentException e) {
      if (e.refused()) {
        return false;
      }
      throw new TroubleException(label + ": " + e.getMessage(), e);
    }
  }

  /// Ends a process inside that nobody watches.
  ///
  /// @throws TroubleException when that is not certain
  public void endInside(int pid) {
    try {
      agent.signal(pid, Signals.KILL);
    } catch (AgentException e) {
      if (!e.refused()) {
        throw new TroubleException(label + ": " + e.getMessage(), e);
      }
    }
    long deadline = Clock.monotonicNanos() + KILL_LIMIT.toNanos();
    while (runs(pid)) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException("process " + pid + " of " + label + " lives on");
      }
      LockSupport.parkNanos(END_LOOK.toNanos());
    }
  }

  /// What a kind of virtual machines has of its own.
  ///
  /// @param kind as in [Sockets#of]
  /// @param machine QEMU's machine type, and its options
  /// @param cpu the model, and its flags
  /// @param kernelOptions beside those that all have
  /// @param more options of QEMU
  public record Board(
      String kind, String machine, String cpu, String kernelOptions, List<String> more) {
    /// Copies the list.
    public Board {
      more = List.copyOf(more);
    }
  }

  /// Starts the hardware of a machine; its kernel's words and its own go to `console.log` and
  /// `hardware.log` in `files`.
  ///
  /// @param descriptors what the board's options refer to by number, from [#FIRST_FD]
  /// @throws LinuxException when it cannot be started
  public static HostProcess spawn(
      VmSettings<?> settings,
      Board board,
      Map<Integer, Fd> descriptors,
      Path files,
      Sockets sockets) {
    sockets.remove();
    removeAll(List.of(files.resolve(HARDWARE_LOG), files.resolve(CONSOLE_LOG)));
    QemuRelease hardware = settings.hardware();
    List<String> command = command(hardware, board.kind() + "-" + settings.name(), files);
    command.addAll(board.more());
    command.addAll(options(settings, board));
    try (UnixSocket qmp = UnixSocket.listen(sockets.qmp(), 0600);
        UnixSocket agent = UnixSocket.listen(sockets.agent(), 0600)) {
      Map<Integer, Fd> all = new LinkedHashMap<>(descriptors);
      all.put(QMP_FD, qmp.fd());
      all.put(AGENT_FD, agent.fd());
      return HostProcess.of(
          ChildProcess.spawn(
              new ChildProcess.Request(
                  command, hardware.environment(), all, files.resolve(HARDWARE_LOG), true)));
    }
  }

  private static List<String> options(VmSettings<?> settings, Board board) {
    long room = Host.totalMemoryBytes() * 2 + ROOM_BYTES;
    return List.of(
        "-machine",
        board.machine(),
        "-accel",
        settings.accelerator().label(),
        "-cpu",
        board.cpu(),
        "-smp",
        Integer.toString(settings.vcpus()),
        "-m",
        (settings.memoryBytes() >> 20)
            + "M,slots="
            + SLOTS
            + ",maxmem="
            + ((settings.memoryBytes() + room) >> 20)
            + "M",
        "-kernel",
        settings.release().kernel().toString(),
        "-initrd",
        settings.release().initrd().toString(),
        "-append",
        KERNEL_OPTIONS + " " + board.kernelOptions());
  }

  private static List<String> command(QemuRelease hardware, String name, Path files) {
    List<String> line = new ArrayList<>();
    line.add(hardware.binary().toString());
    line.addAll(hardware.arguments());
    line.addAll(List.of("-name", "guest=" + name + ",debug-threads=on"));
    line.addAll(List.of("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"));
    line.addAll(QemuControl.SANDBOX);
    line.addAll(
        List.of(
            "-chardev",
            "file,id=kernel,path="
                + files.resolve(CONSOLE_LOG).toString().replace(",", ",,")
                + ",append=on"));
    line.addAll(List.of("-serial", "chardev:kernel"));
    line.addAll(List.of("-chardev", "socket,id=qmp,fd=" + QMP_FD + ",server=on,wait=off"));
    line.addAll(List.of("-mon", "chardev=qmp,mode=control"));
    line.addAll(List.of("-device", "virtio-serial-pci,id=ports,max_ports=255"));
    line.addAll(List.of("-chardev", "socket,id=agent,fd=" + AGENT_FD + ",server=on,wait=off"));
    line.addAll(
        List.of("-device", "virtserialport,bus=ports.0,nr=1,chardev=agent,name=" + AGENT_PORT));
    return line;
  }

  /// The last that the hardware and the kernel of a machine said, as sentences; empty when nothing.
  ///
  /// @param files the folder with its logs
  public static String lastWords(Path files) {
    return said(files.resolve(HARDWARE_LOG), " Its hardware said: ")
        + said(files.resolve(CONSOLE_LOG), " Its kernel said: ");
  }

  private static String said(Path log, String introduction) {
    try {
      List<String> lines = new LogFile(log).lastLines();
      int from = Math.max(0, lines.size() - MOST_WORDS);
      return lines.isEmpty()
          ? ""
          : introduction + String.join(" / ", lines.subList(from, lines.size()));
    } catch (IOException e) {
      return "";
    }
  }

  private void awaitProcess() {
    while (!process.awaitEnd(LOOK)) {
      if (released) {
        return;
      }
    }
    ended.countDown();
    Map<Integer, Consumer<Agent.Exited>> left;
    List<Runnable> whoWaits;
    synchronized (watched) {
      left = Map.copyOf(watched);
      watched.clear();
      whoWaits = List.copyOf(ends);
      ends.clear();
    }
    left.forEach((pid, end) -> end.accept(lost(pid)));
    whoWaits.forEach(Runnable::run);
  }

  private Agent.Exited lost(int pid) {
    return new Agent.Exited(pid, Signals.KILL, label + " ended");
  }

  private void exited(Agent.Exited exit) {
    Consumer<Agent.Exited> end;
    synchronized (watched) {
      end = watched.remove(exit.pid());
      if (end == null) {
        early.putLast(exit.pid(), exit);
        if (early.size() > MAX_EARLY) {
          early.pollFirstEntry();
        }
      }
    }
    if (end != null) {
      end.accept(exit);
    }
  }

  /// Has `end` told once, on a thread that must not be held, when process `pid` inside ends or the
  /// machine does.
  public void watch(int pid, Consumer<Agent.Exited> end) {
    Agent.Exited before;
    synchronized (watched) {
      before = ended() ? lost(pid) : early.remove(pid);
      if (before == null) {
        watched.put(pid, end);
      }
    }
    if (before != null) {
      end.accept(before);
    }
  }

  /// Has `told` run once, on a thread that must not be held, when the machine ends.
  public void onEnd(Runnable told) {
    boolean now;
    synchronized (watched) {
      now = ended();
      if (!now) {
        ends.add(told);
      }
    }
    if (now) {
      told.run();
    }
  }

  /// Takes back what [#watch] was told.
  public void unwatch(int pid) {
    synchronized (watched) {
      watched.remove(pid);
    }
  }

  /// Runs a program inside, which is to go well.
  ///
  /// @return what it printed
  /// @throws TroubleException when it fails, or does not end within `limit`
  public String run(List<String> command, Duration limit) {
    Agent.Exited result = runToEnd(command, limit);
    if (result.status() != 0) {
      throw new TroubleException(label + ": " + command + " failed: " + result.tail().strip());
    }
    return result.tail().strip();
  }

  /// Runs a program inside to its end, whatever that is.
  ///
  /// @throws TroubleException when it cannot be started, or does not end within `limit`
  public Agent.Exited runToEnd(List<String> command, Duration limit) {
    return await(begin(command), command, limit);
  }

  /// Starts a program inside.
  ///
  /// @return its end, which comes on a thread that must not be held
  /// @throws TroubleException when it cannot be started
  public CompletableFuture<Agent.Exited> begin(List<String> command) {
    int pid = ask(a -> a.start(new Agent.Program(command, Map.of(), List.of())));
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
      throw new TroubleException(label + ": " + command + " does not end", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new TroubleException(label + ": interrupted", e);
    }
  }

  /// What its agent said when it came up.
  public Agent.Hello hello() {
    return hello;
  }

  /// Its agent.
  public Agent agent() {
    return agent;
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
    return ended.getCount() == 0;
  }

  /// Whether its process has ended, also when nobody was told yet.
  public boolean exited() {
    return ended() || process.pidFd().exited();
  }

  /// Runs a command of the machine's hardware.
  ///
  /// @throws TroubleException when it is refused
  public JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    try {
      return control.execute(command, arguments, descriptors);
    } catch (QemuControl.RefusedException e) {
      throw new TroubleException(label + ": " + e.getMessage(), e);
    }
  }

  /// Asks something of the agent.
  ///
  /// @throws TroubleException when it refuses or is silent
  public <T> T ask(Function<Agent, T> question) {
    try {
      return question.apply(agent);
    } catch (AgentException e) {
      throw new TroubleException(label + ": " + e.getMessage(), e);
    }
  }

  /// As [#ask], for what has no answer.
  public void tell(Consumer<Agent> order) {
    var _ =
        ask(a -> {
          order.accept(a);
          return true;
        });
  }

  /// Gives the hardware a copy of a descriptor, has it used, and takes the copy back.
  ///
  /// @param use gets the number of the set and of the descriptor
  public void lend(Fd descriptor, BiConsumer<Integer, Integer> use) {
    JsonNode lent = execute("add-fd", Map.of(), descriptor);
    int set = lent.path("fdset-id").asInt();
    try {
      use.accept(set, lent.path("fd").asInt());
    } finally {
      forget(set);
    }
  }

  /// Gives the hardware a copy of a descriptor to keep for the next daemon.
  public void keep(String name, Fd descriptor) {
    execute("add-fd", Map.of("opaque", name), descriptor);
  }

  /// Has the hardware close what it keeps under that name.
  public void forget(String name) {
    execute("query-fdsets", Map.of())
        .forEach(set -> {
          if (names(set).contains(name)) {
            forget(set.path("fdset-id").asInt());
          }
        });
  }

  /// A copy of what the hardware keeps under that name, if it does.
  ///
  /// @throws TroubleException when it may not be copied
  public Optional<Fd> kept(String name) {
    for (JsonNode set : execute("query-fdsets", Map.of())) {
      for (JsonNode fd : set.path("fds")) {
        if (fd.path("opaque").asString("").equals(name)) {
          return Optional.of(copy(fd.path("fd").asInt()));
        }
      }
    }
    return Optional.empty();
  }

  /// Whether the hardware has a queue of the tap called `name`.
  public boolean hasQueue(String name) {
    return HardwareFiles.hasQueue(pid(), name);
  }

  /// A copy of the queue that the hardware has of the tap called `name`.
  ///
  /// @throws TroubleException when it has none, or it may not be copied
  public Fd copyQueue(String name) {
    return copy(HardwareFiles.queue(pid(), name));
  }

  /// A copy of a descriptor of the hardware.
  ///
  /// @throws TroubleException when it may not be copied
  public Fd copy(int number) {
    try {
      return process.pidFd().takeFd(number);
    } catch (LinuxException e) {
      throw new TroubleException(label + ": " + e.getMessage(), e);
    }
  }

  /// What was only lent, by a daemon that did not live to take it back. It would keep pipes open.
  public void forgetUnnamed() {
    execute("query-fdsets", Map.of())
        .forEach(set -> {
          if (names(set).stream().allMatch(String::isEmpty)) {
            contained(() -> forget(set.path("fdset-id").asInt()));
          }
        });
  }

  private static List<String> names(JsonNode set) {
    List<String> names = new ArrayList<>();
    set.path("fds").forEach(fd -> names.add(fd.path("opaque").asString("")));
    return names;
  }

  private void forget(int set) {
    execute("remove-fd", Map.of("fdset-id", set));
  }

  /// A character device of the hardware.
  public void addChannel(String id, String type, Map<String, ?> data, Fd... descriptors) {
    if (descriptors.length > 0) {
      execute("getfd", Map.of("fdname", id), descriptors);
    }
    execute("chardev-add", Map.of("id", id, "backend", backend(type, data)));
  }

  /// A character device that is a socket.
  ///
  /// @return its other end, connected
  public UnixSocket addSocket(String id) {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket far = pair.right()) {
      addChannel(id, "socket", connected(id), far.fd());
      return pair.left();
    } catch (RuntimeException e) {
      pair.left().close();
      throw e;
    }
  }

  /// Of a socket that is connected already, and was given to the hardware under that name.
  public static Map<String, ?> connected(String descriptor) {
    return Map.of("addr", Map.of("type", "fd", "data", Map.of("str", descriptor)), "server", false);
  }

  /// Puts another backend under a character device.
  public void changeChannel(String id, String type, Map<String, ?> data) {
    execute("chardev-change", Map.of("id", id, "backend", backend(type, data)));
  }

  private static Map<String, ?> backend(String type, Map<String, ?> data) {
    return Map.of("type", type, "data", data);
  }

  /// A port of the machine, called like the character device behind it.
  ///
  /// @return the path by which a process inside opens it
  public String addPort(String id) {
    execute(
        "device_add",
        Map.of(
            "driver",
            "virtserialport",
            "bus",
            "ports.0",
            "id",
            id + ".port",
            "chardev",
            id,
            "name",
            id));
    return ask(a -> a.port(id, PLUG_LIMIT));
  }

  /// Takes a port away, and leaves the character device behind it.
  public void removePort(String id) {
    unplug(id + ".port");
  }

  /// Takes a character device away.
  public void removeChannel(String id) {
    execute("chardev-remove", Map.of("id", id));
  }

  /// Plugs in a device of the PCI bus.
  public void plug(String id, String driver, Map<String, ?> properties) {
    Map<String, Object> arguments = new LinkedHashMap<>(properties);
    arguments.put("id", id);
    arguments.put("driver", driver);
    execute("device_add", arguments);
  }

  /// Unplugs a device, with the consent of the machine's kernel.
  public void unplug(String id) {
    execute("device_del", Map.of("id", id));
    if (!control.awaitDeleted(id, UNPLUG_LIMIT)) {
      throw new TroubleException(label + " does not let go of device " + id);
    }
  }

  /// Plugs in a network card that leaves the port it is on as it is.
  ///
  /// @param id of the card
  /// @param mac its own address
  /// @param queue a queue of the port
  public void addCard(String id, String mac, Fd queue) {
    addCard(id, mac, queue, Map.of("type", "tap", "id", id, "fd", id), Map.of());
  }

  /// As [#addCard(String, String, Fd)], behind a bridge.
  ///
  /// @param bus of the bridge
  public void addCard(String id, String mac, Fd queue, String bus) {
    addCard(id, mac, queue, Map.of("type", "tap", "id", id, "fd", id), Map.of("bus", bus));
  }

  /// Plugs in a network card that is connected to one of another machine, which has the other end
  /// of `socket` (QEMU's `NetdevSocketOptions`).
  ///
  /// @param socket a connected stream socket; the machine gets a copy
  /// @param bus of a bridge
  /// @throws TroubleException when it is refused; nothing is left of it then
  public void addLink(String id, String mac, Fd socket, String bus) {
    addCard(id, mac, socket, Map.of("type", "socket", "id", id, "fd", id), Map.of("bus", bus));
  }

  private void addCard(
      String id, String mac, Fd fd, Map<String, Object> backend, Map<String, Object> place) {
    execute("getfd", Map.of("fdname", id), fd);
    execute("netdev_add", backend);
    Map<String, Object> card = new LinkedHashMap<>(PLAIN_CARD);
    card.putAll(place);
    card.putAll(Map.of("netdev", id, "mac", mac, "romfile", ""));
    try {
      plug(id + ".device", "virtio-net-pci", card);
    } catch (TroubleException e) {
      contained(() -> execute("netdev_del", Map.of("id", id)));
      throw e;
    }
  }

  /// Plugs in a folder of this host, which somebody else serves (virtio-fs).
  ///
  /// @param id of the device and of the connection behind it
  /// @param tag by which the machine's kernel mounts it
  /// @param server a connected socket to the server; the machine gets a copy
  /// @param bus of a bridge
  /// @throws TroubleException when it is refused; nothing is left of it then
  public void addFolder(String id, String tag, Fd server, String bus) {
    addChannel(id, "socket", connected(id), server);
    try {
      plug(id + ".device", "vhost-user-fs-pci", Map.of("chardev", id, "tag", tag, "bus", bus));
    } catch (TroubleException e) {
      contained(() -> removeChannel(id));
      throw e;
    }
  }

  /// Takes such a folder away, which the machine's kernel must have unmounted, and with it the
  /// connection.
  ///
  /// @throws TroubleException when the machine does not let go of it
  public void removeFolder(String id) {
    unplug(id + ".device");
    removeChannel(id);
  }

  /// As [#removeFolder], of something of which only a part may be there.
  public void clearFolder(String id) {
    attempted(() -> unplug(id + ".device"));
    attempted(() -> removeChannel(id));
    attempted(() -> execute("closefd", Map.of("fdname", id)));
  }

  /// The bus of a bridge behind which another device has room, if there is one. A bridge that was
  /// there when the machine started has 31 places for devices that come and go.
  ///
  /// @param places how many of them may be taken
  public Optional<String> bridgeWithRoom(int places) {
    for (JsonNode bus : execute("query-pci", Map.of())) {
      for (JsonNode device : bus.path("devices")) {
        JsonNode bridge = device.path("pci_bridge");
        if (bridge.isObject() && bridge.path("devices").size() < places) {
          return Optional.of(device.path("qdev_id").asString(""));
        }
      }
    }
    return Optional.empty();
  }

  /// Packets for a card wait in the hardware from now on, in their order (`filter-buffer`). The
  /// interval after which QEMU would deliver them by itself is the longest there is, more than an
  /// hour.
  public void holdCard(String id) {
    execute(
        "object-add",
        Map.of(
            "qom-type",
            "filter-buffer",
            "id",
            id + ".hold",
            "netdev",
            id,
            "queue",
            "tx",
            "interval",
            HOLD_MICROS));
  }

  /// The card gets what has waited since [#holdCard], and what comes.
  public void deliverToCard(String id) {
    execute("object-del", Map.of("id", id + ".hold"));
  }

  /// Whether a card neither sends nor receives.
  public void silenceCard(String id, boolean silent) {
    execute("set_link", Map.of("name", id, "up", !silent));
  }

  /// Takes a network card away.
  public void removeCard(String id) {
    try {
      unplug(id + ".device");
    } finally {
      execute("netdev_del", Map.of("id", id));
    }
  }

  /// As [#removeCard], of a card of which only a part may be there.
  public void clearCard(String id) {
    attempted(() -> removeCard(id));
    attempted(() -> execute("closefd", Map.of("fdname", id)));
  }

  /// Takes a port and the character device behind it away, of which only a part may be there.
  public void clearPort(String id) {
    attempted(() -> removePort(id));
    attempted(() -> removeChannel(id));
    attempted(() -> execute("closefd", Map.of("fdname", id)));
  }

  /// Takes the memory behind a window away.
  ///
  /// QEMU's translator finds translated code by the address that the memory had in its own list of
  /// memories, and forgets none of it when the memory goes. Another guest that got these addresses
  /// would run the code of the first: seen as a guest whose BIOS did not find its memory. So, where
  /// a machine is translated, they are given to a piece of memory that nobody ever touches.
  public void removeMemory(String id) {
    synchronized (memories) {
      long bytes = bytesOf(id);
      long before = countMemories();
      execute("object-del", Map.of("id", id));
      if (translated) {
        spend(id, bytes, before);
      }
    }
  }

  private long bytesOf(String memory) {
    for (JsonNode backend : execute("query-memdev", Map.of())) {
      if (backend.path("id").asString("").equals(memory)) {
        return backend.path("size").asLong();
      }
    }
    throw new TroubleException(label + " has no memory " + memory);
  }

  private void spend(String id, long bytes, long before) {
    long deadline = Clock.monotonicNanos() + UNPLUG_LIMIT.toNanos();
    while (countMemories() >= before) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException(label + " does not let go of memory " + id);
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    execute(
        "object-add",
        Map.of(
            "qom-type",
            "memory-backend-ram",
            "id",
            id + ".spent",
            "size",
            bytes,
            "reserve",
            false));
  }

  /// A memory without a device has no name in this list, and can be seen there by its number alone.
  private long countMemories() {
    return execute("human-monitor-command", Map.of("command-line", "info ramblock"))
        .asString("")
        .lines()
        .count();
  }

  /// Adds memory from a file that the hardware has open.
  public void addMemory(String id, long bytes, int descriptor) {
    synchronized (memories) {
      execute(
          "object-add",
          Map.of(
              "qom-type",
              "memory-backend-file",
              "id",
              id,
              "size",
              bytes,
              "mem-path",
              "/proc/self/fd/" + descriptor,
              "share",
              true));
    }
  }

  /// Takes a window from the machine. Its kernel knows nothing of windows, so that its agent does
  /// what a kernel would.
  public void eject(String dimm, int slot) {
    tell(a -> a.eject(slot));
    if (!control.awaitDeleted(dimm, UNPLUG_LIMIT)) {
      throw new TroubleException(label + " does not let go of window " + dimm);
    }
  }

  /// Does a step of clearing away, whose failure must not keep the next from being done.
  public void contained(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      if (!ended()) {
        LOG.log(System.Logger.Level.WARNING, label + " was not cleared up", e);
      }
    }
  }

  /// As [#contained], of something that may not be there.
  public void attempted(Runnable step) {
    try {
      step.run();
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.DEBUG, "nothing to clear up in " + label, e);
    }
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
    return released;
  }

  /// Lets go of the machine, which goes on with all that runs in it.
  public void letGo() {
    released = true;
    agent.close();
    control.close();
    release();
    process.close();
  }

  /// Nobody waits for the end of the process any more.
  private void release() {
    released = true;
    try {
      watcher.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Ends the machine, and with it everything that runs in it. Does nothing the second time.
  @Override
  public void close() {
    try {
      process.kill();
    } catch (LinuxException | ClosedException | QemuProcess.TroubleException e) {
      if (!ended()) {
        throw Problem.INTERNAL.because(
            "Process " + pid() + " of " + label + " lives on: " + e.getMessage(), e);
      }
    }
    awaitEnd();
    agent.close();
    control.close();
    process.close();
    sockets.remove();
  }

  private void awaitEnd() {
    try {
      if (!ended.await(KILL_LIMIT.toSeconds(), TimeUnit.SECONDS)) {
        throw Problem.INTERNAL.because("Process " + pid() + " of " + label + " lives on.");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void removeAll(List<Path> paths) {
    for (Path path : paths) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, path + " cannot be removed", e);
      }
    }
  }
}
