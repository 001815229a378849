package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/// A foreign command line, split into pieces.
///
/// @param all in the order of the line
/// @param faults words that are no pieces: what speaks against each
record ForeignPieces(List<ForeignPiece> all, List<Fault> faults) {
  /// A word that is no piece.
  ///
  /// @param before how many pieces stand before it
  record Fault(int before, ForeignVerdict verdict) {}

  /// Splits `arguments`, the program's name not among them.
  static ForeignPieces of(List<String> arguments) {
    List<ForeignPiece> pieces = new ArrayList<>();
    List<Fault> faults = new ArrayList<>();
    for (int i = 0; i < arguments.size(); i++) {
      String word = arguments.get(i);
      ForeignOption option = ForeignOption.of(word);
      if (option == null) {
        String what = word.isEmpty() ? "''" : ForeignPiece.excerpt(word);
        faults.add(
            new Fault(
                pieces.size(), ForeignVerdict.of(what).refuse("this option is not known here")));
        // Most likely its value.
        if (i + 1 < arguments.size() && !arguments.get(i + 1).startsWith("-")) {
          i++;
        }
      } else if (!option.hasValue()) {
        pieces.add(new ForeignPiece(option, ""));
      } else if (i + 1 < arguments.size()) {
        pieces.add(new ForeignPiece(option, arguments.get(++i)));
      } else {
        faults.add(
            new Fault(pieces.size(), ForeignVerdict.of(word).refuse("its value is missing")));
      }
    }
    return new ForeignPieces(pieces, faults);
  }

  /// The pieces of some options.
  Stream<ForeignPiece> of(ForeignOption... options) {
    Set<ForeignOption> wanted = Set.of(options);
    return all.stream().filter(piece -> wanted.contains(piece.option()));
  }

  boolean has(ForeignOption... options) {
    return of(options).findAny().isPresent();
  }
}
