package dev.hyperfresh.hyperplexor;

/// Whoever is told of the guests of a [Hyperplexor]. What it does must not block and must not fail.
@FunctionalInterface
public interface GuestWatch {
  /// A guest is made, adopted, taken back, or another one than it was. It can be found by its name
  /// when this is called. On the guest's thread.
  void changed(GuestView guest);

  /// An instance of a guest was started that boots it. On the guest's thread, after [#changed].
  default void started(GuestView guest, StartReason why) {}

  /// A guest is gone, with its files. No other can have its name before this returns.
  default void deleted(String guest) {}

  /// A guest is its manager's again and is no longer known here. No other can have its name before
  /// this returns.
  default void handedBack(HandedBack guest) {}
}
