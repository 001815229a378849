/// The long-lived daemon: wires the hypervisor kinds to the hyperplexor and offers them on a unix
/// socket.
///
/// Read [Daemon] first (the wiring), then [Api] (the routes), [SpecDocument] (what a guest spec may
/// say) and [Views] (what answers look like).
@NullMarked
package dev.hyperfresh.daemon;

import org.jspecify.annotations.NullMarked;
