package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VirtualMachine;
import dev.hyperfresh.vm.VmFile;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
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
public final class OsVm implements VmKind.Member<OsRelease> {
  /// Where containers' folders are inside.
  static final String CONTAINERS = "/containers";

  /// Programs of ours inside.
  static final String PROGRAMS = "/usr/lib/hyperfresh";

  /// Where networks of containers have names inside.
  static final String NETWORKS = "/run/netns";

  /// The folder in that of an OS with a file for each [FileService].
  static final String FILES = "files";

  /// Each has [#BRIDGE_PLACES], and a container has up to two devices. They are there from the
  /// beginning, since the ACPI of this machine type tells a kernel of devices behind such bridges
  /// alone.
  static final int BRIDGES = 4;

  private static final int BRIDGE_PLACES = 31;

  /// How many containers an OS holds, with those that are on their way to it. Each has a place for
  /// its folder and one for its card; four are left for moves that copy.
  static final int MOST_CONTAINERS = 60;

  /// QEMU `pc_init1`: a machine of this type with this much memory or more has only the first
  /// [#LOW_BYTES] of it below 4 GiB, the rest from there on.
  private static final long SPLIT_FROM_BYTES = 0xe000_0000L;

  private static final long LOW_BYTES = 0xc000_0000L;

  /// How long an OS in which something does not end may take to say where.
  private static final Duration TELL_LIMIT = Duration.ofSeconds(15);

  /// How long an OS that runs may take for an answer.
  static final Duration ANSWER_LIMIT = Duration.ofSeconds(20);

  private static final Pattern WINDOW = Pattern.compile("w([0-9]{1,9})\\.memory.*");

  private final VmSettings<OsRelease> settings;
  private final Path folder;
  private final VirtualMachine vm;
  private final MemFd memory;
  private final Path sockets;
  private final double bootMs;

  /// By the names of the containers. Guarded by itself, as is whatever takes a place.
  private final Map<String, FileService> files = new HashMap<>();

  private final AtomicInteger windows = new AtomicInteger();

  /// @param folder with its logs
  /// @param memory all of it
  /// @param sockets the folder for control sockets
  OsVm(
      VmSettings<OsRelease> settings,
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

  /// Where a volume of a container is inside.
  static String volume(String container, String volume) {
    return CONTAINERS + "/" + container + "/" + ContainerFolder.VOLUMES + "/" + volume;
  }

  /// As [#runToEnd(List, Duration)], in an OS that is coming up.
  static Agent.Exited runToEnd(VirtualMachine vm, List<String> command, Duration limit) {
    try {
      return vm.programs().runToEnd(command, limit);
    } catch (TroubleException e) {
      if (e.getCause() instanceof TimeoutException) {
        vm.attempted(() -> vm.programs().runToEnd(List.of(PROGRAMS + "/tasks"), TELL_LIMIT));
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

  /// Its name.
  public String name() {
    return settings.name();
  }

  @Override
  public VmSettings<OsRelease> settings() {
    return settings;
  }

  @Override
  public double bootMs() {
    return bootMs;
  }

  @Override
  public Agent.Hello hello() {
    return vm.hello();
  }

  @Override
  public int pid() {
    return vm.pid();
  }

  @Override
  public void onEnd(Runnable told) {
    vm.onEnd(told);
  }

  @Override
  public boolean ended() {
    return vm.ended();
  }

  /// Runs a program in the OS itself, as root, to its end.
  ///
  /// @return what it printed
  /// @throws TroubleException when it fails, or does not end within `limit`
  public String run(List<String> command, Duration limit) {
    return vm.programs().run(command, limit);
  }

  /// Sets its wall clock by this host's, to within some milliseconds. What goes wrong is only told:
  /// a clock keeps nobody from anything.
  ///
  /// @param how `step`, at once, or `slew`, bit by bit
  void setClock(String how) {
    setClock(vm, how);
  }

  /// As [#setClock(String)], of an OS that is coming up.
  static void setClock(VirtualMachine vm, String how) {
    vm.contained(() -> {
      String micros = Long.toString(vm.clockOffsetMicros());
      vm.programs().run(List.of(PROGRAMS + "/relocate", "clock", how, micros), TELL_LIMIT);
    });
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
    vm.windows().addMemory(memoryOf(id), other.memory.fd(), other.memory.bytes());
    try {
      vm.windows().plug(id, memoryOf(id));
      return new Window(id, vm.windows().address(id));
    } catch (RuntimeException e) {
      vm.contained(() -> vm.windows().removeMemory(memoryOf(id)));
      throw e;
    }
  }

  private static String memoryOf(String window) {
    return window + ".memory";
  }

  /// Takes a window out again. Nothing inside may have it mapped.
  void detach(Window window) {
    vm.windows().eject(window.id());
    vm.windows().removeMemory(memoryOf(window.id()));
  }

  /// As [#detach], of a window of which only a part may be there.
  void clear(String window) {
    vm.attempted(() -> vm.windows().eject(window));
    vm.attempted(() -> vm.windows().removeMemory(memoryOf(window)));
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
      vm.folders().clear(folderOf(container));
      FileService.Started started = serve(folder);
      try (UnixSocket connection = started.connection()) {
        new ServerFile(ProcessIdentity.of(started.service().pid()))
            .write(this.folder.resolve(FILES), container);
        vm.folders().add(folderOf(container), container, connection.fd(), bus());
        files.put(container, started.service());
      } catch (HyperFreshException e) {
        cutOff(started.service());
        throw new TroubleException(e.detail(), e);
      } catch (RuntimeException e) {
        cutOff(started.service());
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
    return "OS " + name() + " has " + MOST_CONTAINERS + " containers and no room for more";
  }

  /// Takes a container's folder away, which its kernel has unmounted; does nothing when it does not
  /// have it. When the kernel does not let go of the device, the folder is out of its reach all the
  /// same, and the device's place stays taken.
  ///
  /// @throws TroubleException when the server stays written down
  void unshare(String container) {
    Optional<FileService> served;
    synchronized (files) {
      served = Optional.ofNullable(files.remove(container));
    }
    served.ifPresent(server -> {
      if (!ended()) {
        vm.contained(() -> vm.folders().remove(folderOf(container)));
      }
      cutOff(server);
      forgetServer(container);
    });
  }

  private void forgetServer(String container) {
    try {
      ServerFile.remove(folder.resolve(FILES), container);
    } catch (HyperFreshException e) {
      throw new TroubleException(e.detail(), e);
    }
  }

  private void cutOff(FileService server) {
    try {
      server.close();
    } catch (LinuxException | ClosedException | QemuProcess.TroubleException e) {
      System.getLogger(OsVm.class.getName())
          .log(System.Logger.Level.WARNING, "a file server of OS " + name() + " does not end", e);
    }
  }

  /// Takes what an earlier daemon has left: the file servers that live, and the names of windows.
  void takeOver() {
    windows.set(lastWindow());
    takeServers();
  }

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

  /// Plugs in a card of a container, as [VmCards#add(String, String, Fd, String)].
  void addCard(String id, String mac, Fd queue) {
    synchronized (files) {
      vm.cards().add(id, mac, queue, bus());
    }
  }

  /// Plugs in a card of the way between two operating systems, as [VmCards#addLink].
  void addLink(String id, String mac, Fd socket) {
    synchronized (files) {
      vm.cards().addLink(id, mac, socket, bus());
    }
  }

  private String bus() {
    return vm.devices()
        .bridgeWithRoom(BRIDGE_PLACES)
        .orElseThrow(() -> new TroubleException("OS " + name() + " has no room for more devices"));
  }

  @Override
  public void letGo() {
    vm.letGo();
    synchronized (files) {
      files.values().forEach(FileService::letGo);
      files.clear();
    }
    memory.close();
  }

  @Override
  public void close() {
    vm.close();
    served().forEach(this::unshare);
    memory.close();
    VmFile.remove(folder);
  }
}
