package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;

/// What several suites have of one package. Immutable.
public final class Offers {
  /// @param suite that has it
  public record Offer(Suite suite, DebianVersion version) {}

  private final List<Offer> all;
  private final List<PackagesException> unasked;

  private Offers(List<Offer> all, List<PackagesException> unasked) {
    this.all = List.copyOf(all);
    this.unasked = List.copyOf(unasked);
  }

  /// Asks those of `suites` that are the machine's own: what they have, its own updates keep up.
  ///
  /// @param version asks one
  /// @param progress gets one line for each that cannot be asked
  public static Offers ofOwn(
      List<Suite> suites, Function<Suite, DebianVersion> version, Consumer<String> progress) {
    return of(suites.stream().filter(suite -> !suite.isWhole()).toList(), version, progress);
  }

  /// As [#ofOwn], of the others.
  public static Offers ofOthers(
      List<Suite> suites, Function<Suite, DebianVersion> version, Consumer<String> progress) {
    return of(suites.stream().filter(Suite::isWhole).toList(), version, progress);
  }

  // One that does not have the package offers nothing, and one that cannot be asked does not keep
  // the others from being asked.
  private static Offers of(
      List<Suite> suites, Function<Suite, DebianVersion> version, Consumer<String> progress) {
    List<Offer> all = new ArrayList<>();
    List<PackagesException> unasked = new ArrayList<>();
    for (Suite suite : suites) {
      try {
        all.add(new Offer(suite, version.apply(suite)));
      } catch (PackagesException e) {
        if (e.kind() != PackagesException.Kind.UNKNOWN_PACKAGE) {
          progress.accept(String.valueOf(e.getMessage()));
          unasked.add(e);
        }
      }
    }
    return new Offers(all, unasked);
  }

  /// The offers of certain versions, the newest first; of one version, that of the suite that was
  /// asked first.
  public List<Offer> newestFirst(Predicate<DebianVersion> wanted) {
    return all.stream()
        .filter(offer -> wanted.test(offer.version()))
        .sorted(Comparator.comparing(Offer::version).reversed())
        .toList();
  }

  /// All versions, in the order in which the suites were asked.
  public List<DebianVersion> versions() {
    return all.stream().map(Offer::version).toList();
  }

  /// For whoever has not found what it looks for.
  ///
  /// @throws PackagesException when a suite could not be asked, which may have it
  public void requireAll() {
    if (!unasked.isEmpty()) {
      throw unasked.getFirst();
    }
  }
}
