package dev.hyperfresh.linux;

/// A call that this host lacks. Whatever needs it throws a [MissingCallException].
///
/// @param name of the system call or of the C library's function, such as `pidfd_open`
/// @param needs what has it, such as `Linux 5.6`
/// @param without what does not work on this host without it, a clause of a sentence
/// @param vital whether nothing else works without it either
public record MissingCall(String name, String needs, String without, boolean vital) {}
