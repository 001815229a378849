package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.Agent;
import dev.hyperfresh.machine.AgentException;
import dev.hyperfresh.machine.VirtualMachine;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/// An operating system for containers, in a virtual machine whose memory the hyperplexor owns: so
/// it can be mapped into the next one. Thread-safe.
public final class OsVm implements AutoCloseable {
  /// Where containers' folders are inside.
  static final String CONTAINERS = "/containers";

  /// Programs of ours inside.
  static final String PROGRAMS = "/usr/lib/hyperfresh";

  /// Where networks of containers have names inside.
  static final String NETWORKS = "/run/netns";

  private static final String KIND = "os";
  private static final String FILES = "files";

  /// Each has 31 places, and a container has up to two devices. They are there from the beginning,
  /// since the ACPI of this machine type tells a kernel of devices behind such bridges alone.
  private static final int BRIDGES = 4;

  private static final int BRIDGE_PLACES = 31;

  /// How many containers an OS holds, with those that are on their way to it. Each has a place for
  /// its folder and one for its card; four are left for moves that copy.
  static final int MOST_CONTAINERS = 60;

  private static final int MEMORY_FD = VirtualMachine.FIRST_FD;

  /// QEMU `ACPI_MAX_RAM_SLOTS` is 256; the memory of an older OS takes one.
  private static final int SLOTS = 64;

  /// Memories of other operating systems are placed at multiples of 1 GiB.
  private static final long ROOM_BYTES = 64L << 30;

  /// QEMU `pc_init1`: a machine of this type with this much memory or more has only the first
  /// [#LOW_BYTES] of it below 4 GiB, the rest from there on.
  private static final long SPLIT_FROM_BYTES = 0xe000_0000L;

  private static final long LOW_BYTES = 0xc000_0000L;

  /// Translated on a busy host it takes tens of seconds.
  private static final Duration BOOT_LIMIT = Duration.ofMinutes(4);

  private static final Duration SET_UP_LIMIT = Duration.ofSeconds(60);

  /// How long an OS in which something does not end may take to say where.
  private static final Duration TELL_LIMIT = Duration.ofSeconds(15);

  /// `acpi_no_memhotplug`: memory of an older OS that is plugged in is not to become memory of this
  /// kernel.
  private static final String KERNEL_OPTIONS =
      "console=ttyS0 quiet acpi_no_memhotplug panic=-1 net.ifnames=0" + " cryptomgr.notests";

  /// How long an OS that an earlier daemon left may take for its first answer.
  private static final Duration ANSWER_LIMIT = Duration.ofSeconds(20);

  private static final Pattern WINDOW = Pattern.compile("w([0-9]{1,9})\\.memory.*");

  private final OsSettings settings;
  private final Path folder;
  private final VirtualMachine vm;
  private final MemFd memory;
  private final Path sockets;
  private final double bootMs;

  /// By the names of the containers. Guarded by itself, as is whatever takes a place.
  private final Map<String, FileService> files = new HashMap<>();

  private final AtomicInteger windows = new AtomicInteger();

  private OsVm(
      OsSettings settings,
      Path folder,
      VirtualMachine vm,
      MemFd memory,
      Path sockets,
      double bootMs) {
    this.settings = settings;
    this.folder = folder;
    this.vm = vm;
    this.memory = memory;
    this.sockets = sockets;
    this.bootMs = bootMs;
  }

  /// Boots an OS and returns when it can take containers.
  ///
  /// @param folder an existing folder for its logs
  /// @param sockets the folder for its control sockets, mode 0700
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#OS_START] with the last that it
  ///   printed; nothing is left then but the logs
  static OsVm boot(OsSettings settings, Path folder, Path sockets) {
    long start = Clock.monotonicNanos();
    List<AutoCloseable> made = new ArrayList<>();
    try {
      OsFile file = OsFile.of(settings);
      made.add(() -> OsFile.remove(folder));
      file.write(folder);
      MemFd memory = MemFd.create("hf-os-" + settings.name(), settings.memoryBytes());
      made.add(memory);
      VirtualMachine vm = power(settings, folder, sockets, file, memory);
      made.add(vm);
      vm.run(List.of(PROGRAMS + "/setup", CONTAINERS), SET_UP_LIMIT);
      rehearse(settings.name(), vm);
      double bootMs = (Clock.monotonicNanos() - start) / 1e6;
      file.on(OsFile.Identity.of(vm.pid())).asBooted(bootMs).write(folder);
      return new OsVm(settings, folder, vm, memory, sockets, bootMs);
    } catch (LinuxException | QemuControl.RefusedException | AgentException | TroubleException e) {
      made.reversed().forEach(OsVm::undo);
      throw Problem.OS_START.because(
          settings.name()
              + " ("
              + settings.release().name()
              + ") did not come up: "
              + e.getMessage()
              + "."
              + VirtualMachine.lastWords(folder),
          e);
    } catch (RuntimeException e) {
      made.reversed().forEach(OsVm::undo);
      throw e;
    }
  }

  /// What fails here fails again with a container, and is told then.
  private static void rehearse(String name, VirtualMachine vm) {
    try {
      Agent.Exited end = runToEnd(vm, List.of(PROGRAMS + "/rehearse"), SET_UP_LIMIT);
      if (end.status() != 0) {
        throw new TroubleException(end.tail().strip());
      }
    } catch (TroubleException e) {
      System.getLogger(OsVm.class.getName())
          .log(System.Logger.Level.WARNING, "OS " + name + " has not rehearsed a relocation", e);
    }
  }

  private static Agent.Exited runToEnd(VirtualMachine vm, List<String> command, Duration limit) {
    try {
      return vm.runToEnd(command, limit);
    } catch (TroubleException e) {
      if (e.getCause() instanceof TimeoutException) {
        vm.attempted(() -> vm.runToEnd(List.of(PROGRAMS + "/tasks"), TELL_LIMIT));
      }
      throw e;
    }
  }

  /// Runs a program in the OS itself, as root, to its end, whatever that is. When it does not end,
  /// what all tasks in the OS wait for is in the log of its console.
  ///
  /// @throws TroubleException when it cannot be started, or does not end within `limit`
  Agent.Exited runToEnd(List<String> command, Duration limit) {
    return runToEnd(vm, command, limit);
  }

  /// Takes over an OS that an earlier daemon left. Containers in it notice nothing. The OS goes on
  /// whether this succeeds or not.
  ///
  /// @param file what is written down of it, of a process that lives
  /// @throws TroubleException when it does not answer, or was started by a daemon of a version that
  ///   gave it the folders of all containers
  static OsVm again(OsSettings settings, OsFile file, Path folder, Path sockets) {
    if (file.fileServer().pid() > 0) {
      throw new TroubleException(
          "it was started by an earlier version, which gave it the files of all containers; it"
              + " and they go on, and that version can stop them: or end process "
              + file.hardwareProcess().pid()
              + ", which ends them all");
    }
    List<Runnable> leave = new ArrayList<>();
    try {
      HostProcess process = HostProcess.survivor(file.hardwareProcess().pid());
      leave.add(process::close);
      VirtualMachine vm = reached(settings, folder, sockets, process, ANSWER_LIMIT);
      leave.set(0, vm::letGo);
      vm.forgetUnnamed();
      MemFd memory = MemFd.adopt(vm.copy(MEMORY_FD));
      leave.add(memory::close);
      OsVm os = new OsVm(settings, folder, vm, memory, sockets, file.bootMs());
      os.windows.set(os.lastWindow());
      os.takeServers();
      return os;
    } catch (LinuxException
        | QemuControl.RefusedException
        | AgentException
        | IllegalArgumentException e) {
      leave.reversed().forEach(Runnable::run);
      throw new TroubleException("it does not answer: " + e.getMessage(), e);
    } catch (RuntimeException e) {
      leave.reversed().forEach(Runnable::run);
      throw e;
    }
  }

  /// Ends what is left of an OS that cannot be taken over, and forgets it; its logs stay.
  ///
  /// @throws LinuxException when a process of it cannot be ended
  static void forget(String name, OsFile file, Path folder, Path sockets) {
    end(file.hardwareProcess());
    end(file.fileServer());
    ServerFile.all(folder.resolve(FILES))
        .forEach((container, server) -> {
          end(server.process());
          ServerFile.remove(folder.resolve(FILES), container);
        });
    VirtualMachine.Sockets.of(sockets, name, KIND).remove();
    OsFile.remove(folder);
  }

  private static void end(OsFile.Identity process) {
    if (process.lives()) {
      try (HostProcess left = HostProcess.survivor(process.pid())) {
        left.kill();
      }
    }
  }

  private static VirtualMachine reached(
      OsSettings settings, Path folder, Path sockets, HostProcess process, Duration patience) {
    return new VirtualMachine(
        "OS " + settings.name(),
        settings.accelerator() == Accelerator.TCG,
        folder,
        VirtualMachine.Sockets.of(sockets, settings.name(), KIND),
        process,
        patience);
  }

  private static void undo(AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      System.getLogger(OsVm.class.getName())
          .log(System.Logger.Level.WARNING, "an OS that did not start is not cleared up", e);
    }
  }

  private static VirtualMachine power(
      OsSettings settings, Path folder, Path sockets, OsFile file, MemFd memory) {
    VirtualMachine.Sockets control = VirtualMachine.Sockets.of(sockets, settings.name(), KIND);
    HostProcess process =
        VirtualMachine.spawn(
            settings.hardware(),
            "os-" + settings.name(),
            options(settings),
            Map.of(MEMORY_FD, memory.fd()),
            folder,
            control);
    try {
      file.on(OsFile.Identity.of(process.pid())).write(folder);
      return reached(settings, folder, sockets, process, BOOT_LIMIT);
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      control.remove();
      throw e;
    }
  }

  private static List<String> options(OsSettings settings) {
    OsRelease release = settings.release();
    boolean kvm = settings.accelerator() == Accelerator.KVM;
    long room = Host.totalMemoryBytes() * 2 + ROOM_BYTES;
    List<String> options = new ArrayList<>();
    // With a hotplug controller of its own, which nobody uses, the firmware gives a bridge ports
    // and
    // memory for what may come.
    for (int i = 1; i <= BRIDGES; i++) {
      options.addAll(
          List.of("-device", "pci-bridge,id=bridge" + i + ",chassis_nr=" + i + ",shpc=on"));
    }
    options.addAll(
        List.of(
            "-machine",
            "pc,memory-backend=ram",
            "-accel",
            settings.accelerator().label(),
            // Translated, string instructions that claim to be fast copy byte by byte.
            "-cpu",
            kvm ? "host" : "max,-erms,-fsrm,-fsrs,-fzrm,-fsrc",
            "-smp",
            Integer.toString(settings.vcpus()),
            "-m",
            (settings.memoryBytes() >> 20)
                + "M,slots="
                + SLOTS
                + ",maxmem="
                + ((settings.memoryBytes() + room) >> 20)
                + "M",
            "-object",
            "memory-backend-file,id=ram,size="
                + settings.memoryBytes()
                + ",mem-path=/proc/self/fd/"
                + MEMORY_FD
                + ",share=on",
            "-kernel",
            release.kernel().toString(),
            "-initrd",
            release.initrd().toString(),
            "-append",
            KERNEL_OPTIONS));
    return options;
  }

  /// Its name.
  public String name() {
    return settings.name();
  }

  /// What it is made of.
  public OsSettings settings() {
    return settings;
  }

  /// From the start of its hardware until it could take containers, milliseconds.
  public double bootMs() {
    return bootMs;
  }

  /// The process on this host that is its hardware.
  public int pid() {
    return vm.pid();
  }

  /// Whether it is gone.
  public boolean ended() {
    return vm.ended();
  }

  /// Runs a program in the OS itself, as root, to its end.
  ///
  /// @return what it printed
  /// @throws TroubleException when it fails, or does not end within `limit`
  public String run(List<String> command, Duration limit) {
    return vm.run(command, limit);
  }

  /// How much of its memory has pages of this host behind it, in bytes.
  public long populatedBytes() {
    return memory.populatedBytes();
  }

  /// How much memory a new container could get in it, in bytes.
  ///
  /// @throws TroubleException when it does not answer
  long availableBytes() {
    return vm.ask(agent -> agent.awaitHello(ANSWER_LIMIT)).memoryFreeKib() << 10;
  }

  /// What it runs on.
  VirtualMachine vm() {
    return vm;
  }

  /// All its memory.
  MemFd memory() {
    return memory;
  }

  /// Where the part of the memory that is not below 4 GiB begins in it; [MemFd#bytes] when none is.
  long split() {
    return memory.bytes() >= SPLIT_FROM_BYTES ? LOW_BYTES : memory.bytes();
  }

  /// The memory of another OS in this one. For one thread.
  ///
  /// @param address where this OS finds it in its own physical memory
  record Window(String id, long address) {}

  /// A name for a window, which no other gets.
  String newWindow() {
    return "w" + windows.incrementAndGet();
  }

  /// Plugs the memory of `other` in, as hardware that this kernel does not use.
  ///
  /// @param id from [#newWindow]
  /// @throws TroubleException when the hardware refuses it; nothing is left then
  Window attach(OsVm other, String id) {
    vm.lend(
        other.memory.fd(),
        (_, number) -> vm.addMemory(id + ".memory", other.memory.bytes(), number));
    try {
      vm.plug(id, "pc-dimm", Map.of("memdev", id + ".memory"));
      return new Window(id, plugged(id).path("addr").asLong());
    } catch (RuntimeException e) {
      vm.contained(() -> vm.removeMemory(id + ".memory"));
      throw e;
    }
  }

  private JsonNode plugged(String id) {
    for (JsonNode device : vm.execute("query-memory-devices", Map.of())) {
      if (device.path("data").path("id").asString("").equals(id)) {
        return device.path("data");
      }
    }
    throw new TroubleException("OS " + name() + " has no window " + id);
  }

  /// Takes a window out again. Nothing inside may have it mapped.
  void detach(Window window) {
    vm.eject(window.id(), plugged(window.id()).path("slot").asInt());
    vm.removeMemory(window.id() + ".memory");
  }

  /// As [#detach], of a window of which only a part may be there.
  void clear(String window) {
    vm.attempted(() -> vm.eject(window, plugged(window).path("slot").asInt()));
    vm.attempted(() -> vm.removeMemory(window + ".memory"));
  }

  /// Also of windows that are gone, whose addresses are spent.
  private int lastWindow() {
    int last = 0;
    for (JsonNode backend : vm.execute("query-memdev", Map.of())) {
      Matcher window = WINDOW.matcher(backend.path("id").asString(""));
      if (window.matches()) {
        last = Math.max(last, Integer.parseInt(window.group(1)));
      }
    }
    return last;
  }

  /// Gives the OS the folder of a container, whose name is the tag by which its kernel mounts it.
  ///
  /// @throws TroubleException when it has [#MOST_CONTAINERS] already, or the server does not start;
  ///   nothing is left then
  void share(String container, Path folder) {
    synchronized (files) {
      if (isFull()) {
        throw new TroubleException(full());
      }
      // What was left when a server had died.
      vm.clearFolder(folderOf(container));
      FileService.Started started = serve(folder);
      try (UnixSocket connection = started.connection()) {
        new ServerFile(OsFile.Identity.of(started.service().pid()))
            .write(this.folder.resolve(FILES), container);
        vm.addFolder(folderOf(container), container, connection.fd(), bus());
        files.put(container, started.service());
      } catch (HyperFreshException e) {
        started.service().close();
        throw new TroubleException(e.detail(), e);
      } catch (RuntimeException e) {
        started.service().close();
        ServerFile.remove(this.folder.resolve(FILES), container);
        throw e;
      }
    }
  }

  private FileService.Started serve(Path folder) {
    try {
      return FileService.start(
          settings.release().fileServer(),
          folder,
          sockets.resolve(name() + ".os.files"),
          this.folder.resolve("files.log"));
    } catch (IOException | LinuxException e) {
      throw new TroubleException(folder + " cannot be served: " + e.getMessage(), e);
    }
  }

  private static String folderOf(String container) {
    return "f-" + container;
  }

  private List<String> served() {
    synchronized (files) {
      return List.copyOf(files.keySet());
    }
  }

  /// Whether it takes no more containers.
  boolean isFull() {
    synchronized (files) {
      return files.size() >= MOST_CONTAINERS;
    }
  }

  /// Why it takes no more, as a part of a sentence.
  String full() {
    return "OS " + name() + " has " + MOST_CONTAINERS + " containers, and room for no more";
  }

  /// Takes a container's folder away, which its kernel has unmounted; does nothing when it does not
  /// have it. When the kernel does not let go of the device, the folder is out of its reach all the
  /// same, and the device's place stays taken.
  void unshare(String container) {
    Optional<FileService> served;
    synchronized (files) {
      served = Optional.ofNullable(files.remove(container));
    }
    served.ifPresent(server -> {
      if (!ended()) {
        vm.contained(() -> vm.removeFolder(folderOf(container)));
      }
      cutOff(server);
      ServerFile.remove(folder.resolve(FILES), container);
    });
  }

  private void cutOff(FileService server) {
    try {
      server.close();
    } catch (LinuxException | IllegalStateException e) {
      System.getLogger(OsVm.class.getName())
          .log(System.Logger.Level.WARNING, "a file server of OS " + name() + " lives on", e);
    }
  }

  /// Those that an earlier daemon has started and that live.
  private void takeServers() {
    Path written = folder.resolve(FILES);
    ServerFile.all(written)
        .forEach((container, server) -> {
          try {
            if (server.process().lives()) {
              files.put(container, FileService.survivor(server.process().pid()));
              return;
            }
          } catch (LinuxException e) {
            System.getLogger(OsVm.class.getName()).log(System.Logger.Level.DEBUG, container, e);
          }
          ServerFile.remove(written, container);
        });
  }

  /// Plugs in a card of a container, as [VirtualMachine#addCard].
  void addCard(String id, String mac, Fd queue) {
    synchronized (files) {
      vm.addCard(id, mac, queue, bus());
    }
  }

  /// Plugs in a card of the way between two operating systems, as [VirtualMachine#addLink].
  void addLink(String id, String mac, Fd socket) {
    synchronized (files) {
      vm.addLink(id, mac, socket, bus());
    }
  }

  private String bus() {
    return vm.bridgeWithRoom(BRIDGE_PLACES)
        .orElseThrow(() -> new TroubleException("OS " + name() + " has room for no more devices"));
  }

  /// Lets go of the OS, which goes on with all that runs in it.
  void letGo() {
    vm.letGo();
    synchronized (files) {
      files.values().forEach(FileService::letGo);
      files.clear();
    }
    memory.close();
  }

  /// Ends the OS and everything in it. Does nothing the second time.
  @Override
  public void close() {
    vm.close();
    served().forEach(this::unshare);
    memory.close();
    OsFile.remove(folder);
  }
}
