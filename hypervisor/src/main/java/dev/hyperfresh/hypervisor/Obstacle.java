package dev.hyperfresh.hypervisor;

/// Something that keeps a guest from moving, found before anything is touched.
///
/// @param what what is in the way, one sentence
/// @param remedy what the user can do about it, one sentence
public record Obstacle(String what, String remedy) {}
