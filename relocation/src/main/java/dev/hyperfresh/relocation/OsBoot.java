package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.AgentException;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VirtualMachine;
import dev.hyperfresh.vm.VmFile;
import dev.hyperfresh.vm.VmHardware;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// How operating systems come up, and how they are taken over from an earlier daemon. Stateless.
final class OsBoot implements VmKind<OsVm, OsRelease> {
  private static final System.Logger LOG = System.getLogger(OsBoot.class.getName());
  private static final int MEMORY_FD = VmHardware.FIRST_FD;

  /// Below this CRIU does not run beside a container.
  static final long LEAST_MEMORY_BYTES = 256L << 20;

  static final About ABOUT =
      new About(
          "OS",
          "An OS",
          OsRelease.KIND,
          "os.json",
          LEAST_MEMORY_BYTES,
          VmSettings.MOST_VCPUS,
          Problem.OS_EXISTS,
          Problem.OS_UNKNOWN,
          Problem.OS_START,
          "os delete NAME --force");

  /// Translated on a busy host it takes tens of seconds.
  private static final Duration BOOT_LIMIT = Duration.ofMinutes(4);

  private static final Duration SET_UP_LIMIT = Duration.ofSeconds(60);

  @Override
  public About about() {
    return ABOUT;
  }

  @Override
  public OsVm boot(VmSettings<OsRelease> settings, Path folder, Path sockets) {
    long start = Clock.monotonicNanos();
    List<AutoCloseable> made = new ArrayList<>();
    try {
      VmFile file = VmFile.of(settings);
      made.add(() -> VmFile.remove(folder));
      file.write(folder);
      MemFd memory = MemFd.create("hf-os-" + settings.name(), settings.memoryBytes());
      made.add(memory);
      VirtualMachine vm = power(settings, folder, sockets, file, memory);
      made.add(vm);
      vm.programs().run(List.of(OsVm.PROGRAMS + "/setup", OsVm.CONTAINERS), SET_UP_LIMIT);
      OsVm.setClock(vm, "step");
      rehearse(settings.name(), vm);
      double bootMs = (Clock.monotonicNanos() - start) / 1e6;
      file.on(ProcessIdentity.of(vm.pid())).asBooted(bootMs).write(folder);
      return new OsVm(settings, folder, vm, memory, sockets, bootMs);
    } catch (LinuxException | QemuControl.RefusedException | AgentException | TroubleException e) {
      made.reversed().forEach(OsBoot::undo);
      throw ABOUT
          .start()
          .because(
              settings.name()
                  + " ("
                  + settings.release().name()
                  + ") did not start: "
                  + e.getMessage()
                  + "."
                  + VmHardware.lastWords(folder),
              e);
    } catch (RuntimeException e) {
      made.reversed().forEach(OsBoot::undo);
      throw e;
    }
  }

  private static void undo(AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      LOG.log(System.Logger.Level.WARNING, "an OS that did not start is not cleaned up", e);
    }
  }

  private static VirtualMachine power(
      VmSettings<OsRelease> settings, Path folder, Path sockets, VmFile file, MemFd memory) {
    VirtualMachine.Sockets control = sockets(settings.name(), sockets);
    HostProcess process =
        VmHardware.spawn(
            settings, board(settings), Map.of(MEMORY_FD, memory.fd()), folder, control);
    try {
      file.on(ProcessIdentity.of(process.pid())).write(folder);
      return reached(settings, folder, sockets, process, BOOT_LIMIT);
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      control.remove();
      throw e;
    }
  }

  private static VmHardware.Board board(VmSettings<OsRelease> settings) {
    List<String> more = new ArrayList<>();
    // With a hotplug controller of its own, which nobody uses, the firmware gives a bridge ports
    // and
    // memory for what may come.
    for (int i = 1; i <= OsVm.BRIDGES; i++) {
      more.addAll(List.of("-device", "pci-bridge,id=bridge" + i + ",chassis_nr=" + i + ",shpc=on"));
    }
    more.addAll(
        List.of(
            "-object",
            "memory-backend-file,id=ram,size="
                + settings.memoryBytes()
                + ",mem-path=/proc/self/fd/"
                + MEMORY_FD
                + ",share=on"));
    return new VmHardware.Board(
        OsRelease.KIND,
        "pc,memory-backend=ram",
        // Translated, string instructions that claim to be fast copy byte by byte.
        settings.accelerator() == Accelerator.KVM ? "host" : "max,-erms,-fsrm,-fsrs,-fzrm,-fsrc",
        "net.ifnames=0 cryptomgr.notests",
        more);
  }

  private static VirtualMachine reached(
      VmSettings<OsRelease> settings,
      Path folder,
      Path sockets,
      HostProcess process,
      Duration patience) {
    return new VirtualMachine(
        "OS " + settings.name(),
        settings.accelerator() == Accelerator.TCG,
        folder,
        sockets(settings.name(), sockets),
        process,
        patience);
  }

  private static VirtualMachine.Sockets sockets(String name, Path folder) {
    return VirtualMachine.Sockets.of(folder, name, OsRelease.KIND);
  }

  /// What fails here fails again with a container, and is told then.
  private static void rehearse(String name, VirtualMachine vm) {
    try {
      Agent.Exited end = OsVm.runToEnd(vm, List.of(OsVm.PROGRAMS + "/rehearse"), SET_UP_LIMIT);
      if (end.status() != 0) {
        throw new TroubleException(end.tail().strip());
      }
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.WARNING, "OS " + name + " has not rehearsed a relocation", e);
    }
  }

  @Override
  public OsVm again(VmSettings<OsRelease> settings, VmFile file, Path folder, Path sockets) {
    List<Runnable> leave = new ArrayList<>();
    try {
      HostProcess process = HostProcess.survivor(file.process().pid());
      leave.add(process::close);
      VirtualMachine vm = reached(settings, folder, sockets, process, OsVm.ANSWER_LIMIT);
      leave.set(0, vm::letGo);
      vm.descriptors().forgetUnnamed();
      MemFd memory = MemFd.adopt(vm.descriptors().copy(MEMORY_FD));
      leave.add(memory::close);
      OsVm os = new OsVm(settings, folder, vm, memory, sockets, file.bootMs());
      os.takeOver();
      os.setClock("slew");
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

  /// Ends its file servers, too.
  @Override
  public void forget(String name, Path folder, Path sockets) {
    Path servers = folder.resolve(OsVm.FILES);
    ServerFile.all(servers)
        .forEach((container, server) -> {
          end(server.process());
          ServerFile.remove(servers, container);
        });
    sockets(name, sockets).remove();
    VmFile.remove(folder);
  }

  private static void end(ProcessIdentity process) {
    if (process.lives()) {
      try (HostProcess left = HostProcess.survivor(process.pid())) {
        left.kill();
      }
    }
  }
}
