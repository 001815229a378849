package dev.hyperfresh.host;

import java.nio.file.Path;

/// A setting that was changed.
///
/// @param knob the name of the [Knob]
/// @param file where the value stands, under the root folder of the profile
/// @param before the value that the file held
/// @param after the value that it holds now
public record Change(String knob, Path file, String before, String after) {}
