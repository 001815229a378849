package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.Optional;

/// Which process is to be taken under management.
///
/// @param name what the guest is to be called
/// @param pid the hypervisor's process
/// @param control its control socket
/// @param console the socket of its serial console; empty to find it out
/// @param files the guest's folder, which is there and empty: boot files are pinned into it
/// @param copy whether memory that is private to the process may be copied once, and is no reason
///   against the adoption
public record AdoptRequest(
    String name, int pid, Path control, Optional<Path> console, Path files, boolean copy) {}
