/// What releases are made of, whatever runs them.
///
/// Read [ReleaseFolders] (how a release is kept and verified), [DebianPackages] (files of packages,
/// unpacked and never installed), [KernelPackage] and [ImageSources] in this order. What is in a
/// release of QEMU, of a machine or of an OS stands in the module of that kind.
@NullMarked
package dev.hyperfresh.release;

import org.jspecify.annotations.NullMarked;
