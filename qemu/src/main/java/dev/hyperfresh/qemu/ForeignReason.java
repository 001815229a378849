package dev.hyperfresh.qemu;

/// Why a piece of a foreign command line, or the line as a whole, cannot be taken over.
///
/// @param what the piece as its owner wrote it, or the part of the machine in a word or two
/// @param why a clause without a full stop
/// @param action what its owner can do about it, likewise; empty when that is nothing
/// @param sentence all of it for people
record ForeignReason(String what, String why, String action, String sentence) {
  private static final int LONGEST = 1000;

  /// Against a piece, which the sentence names.
  static ForeignReason ofPiece(String piece, String why, String action) {
    String clean = clean(why);
    return new ForeignReason(piece, clean, action, piece + ": " + joined(clean, action));
  }

  /// Against the line.
  static ForeignReason ofLine(String part, String why, String action) {
    String clean = clean(why);
    return new ForeignReason(part, clean, action, joined(clean, action));
  }

  /// It may hold words of a line that anybody wrote.
  private static String clean(String why) {
    return ForeignGuest.clean(why, LONGEST);
  }

  private static String joined(String why, String action) {
    return why + (action.isEmpty() ? "" : "; " + action) + ".";
  }
}
