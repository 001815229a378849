package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;

/// Who is on the way into an OS or out of it, which nothing else shows yet: so that no OS is ended
/// under a container that is starting in it, arriving there or still fetching its memory from it.
/// Thread-safe.
final class Occupancy {
  /// Of the programs that the agent of an OS runs at once (`CHILDREN` in programs.h) each container
  /// takes one that waits for its end; the rest is for what is done with them.
  static final int MOST_CONTAINERS = OsVm.MOST_CONTAINERS;

  private final Map<String, List<String>> places = new HashMap<>();
  private final Set<String> ending = new HashSet<>();

  /// The right to be in an OS, until it is closed.
  interface Place extends AutoCloseable {
    @Override
    void close();
  }

  /// Takes a place in an OS, before anything is done there.
  ///
  /// @param what is being done, such as `web1 is starting`
  /// @param inside the containers that are there
  /// @throws HyperFreshException [Problem#OS_UNKNOWN] when the OS is being ended, [Problem#OS_FULL]
  synchronized Place take(String os, String what, Supplier<List<String>> inside) {
    List<String> there = inside.get();
    // One that has arrived is there already, and keeps its place until it is done; and one that
    // has left and comes back has kept it.
    long taken =
        places.getOrDefault(os, List.of()).stream()
            .map(Occupancy::who)
            .filter(who -> !there.contains(who) && !who.equals(who(what)))
            .count();
    if (there.size() + taken >= MOST_CONTAINERS) {
      throw Problem.OS_FULL.because(os + " has " + MOST_CONTAINERS + " containers.");
    }
    return keep(os, what);
  }

  private static String who(String what) {
    return what.split(" ", 2)[0];
  }

  /// Keeps the place of a container that is there already, while it leaves.
  ///
  /// @param what is being done, such as `web1 is leaving`
  /// @throws HyperFreshException [Problem#OS_UNKNOWN] when the OS is being ended
  synchronized Place keep(String os, String what) {
    if (ending.contains(os)) {
      throw Problem.OS_UNKNOWN.because("OS " + os + " is being ended.");
    }
    places.computeIfAbsent(os, _ -> new ArrayList<>()).add(what);
    return () -> give(os, what);
  }

  private synchronized void give(String os, String what) {
    places.computeIfPresent(
        os,
        (_, taken) -> {
          taken.remove(what);
          return taken.isEmpty() ? null : taken;
        });
  }

  /// Has an OS ended while nobody can take a place in it.
  ///
  /// @param inside the containers that are there
  /// @throws HyperFreshException [Problem#OS_IN_USE] when somebody is there or on the way
  void end(String os, Supplier<List<String>> inside, Runnable end) {
    begin(os, inside);
    try {
      end.run();
    } finally {
      done(os);
    }
  }

  /// Has an OS ended with all that are in it, while nobody can take another place there.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN] when it is being ended
  void kill(String os, Runnable end) {
    claim(os);
    try {
      end.run();
    } finally {
      done(os);
    }
  }

  private synchronized void begin(String os, Supplier<List<String>> inside) {
    List<String> there = inside.get();
    if (!there.isEmpty()) {
      throw Problem.OS_IN_USE.because(os + " has " + String.join(", ", there) + ".");
    }
    List<String> taken = places.getOrDefault(os, List.of());
    if (!taken.isEmpty()) {
      throw Problem.OS_IN_USE.because(os + ": " + String.join(", ", taken) + ".");
    }
    claim(os);
  }

  private synchronized void claim(String os) {
    if (!ending.add(os)) {
      throw Problem.OS_UNKNOWN.because("OS " + os + " is being ended.");
    }
  }

  private synchronized void done(String os) {
    ending.remove(os);
  }
}
