package dev.hyperfresh.relocation;

import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;

/// A volume as it is seen from outside. Immutable.
///
/// @param createdAt when it was made, if that can be read
/// @param container the container that has it, if one does
/// @param path where its files are on this host; an OS may have put anything there
/// @param fault why what is written down of it cannot be read, or empty
public record VolumeView(
    String name,
    Optional<Instant> createdAt,
    Optional<String> container,
    Path path,
    String fault) {}
