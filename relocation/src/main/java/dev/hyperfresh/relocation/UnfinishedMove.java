package dev.hyperfresh.relocation;

import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.Optional;

/// A move in which the daemon died. The new OS is asked whether it has the container: if so the
/// move is done to its end, else all of it is undone. For one thread.
///
/// Nothing else decides, and neither is done by halves: each step may be done again, and a step
/// that an OS does not answer ends with a [TroubleException], after which the whole is tried anew.
/// What the daemon held of the move is gone with it. A program that waits for its word hears the
/// end of the line, which is a no; one that would say something goes on when its port is taken
/// away.
///
/// @param from the OS that it leaves, if it lived when it was looked for
/// @param to the OS that it goes to, likewise
record UnfinishedMove(
    ContainerSpec spec, Placement.Move move, Optional<OsVm> from, Optional<OsVm> to) {
  private Inside in(OsVm os) {
    return new Inside(os, spec);
  }

  private Optional<OsVm> old() {
    return from.filter(os -> !os.ended());
  }

  private Optional<OsVm> fresh() {
    return to.filter(os -> !os.ended());
  }

  /// The number of its first process in the new OS, 0 when it came there and has ended; nothing
  /// when it is not there and never will be.
  Optional<Integer> arrived() {
    return fresh().flatMap(os -> in(os).here());
  }

  /// It runs in the old OS, and nothing of it is in the new one, where [#arrived] has found
  /// nothing.
  void undo() {
    // No peer may hear of its end there.
    fresh().ifPresent(os -> os.vm().attempted(() -> in(os).silence(true)));
    fresh().ifPresent(os -> in(os).end());
    old()
        .ifPresent(os -> {
          os.vm().clearPort(in(os).line(Inside.FREEZE));
          in(os).thaw();
          in(os).silence(false);
          if (move.transport().isCopied()) {
            CopyLink.cutFrom(spec, os);
          }
        });
    clearNew();
    fresh().ifPresent(os -> in(os).clear());
  }

  /// What peers have sent meanwhile goes to it in the new OS, and it hears them through no card but
  /// the one there.
  void deliver() {
    fresh().ifPresent(os -> os.vm().attempted(() -> in(os).deliver()));
    old()
        .ifPresent(os -> {
          os.vm().attempted(() -> in(os).silence(true));
          in(os).unplug();
        });
  }

  /// All of its memory is in the new OS, and nothing of it in the old one.
  ///
  /// @throws TroubleException when it has ended meanwhile
  void finish(Container container) {
    OsVm os = to.orElseThrow();
    if (container.hasImages()) {
      fetch(in(os), container);
    }
    // Its frames are the old OS's own from then on.
    container.forgetFreed();
    clearOld();
    clearNew();
    container.forgetImages();
  }

  private void fetch(Inside fresh, Container container) {
    Optional<Freed> freed = old().map(old -> new Freed(old, container.freed()));
    try {
      fresh.adopt();
      if (move.transport() != Transport.COPIED) {
        var _ = fresh.drain();
        old().ifPresent(os -> in(os).requireUnmoved());
      }
    } finally {
      freed.ifPresent(Freed::close);
    }
  }

  /// Nothing of it is in the old OS.
  void clearOld() {
    old()
        .ifPresent(os -> {
          os.vm().clearPort(in(os).line(Inside.FREEZE));
          in(os).clear();
          if (move.transport().isCopied()) {
            CopyLink.cutFrom(spec, os);
          }
        });
  }

  /// The new OS has nothing of the move, apart from the container.
  void clearNew() {
    fresh()
        .ifPresent(os -> {
          os.vm().clearPort(in(os).line(Inside.RESTORE));
          os.clear(move.window());
          if (move.transport().isCopied()) {
            CopyLink.cutTo(spec, os);
          }
        });
  }
}
