/// Guests that libvirt keeps, whose QEMU is replaced while it is down for a moment: what libvirt
/// has written down of them, how it is ended and started, and the order in which all that happens.
@NullMarked
package dev.hyperfresh.libvirt;

import org.jspecify.annotations.NullMarked;
