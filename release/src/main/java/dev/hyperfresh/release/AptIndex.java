package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import java.io.IOException;
import java.time.Duration;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// The index of a [PrivateApt], which is fetched when it is too old for what is to be done.
///
/// @param progress gets one line for every step
record AptIndex(PrivateApt apt, Consumer<String> progress) {
  /// How old it may be for what is to be downloaded.
  static final Duration DAY = Duration.ofDays(1);

  /// Does something for which the index is not too old; once more with a new index when it fails on
  /// a kept one.
  ///
  /// @param present as for [PrivateApt#configure]
  /// @throws PackagesException when the index cannot be fetched, or as `work`
  <T> T on(String present, Duration oldest, Supplier<T> work) throws IOException {
    return update(present, oldest) ? work.get() : orRefreshed(work);
  }

  /// Sees to an index that is not too old.
  ///
  /// @return whether a mirror was asked for it
  private boolean update(String present, Duration oldest) throws IOException {
    boolean moved = apt.configure(present);
    if (moved || !apt.hasIndex()) {
      refresh();
      return true;
    }
    if (apt.indexAge().compareTo(oldest) <= 0) {
      return false;
    }
    try {
      refresh();
    } catch (PackagesException e) {
      if (e.kind() != PackagesException.Kind.UNREACHABLE) {
        throw e;
      }
      progress.accept("no mirror answers; using the package index of " + apt.indexDate());
    }
    return true;
  }

  private void refresh() throws IOException {
    progress.accept("fetching the package index of " + apt.suiteName());
    apt.refresh();
  }

  private <T> T orRefreshed(Supplier<T> work) throws IOException {
    try {
      return work.get();
    } catch (PackagesException first) {
      try {
        refresh();
        return work.get();
      } catch (PackagesException second) {
        second.addSuppressed(first);
        throw second;
      }
    }
  }
}
