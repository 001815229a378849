package dev.hyperfresh.hyperplexor;

/// Told what is being done, in a few words for a person. Called on the guest's thread, never inside
/// the blackout; must not block.
@FunctionalInterface
public interface Progress {
  /// Ignores everything.
  Progress NONE = (state, text) -> {};

  /// A step begins.
  ///
  /// @param state the replacement's state, or the operation's name
  /// @param text one line for a person
  void step(String state, String text);

  /// Asked when all is prepared and the guest still runs on its source, and now and then while its
  /// memory is copied. May look around for a moment.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException when nobody wants it any more; the guest
  ///   stays on its source then
  default void requireWanted() {}
}
