/// The `machine` kind of hypervisor: a virtual machine with its own kernel, KVM and QEMU, in which
/// guests run.
///
/// Read [VirtualMachine] (hardware with an agent of ours inside, which is also what an OS for
/// containers runs on) and [Machine] (one that runs guests), then [Place] (what a guest has in it)
/// and [InnerQemu] (the guest's QEMU, seen from this host). [MachineReleases] builds what a machine
/// boots, [Agent] speaks with it; what is inside lies under `src/main/resources/image`, where
/// `agent.c` is the only service. [NestingProfile] says which settings of the host make all this
/// cheap.
@NullMarked
package dev.hyperfresh.machine;

import org.jspecify.annotations.NullMarked;
