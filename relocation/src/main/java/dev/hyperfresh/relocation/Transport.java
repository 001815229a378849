package dev.hyperfresh.relocation;

import java.util.Locale;

/// How a container's memory gets from one OS to another.
public enum Transport {
  /// The old OS's memory is a window in the new one; pages come when the container runs there.
  MAPPED,
  /// It is written down with everything else while the container stands still, sent through a
  /// network to the other OS and read back: the ordinary way, to compare with.
  COPIED,
  /// As [#COPIED], but read back when the container runs, by CRIU's own `lazy-pages`: to compare
  /// with.
  COPIED_LAZILY;

  /// Whether everything goes through a [CopyLink] while the container stands still.
  boolean isCopied() {
    return this != MAPPED;
  }

  /// The word for it in orders and records.
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
