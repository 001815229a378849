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
}
