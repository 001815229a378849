package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// What was taken from the process that was adopted, once more.
final class FirstHoldings {
  private FirstHoldings() {}

  /// Takes it.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#GUEST_STATE] when the process
  ///   does not have it
  static Holdings of(GuestSpec guest, int pid, AdoptedMachine machine) {
    List<Fd> memories = new ArrayList<>();
    List<Fd> queues = new ArrayList<>();
    try (PidFd pidFd = PidFd.open(pid)) {
      if (machine.hasPrivateMemory()) {
        memories.addAll(GuestMemory.create("hf-" + guest.name(), machine.parts()).descriptors());
      } else {
        for (Memory memory : machine.memories()) {
          Fd taken = pidFd.takeFd(memory.descriptor());
          memories.add(taken);
          requireWhole(taken, memory);
        }
      }
      for (Port port : machine.ports()) {
        if (port instanceof Port.Kept kept) {
          kept.descriptors().forEach(number -> queues.add(pidFd.takeFd(number)));
        }
      }
      return new Holdings(memories, queues);
    } catch (LinuxException | IOException e) {
      memories.forEach(Fd::close);
      queues.forEach(Fd::close);
      throw Problem.GUEST_STATE.because("Process " + pid + ": " + e.getMessage(), e);
    }
  }

  /// The number may mean another file by now. Of a longer one the memory is a part.
  private static void requireWhole(Fd taken, Memory memory) throws IOException {
    long bytes = Files.size(Path.of(Descriptors.own(taken.number())));
    if (bytes < memory.part().bytes()) {
      throw new IOException(
          "its descriptor %d has %d bytes and was memory of %d"
              .formatted(memory.descriptor(), bytes, memory.part().bytes()));
    }
  }
}
