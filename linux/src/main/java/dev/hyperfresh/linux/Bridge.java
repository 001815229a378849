package dev.hyperfresh.linux;

import java.time.Duration;
import java.util.Optional;

/// Bridges of the network namespace of the calling thread.
public final class Bridge {
  private Bridge() {}

  /// For how long a new port of a bridge carries nothing. A bridge that looks for loops (spanning
  /// tree, STP) has it listen for a forward delay, and then learn for as long.
  ///
  /// @return zero where the bridge does not look; empty when there is no bridge of that name
  /// @throws IllegalArgumentException when no interface can have the name
  /// @throws LinuxException when the kernel does not say
  public static Optional<Duration> silence(String name) {
    return Links.silence(name);
  }
}
