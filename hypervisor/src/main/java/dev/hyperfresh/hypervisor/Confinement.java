package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.NetworkNamespace;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Supplier;

/// What keeps all hypervisors of one guest from everything else on the host. Immutable.
///
/// @param user the number of a user and of a group that no other guest has; empty when they have
///   the daemon's rights, or those of [AdoptedMachine.RunAs]
/// @param cgroup bounds what they use together; empty when nothing does
/// @param shortcoming why one of the two is missing, as half a sentence, or empty
/// @param network where they and the guest's ports are, unless that is the daemon's own; belongs to
///   whoever made this
public record Confinement(
    OptionalInt user,
    Optional<Cgroup> cgroup,
    String shortcoming,
    Optional<NetworkNamespace> network) {
  /// Nothing but what the hypervisor does by itself.
  public static final Confinement NONE =
      new Confinement(OptionalInt.empty(), Optional.empty(), "started without confinement");

  /// In the daemon's network namespace.
  public Confinement(OptionalInt user, Optional<Cgroup> cgroup, String shortcoming) {
    this(user, cgroup, shortcoming, Optional.empty());
  }

  /// Runs `body` in the guest's network namespace, in which processes and ports that it makes are.
  public <T> T within(Supplier<T> body) {
    return network.isPresent() ? network.get().within(body) : body.get();
  }

  /// Lets go of the network namespace.
  public void letGo() {
    network.ifPresent(NetworkNamespace::close);
  }
}
