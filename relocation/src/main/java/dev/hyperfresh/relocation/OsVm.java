package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
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
import java.util.concurrent.atomic.AtomicInteger;
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

  /// `acpi_no_memhotplug`: memory of an older OS that is plugged in is not to become memory of this
  /// kernel.
  private static final String KERNEL_OPTIONS =
      "console=ttyS0 quiet acpi_no_memhotplug panic=-1 ipv6.disable=1 net.ifnames=0"
          + " cryptomgr.notests";

  private final OsSettings settings;
  private final VirtualMachine vm;
  private final MemFd memory;
  private final FileService files;
  private final double bootMs;
  private final AtomicInteger windows = new AtomicInteger();

  private OsVm(
      OsSettings settings, VirtualMachine vm, MemFd memory, FileService files, double bootMs) {
    this.settings = settings;
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
              sockets.resolve(settings.name() + ".os.files"),
              folder.resolve("files.log"));
      made.add(files);
      MemFd memory = MemFd.create("hf-os-" + settings.name(), settings.memoryBytes());
      made.add(memory);
      VirtualMachine vm = power(settings, folder, sockets, files, memory);
      made.add(vm);
      vm.run(List.of(PROGRAMS + "/setup", SHARE, CONTAINERS), SET_UP_LIMIT);
      rehearse(settings.name(), vm);
      return new OsVm(settings, vm, memory, files, (Clock.monotonicNanos() - start) / 1e6);
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
    }
  }

  /// What fails here fails again with a container, and is told then.
  private static void rehearse(String name, VirtualMachine vm) {
    try {
      vm.run(List.of(PROGRAMS + "/rehearse"), SET_UP_LIMIT);
    } catch (TroubleException e) {
      System.getLogger(OsVm.class.getName())
          .log(System.Logger.Level.WARNING, "OS " + name + " has not rehearsed a relocation", e);
    }
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
      OsSettings settings, Path folder, Path sockets, FileService files, MemFd memory) {
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
      return new VirtualMachine(
          "OS " + settings.name(),
          settings.accelerator() == Accelerator.TCG,
          folder,
          control,
          process,
          BOOT_LIMIT);
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

  /// Plugs the memory of `other` in, as hardware that this kernel does not use.
  ///
  /// @throws TroubleException when the hardware refuses it; nothing is left then
  Window attach(OsVm other) {
    String id = "w" + windows.incrementAndGet();
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

  /// Ends the OS and everything in it. Does nothing the second time.
  @Override
  public void close() {
    vm.close();
    files.close();
    memory.close();
  }
}
