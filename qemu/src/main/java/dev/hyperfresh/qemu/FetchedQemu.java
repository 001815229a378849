package dev.hyperfresh.qemu;

import java.util.Locale;

/// What came of asking for the newest build.
///
/// @param release the newest that is here now
/// @param news whether it was here before
public record FetchedQemu(QemuRelease release, News news) {
  /// Whether there was something to fetch.
  public enum News {
    /// It was fetched or built now.
    FETCHED,
    /// The archives offer no newer one than that which was here.
    NEWEST,
    /// The archives could not be asked; there may be a newer one.
    UNASKED;

    /// As the API says it.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }
}
