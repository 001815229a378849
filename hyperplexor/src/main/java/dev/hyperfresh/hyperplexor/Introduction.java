package dev.hyperfresh.hyperplexor;

import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/// Keeps from being told how a guest is that nobody can find yet: whoever heard of it would look
/// for it in vain.
final class Introduction implements Consumer<Guest> {
  private final Consumer<Guest> changed;

  /// Written by the guest's thread.
  private volatile boolean made;

  /// @param changed told of the guest from [#make] on, on its thread
  Introduction(Consumer<Guest> changed) {
    this.changed = changed;
  }

  /// Any thread: whether the guest has been found.
  boolean isMade() {
    return made;
  }

  /// Guest's thread: the guest is not what it was.
  @Override
  public void accept(Guest guest) {
    if (made) {
      changed.accept(guest);
    }
  }

  /// Any thread: has the guest be found, and tells of it before whoever finds it can change it.
  ///
  /// @param found makes it known by its name; false when that cannot be, and then nothing is told
  /// @return what that gave
  boolean make(Guest guest, BooleanSupplier found) {
    return guest.call(() -> {
      made = found.getAsBoolean();
      Contained.run("reporting guest " + guest.spec().name(), () -> accept(guest));
      return made;
    });
  }
}
