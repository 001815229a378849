/// A virtual machine of this host with an agent of ours inside, which machines and operating
/// systems for containers are made of: its hardware, the programs inside, devices that come and go,
/// the releases it boots from, what is written down of it, and the registry that knows all of one
/// kind.
///
/// Read [VmHardware] (how one starts), [VirtualMachine] and its parts, [Agent] and [VmRegistry] in
/// this order. The agent is `agent.c` and its parts, process 1 of every such machine and its only
/// service.
@NullMarked
package dev.hyperfresh.vm;

import org.jspecify.annotations.NullMarked;
