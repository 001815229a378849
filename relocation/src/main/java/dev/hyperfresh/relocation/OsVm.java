package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
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
import java.util.List;
import java.util.Map;
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
  private static final String SHARE = "containers";
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
      "console=ttyS0 quiet acpi_no_memhotplug panic=-1 ipv6.disable=1 net.ifnames=0"
          + " cryptomgr.notests";

  /// How long an OS that an earlier daemon left may take for its first answer.
  private static final Duration ANSWER_LIMIT = Duration.ofSeconds(20);

  private static final Pattern WINDOW = Pattern.compile("w([0-9]{1,9})\\.memory.*");

  private final OsSettings settings;
  private final Path folder;
  private final VirtualMachine vm;
  private final MemFd memory;
  private final FileService files;
  private final double bootMs;
  private final AtomicInteger windows = new AtomicInteger();

  private OsVm(
      OsSettings settings,
      Path folder,
      VirtualMachine vm,
      MemFd memory,
      FileService files,
      double bootMs) {
    this.settings = settings;
    this.folder = folder;
    this.vm = vm;
    this.memory = memory;
    this.files = files;
    this.bootMs = bootMs;
  }

  /// Boots an OS and returns when it can take containers.
  ///
  /// @param folder an existing folder for its logs
  /// @param sockets the folder for its control sockets, mode 0700
  /// @param containers the folder of all containers, the same for every OS
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#OS_START] with the last that it
  ///   printed; nothing is left then but the logs
  static OsVm boot(OsSettings settings, Path folder, Path sockets, Path containers) {
    long start = Clock.monotonicNanos();
    List<AutoCloseable> made = new ArrayList<>();
    try {
      FileService files =
          FileService.start(
              settings.release().fileServer(),
              containers,
              fileSocket(settings.name(), sockets),
              folder.resolve("files.log"));
      made.add(files);
      OsFile file = OsFile.of(settings, OsFile.Identity.of(files.pid()));
      made.add(() -> OsFile.remove(folder));
      file.write(folder);
      MemFd memory = MemFd.create("hf-os-" + settings.name(), settings.memoryBytes());
      made.add(memory);
      VirtualMachine vm = power(settings, folder, sockets, file, files, memory);
      made.add(vm);
      vm.run(List.of(PROGRAMS + "/setup", SHARE, CONTAINERS), SET_UP_LIMIT);
      rehearse(settings.name(), vm);
      double bootMs = (Clock.monotonicNanos() - start) / 1e6;
      file.on(OsFile.Identity.of(vm.pid())).asBooted(bootMs).write(folder);
      return new OsVm(settings, folder, vm, memory, files, bootMs);
    } catch (LinuxException
        | QemuControl.RefusedException
        | AgentException
        | TroubleException
        | IOException e) {
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

  private static Path fileSocket(String name, Path sockets) {
    return sockets.resolve(name + ".os.files");
  }

  /// Takes over an OS that an earlier daemon left. Containers in it notice nothing. The OS goes on
  /// whether this succeeds or not.
  ///
  /// @param file what is written down of it, of a process that lives
  /// @throws TroubleException when it does not answer
  static OsVm again(OsSettings settings, OsFile file, Path folder, Path sockets) {
    List<Runnable> leave = new ArrayList<>();
    try {
      HostProcess process = HostProcess.survivor(file.hardwareProcess().pid());
      leave.add(process::close);
      FileService files =
          FileService.survivor(file.fileServer().pid(), fileSocket(settings.name(), sockets));
      leave.add(files::letGo);
      VirtualMachine vm = reached(settings, folder, sockets, process, ANSWER_LIMIT);
      leave.set(0, vm::letGo);
      vm.forgetUnnamed();
      MemFd memory = MemFd.adopt(vm.copy(MEMORY_FD));
      OsVm os = new OsVm(settings, folder, vm, memory, files, file.bootMs());
      os.windows.set(os.lastWindow());
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
    for (OsFile.Identity process : List.of(file.hardwareProcess(), file.fileServer())) {
      if (process.lives()) {
        try (HostProcess left = HostProcess.survivor(process.pid())) {
          left.kill();
        }
      }
    }
    VirtualMachine.Sockets.of(sockets, name, KIND).remove();
    StateFile.remove(fileSocket(name, sockets));
    OsFile.remove(folder);
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
      OsSettings settings,
      Path folder,
      Path sockets,
      OsFile file,
      FileService files,
      MemFd memory) {
    VirtualMachine.Sockets control = VirtualMachine.Sockets.of(sockets, settings.name(), KIND);
    HostProcess process =
        VirtualMachine.spawn(
            settings.hardware(),
            "os-" + settings.name(),
            options(settings, files.socket()),
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

  private static List<String> options(OsSettings settings, Path files) {
    OsRelease release = settings.release();
    boolean kvm = settings.accelerator() == Accelerator.KVM;
    long room = Host.totalMemoryBytes() * 2 + ROOM_BYTES;
    return List.of(
        // Devices come and go on one flat bus of 29 places by the ACPI of this machine type.
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
        KERNEL_OPTIONS,
        "-chardev",
        "socket,id=files,path=" + files.toString().replace(",", ",,"),
        "-device",
        "vhost-user-fs-pci,chardev=files,tag=" + SHARE);
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

  /// Lets go of the OS, which goes on with all that runs in it.
  void letGo() {
    vm.letGo();
    files.letGo();
    memory.close();
  }

  /// Ends the OS and everything in it. Does nothing the second time.
  @Override
  public void close() {
    vm.close();
    files.close();
    memory.close();
    OsFile.remove(folder);
  }
}
