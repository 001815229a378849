package dev.hyperfresh.hyperplexor;

import java.util.function.Consumer;

/// Tells of guests, and is not hurt by whoever is told.
///
/// @param watch who is told
/// @param change told of every guest that is not what it was, on its thread
record Telling(GuestWatch watch, Consumer<Guest> change) implements GuestStarts.Watch {
  @Override
  public void changed(Guest guest) {
    change.accept(guest);
  }

  @Override
  public void started(Guest guest, StartReason why) {
    Contained.run(
        "reporting the start of " + guest.spec().name(), () -> watch.started(guest.view(), why));
  }

  /// Its name is still taken, so that nothing is told of another guest of that name before.
  void deleted(String name) {
    Contained.run("reporting that " + name + " is deleted", () -> watch.deleted(name));
  }

  /// As [#deleted], of a guest that goes on under its manager.
  void handedBack(HandedBack back) {
    Contained.run(
        "reporting that " + back.name() + " was handed back", () -> watch.handedBack(back));
  }
}
