/// The `machine` kind of hypervisor: a virtual machine with its own kernel, KVM and QEMU, in which
/// guests run.
///
/// Read [Machine] (a virtual machine of module `vm` that runs guests), then [Place] (what a guest
/// has in it) and [InnerQemu] (the guest's QEMU, seen from this host). [MachineRecipe] says what a
/// machine boots; what is inside beside the agent lies under `src/main/resources/image`. Which
/// settings of the host make all this cheap stands in module `host`.
@NullMarked
package dev.hyperfresh.machine;

import org.jspecify.annotations.NullMarked;
