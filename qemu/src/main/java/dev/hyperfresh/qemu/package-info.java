/// The `process` kind of hypervisor: QEMU on this host.
///
/// Read [QemuReleases] (builds and what they can do), [CommandLine] (spec to arguments), [Qmp] (the
/// control channel), [QemuInstance] (one process) in this order. Nothing here knows of
/// replacements.
@NullMarked
package dev.hyperfresh.qemu;

import org.jspecify.annotations.NullMarked;
