package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.ProcessRights;
import java.util.List;

/// What was found out about a process that can be taken under management, and taken from it.
///
/// @param spec a summary of the guest, for people and for plans
/// @param accelerator what it runs on
/// @param machine how to build it again
/// @param holdings its memory and the queues of those ports that go on; the caller owns them
/// @param rights with which the process ran when it was examined
/// @param ours as [FoundProcess#ours], decided by these rights
/// @param releaseArguments what a start of the release that runs it needs
/// @param remarks what its owner should know, one sentence each
public record Adoption(
    GuestSpec spec,
    AcceleratorChoice accelerator,
    AdoptedMachine machine,
    Holdings holdings,
    ProcessRights rights,
    boolean ours,
    List<String> releaseArguments,
    List<String> remarks) {
  public Adoption {
    releaseArguments = List.copyOf(releaseArguments);
    remarks = List.copyOf(remarks);
  }
}
