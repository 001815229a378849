/// Linux system calls for Java: descriptors, sealed memory, sockets that carry descriptors, child
/// processes, taps and clocks.
///
/// The package has three layers. [Symbol] holds the declaration of every C function that is called,
/// `Constants` and `Layouts` hold every number that comes from a header. The `*Calls` classes turn
/// a function into a method that answers with a value or with `-errno`. The public types own what
/// the kernel handed out and close it exactly once. Only the first two layers know what a C type
/// looks like, and a test asks a C compiler whether they are right.
///
/// Calls that can block (`accept`, `receive`, `awaitExit`, …) hold the carrier of a virtual thread
/// for as long as they block, so give them a platform thread.
///
/// Needs Linux on x86-64 with glibc 2.36 or newer. What an older host lacks throws a
/// [MissingCallException] where it is used, and is listed by [SystemCalls].
@NullMarked
package dev.hyperfresh.linux;

import org.jspecify.annotations.NullMarked;
