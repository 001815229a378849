/// Owns every guest's memory and network endpoints, and decides which hypervisor hosts a guest.
///
/// Read [Replacement] first: the transaction, state by state. [Guest] is what it acts on,
/// [Hyperplexor] the way in, [Pulse] how a guest's own view of the blackout is measured.
@NullMarked
package dev.hyperfresh.hyperplexor;

import org.jspecify.annotations.NullMarked;
