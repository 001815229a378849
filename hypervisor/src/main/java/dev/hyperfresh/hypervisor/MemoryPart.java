package dev.hyperfresh.hypervisor;

import java.util.OptionalLong;

/// What one file of a guest's memory is made of.
///
/// @param bytes how long the file is, more than 0
/// @param hugePageBytes how many bytes a page of it has, if the host has set such pages aside;
///   empty with ordinary ones
public record MemoryPart(long bytes, OptionalLong hugePageBytes) {
  /// Of ordinary pages.
  public static MemoryPart ordinary(long bytes) {
    return new MemoryPart(bytes, OptionalLong.empty());
  }
}
