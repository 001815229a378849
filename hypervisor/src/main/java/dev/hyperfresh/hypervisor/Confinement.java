package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Cgroup;
import java.util.Optional;
import java.util.OptionalInt;

/// What keeps all hypervisors of one guest from everything else on the host. Immutable.
///
/// @param user the number of a user and of a group that no other guest has; empty when they have
///   the daemon's rights
/// @param cgroup bounds what they use together; empty when nothing does
/// @param shortcoming why one of the two is missing, as half a sentence, or empty
public record Confinement(OptionalInt user, Optional<Cgroup> cgroup, String shortcoming) {
  /// Nothing but what the hypervisor does by itself.
  public static final Confinement NONE =
      new Confinement(OptionalInt.empty(), Optional.empty(), "started without confinement");
}
