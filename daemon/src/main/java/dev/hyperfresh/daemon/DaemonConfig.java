package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/// Where a daemon keeps things. Validated once, when it is made.
///
/// @param state the daemon's own directory: guests, journal, history, sockets
/// @param releases where releases are kept; several daemons may share it
/// @param packages apt's private state and downloads; shared likewise
/// @param startsAtOnce how many guests are started at once that nobody asked for, such as after a
///   boot of the host, 1 to [#MOST_STARTS]
/// @param watchTimes how long a guest's heartbeat is watched for the figures of a replacement
public record DaemonConfig(
    Path state, Path releases, Path packages, int startsAtOnce, WatchTimes watchTimes) {
  /// The most of [#startsAtOnce].
  public static final int MOST_STARTS = 64;

  // The JDK binds one byte less than the kernel allows.
  private static final int LONGEST_SOCKET = UnixSocket.MAX_PATH - 1;

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#HOST_SOCKET_PATH] when the path
  ///   of the API socket would be too long for the kernel
  /// @throws IllegalArgumentException when a number is out of its range
  public DaemonConfig {
    if (startsAtOnce < 1 || startsAtOnce > MOST_STARTS) {
      throw new IllegalArgumentException(startsAtOnce + " is not between 1 and " + MOST_STARTS);
    }
    state = state.toAbsolutePath().normalize();
    releases = releases.toAbsolutePath().normalize();
    packages = packages.toAbsolutePath().normalize();
    int length = socket(state).toString().getBytes(StandardCharsets.UTF_8).length;
    if (length > LONGEST_SOCKET) {
      throw Problem.HOST_SOCKET_PATH.because(socket(state) + " has " + length + " bytes.");
    }
  }

  /// With as many starts at once as [#startsByDefault] says, and the usual times of watching.
  public DaemonConfig(Path state, Path releases, Path packages) {
    this(state, releases, packages, startsByDefault(), WatchTimes.USUAL);
  }

  /// A guest that boots keeps about one core busy; at least two, so that one that hangs does not
  /// keep all others.
  public static int startsByDefault() {
    return Math.clamp(Runtime.getRuntime().availableProcessors(), 2, 16);
  }

  /// The same with another number of starts at once.
  public DaemonConfig starting(int atOnce) {
    return new DaemonConfig(state, releases, packages, atOnce, watchTimes);
  }

  /// The same with other times of watching.
  public DaemonConfig watching(WatchTimes times) {
    return new DaemonConfig(state, releases, packages, startsAtOnce, times);
  }

  /// Everything under one directory.
  public static DaemonConfig under(Path state) {
    return new DaemonConfig(state, state.resolve("releases"), state.resolve("apt"));
  }

  /// The directory that is used when none is named: `/var/lib/hyperfresh` for root, else
  /// `$XDG_STATE_HOME/hyperfresh`, as the XDG base directory specification has it.
  public static Path defaultState() {
    if (Host.effectiveUid() == 0) {
      return Path.of("/var/lib/hyperfresh");
    }
    String home = System.getProperty("user.home");
    return inHome(System.getenv("XDG_STATE_HOME"), Path.of(home, ".local", "state"));
  }

  private static Path inHome(@Nullable String configured, Path otherwise) {
    Path base = configured == null || !configured.startsWith("/") ? otherwise : Path.of(configured);
    return base.resolve("hyperfresh");
  }

  /// The unix socket of the API.
  public Path socket() {
    return socket(state);
  }

  /// The unix socket on which a newer daemon asks this one to hand over.
  Path upgradeSocket() {
    return state.resolve("upgrade.sock");
  }

  /// The unix socket of the daemon whose directory is `state`.
  public static Path socket(Path state) {
    return state.resolve("daemon.sock");
  }
}
