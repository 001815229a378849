package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// All that one instance of a hypervisor is started with.
///
/// @param spec the guest
/// @param release the build to run
/// @param accelerator what executes the guest's code
/// @param memory the guest's; the instance maps it and never owns it
/// @param nicQueues the queues of those of the spec's cards that have taps, one after the other,
///   owned by the caller; how many each has, [AdoptedMachine#queues] says
/// @param files the folder with the guest's pinned boot files and its logs
/// @param sockets the folder for control sockets, mode 0700
/// @param generation counts the instances of a guest from 1; no two share a socket's path
/// @param confinement the rights and the bounds of the instance
/// @param events told of everything the instance reports, on the instance's own thread
/// @param adopted how to build the machine, when HyperFresh did not build it at first
public record Launch(
    GuestSpec spec,
    Release release,
    Accelerator accelerator,
    GuestMemory memory,
    List<Fd> nicQueues,
    Path files,
    Path sockets,
    int generation,
    Confinement confinement,
    InstanceEvents events,
    Optional<AdoptedMachine> adopted) {
  public Launch {
    nicQueues = List.copyOf(nicQueues);
  }

  /// A launch without confinement, of a guest that HyperFresh made itself.
  public Launch(
      GuestSpec spec,
      Release release,
      Accelerator accelerator,
      MemFd memory,
      List<Fd> nicQueues,
      Path files,
      Path sockets,
      int generation,
      InstanceEvents events) {
    this(
        spec,
        release,
        accelerator,
        GuestMemory.of(memory),
        nicQueues,
        files,
        sockets,
        generation,
        Confinement.NONE,
        events,
        Optional.empty());
  }
}
