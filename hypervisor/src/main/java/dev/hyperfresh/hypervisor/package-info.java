/// What a hypervisor is to the rest of HyperFresh, free of any product's words.
///
/// Read [Hypervisor] first (a kind of hypervisor), then [Instance] (one of them, running one
/// guest), [GuestSpec] (what a guest is) and [Problem] (every error a user can meet).
@NullMarked
package dev.hyperfresh.hypervisor;

import org.jspecify.annotations.NullMarked;
