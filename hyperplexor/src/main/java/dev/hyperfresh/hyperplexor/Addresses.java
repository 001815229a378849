package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Instance;
import java.util.Optional;
import java.util.function.Supplier;

/// What one process alone can have of a guest, such as the address of its screen.
final class Addresses {
  private static final System.Logger LOG = System.getLogger(Addresses.class.getName());

  private Addresses() {}

  /// Guest's thread: gives them to the instance that runs, beside which no other one is left.
  /// Whatever comes of it, the guest runs on.
  ///
  /// @return what it did not get, in sentences
  static Optional<String> take(String guest, Supplier<Instance> running) {
    Optional<String> amiss =
        Contained.get(
            "taking the addresses of " + guest,
            () -> running.get().takeAddresses(),
            Optional.of(
                "It is not known whether it listens where it did before, as at the address of its"
                    + " screen; the daemon's log says why. The next replacement and the next start"
                    + " of the daemon try again."));
    amiss.ifPresent(
        sentences -> LOG.log(System.Logger.Level.WARNING, "guest {0}: {1}", guest, sentences));
    return amiss;
  }
}
