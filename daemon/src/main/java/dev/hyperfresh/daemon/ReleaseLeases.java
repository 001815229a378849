package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

/// Keeps a release from being removed while something starts on it, which nothing else shows yet.
/// Thread-safe.
final class ReleaseLeases {
  private final Map<String, Integer> held = new HashMap<>();

  /// The right to start on a release, until it is closed.
  interface Lease<R> extends AutoCloseable {
    /// The release, which is installed.
    R release();

    @Override
    void close();
  }

  private record Held<R>(R release, Runnable end) implements Lease<R> {
    @Override
    public void close() {
      end.run();
    }
  }

  /// Finds a release and holds it. Several may hold one.
  ///
  /// @param find throws when there is no such release
  /// @param name what the release is called in full
  synchronized <R> Lease<R> hold(Supplier<R> find, Function<? super R, String> name) {
    R release = find.get();
    String full = name.apply(release);
    held.merge(full, 1, Integer::sum);
    return new Held<>(release, () -> end(full));
  }

  private synchronized void end(String full) {
    held.computeIfPresent(full, (_, count) -> count == 1 ? null : count - 1);
  }

  /// Removes a release while nothing can begin to start on it.
  ///
  /// @param find gives its full name, or throws when there is no such release
  /// @param removal is given that name
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE]
  synchronized void remove(Supplier<String> find, Consumer<String> removal) {
    String full = find.get();
    if (held.containsKey(full)) {
      throw Problem.RELEASE_IN_USE.because("Something is being started on " + full + ".");
    }
    removal.accept(full);
  }
}
