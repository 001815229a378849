package dev.hyperfresh.qemu;

import java.util.Set;

/// What a foreign command line shows the guest's screen on, which must be nothing, and its graphics
/// card.
final class ForeignDisplay implements ForeignSubject {
  private final ForeignPieces pieces;

  ForeignDisplay(ForeignPieces pieces) {
    this.pieces = pieces;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    if (piece.option() == ForeignOption.VGA) {
      return ForeignVerdict.only(piece, Set.of("none", "std", "cirrus", "virtio"));
    }
    return isNone(piece)
        ? ForeignVerdict.kept(piece)
        : ForeignVerdict.refused(
            piece,
            "the window or listener of a display cannot be handed over",
            "use -display none");
  }

  private static boolean isNone(ForeignPiece display) {
    return display.value().equals("none");
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    boolean none =
        pieces.has(ForeignOption.NOGRAPHIC)
            || pieces.of(ForeignOption.DISPLAY).anyMatch(ForeignDisplay::isNone);
    if (!none) {
      verdict.speaksAgainst(
          "display",
          "It has a display, whose window or listener cannot be handed over",
          "use -display none");
    }
    return verdict;
  }
}
