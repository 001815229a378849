package dev.hyperfresh.qemu;

import java.util.List;

/// One subject of a foreign command line, such as its drives: reads the pieces that belong to it,
/// and remembers of them what a guest is described with here.
///
/// [#survey] comes first, then [#read] for each piece in the order of the line, then [#finish]; on
/// one thread. A piece that cannot be understood is no error but a verdict.
interface ForeignSubject {
  /// Looks through the whole line before any piece of it is read, since what one piece means may
  /// hang on a later one.
  ///
  /// @return what speaks against pieces on that account; without words
  default List<ForeignVerdict> survey() {
    return List.of();
  }

  /// Reads a piece.
  ForeignVerdict read(ForeignPiece piece);

  /// What can be said only of the line as a whole.
  default ForeignVerdict finish() {
    return ForeignVerdict.ofLine();
  }
}
