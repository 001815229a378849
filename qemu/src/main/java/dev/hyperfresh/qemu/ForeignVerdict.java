package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// What the reading of one piece of a foreign command line, or of the line as a whole, came to. The
/// piece moves; or it moves with remarks, which its owner should know; or only the running QEMU,
/// which is not asked, can tell; or it cannot be taken over, for one or more reasons. In the last
/// two cases its words mean nothing. All reasons are collected.
///
/// Made and filled by the one reader of the piece, and only read afterwards.
final class ForeignVerdict {
  private final String what;
  private final Optional<ForeignPiece> piece;
  private final List<ForeignReason> against = new ArrayList<>();
  private final List<ForeignReason> open = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<ForeignReason> lineRemarks = new ArrayList<>();
  private final List<String> words = new ArrayList<>();

  private ForeignVerdict(String what, Optional<ForeignPiece> piece) {
    this.what = what;
    this.piece = piece;
  }

  static ForeignVerdict of(ForeignPiece piece) {
    return new ForeignVerdict(piece.text(), Optional.of(piece));
  }

  /// Of a word that is no piece.
  static ForeignVerdict of(String word) {
    return new ForeignVerdict(word, Optional.empty());
  }

  /// Of the line as a whole: its reasons are sentences of their own.
  static ForeignVerdict ofLine() {
    return new ForeignVerdict("", Optional.empty());
  }

  /// Later instances get the piece as it stands.
  static ForeignVerdict kept(ForeignPiece piece) {
    return of(piece).keep(piece);
  }

  static ForeignVerdict refused(ForeignPiece piece, String why) {
    return of(piece).refuse(why);
  }

  static ForeignVerdict refused(ForeignPiece piece, String why, String action) {
    return of(piece).refuse(why, action);
  }

  /// Of an option that moves with some values only.
  static ForeignVerdict only(ForeignPiece piece, Set<String> values) {
    List<String> sorted = values.stream().sorted().toList();
    return values.contains(piece.value())
        ? kept(piece)
        : refused(piece, "only " + String.join(", ", sorted) + " can be taken over");
  }

  /// A reason against the piece, which it names.
  ///
  /// @param why a clause without a full stop
  ForeignVerdict refuse(String why) {
    return refuse(why, "");
  }

  /// As [#refuse(String)], with what its owner can do about it.
  ///
  /// @param action likewise a clause, in the imperative
  ForeignVerdict refuse(String why, String action) {
    against.add(ForeignReason.ofPiece(what, why, action));
    return this;
  }

  /// A reason against the line.
  ///
  /// @param part of the machine, in a word or two
  /// @param why a clause that begins like a sentence, without a full stop
  /// @param action what its owner can do about it, or empty
  void speaksAgainst(String part, String why, String action) {
    against.add(ForeignReason.ofLine(part, why, action));
  }

  /// What keeps it open whether the piece moves: only the running QEMU can tell.
  ///
  /// @param why a clause without a full stop
  /// @param action what its owner can do about it, or empty
  ForeignVerdict unknown(String why, String action) {
    open.add(ForeignReason.ofPiece(what, why, action));
    return this;
  }

  /// As [#unknown], of the line.
  ///
  /// @param part of the machine, in a word or two
  void staysOpen(String part, String why, String action) {
    open.add(ForeignReason.ofLine(part, why, action));
  }

  /// Takes over what was found against the same piece before; what was found twice is one reason.
  void absorb(ForeignVerdict earlier) {
    earlier.against.stream().filter(reason -> !against.contains(reason)).forEach(against::add);
    earlier.open.stream().filter(reason -> !open.contains(reason)).forEach(open::add);
  }

  /// What is not as before with later instances, in a whole sentence.
  ForeignVerdict remark(String sentence) {
    remarks.add(sentence);
    return this;
  }

  /// As [#remark], of the line, and before its guest is adopted.
  ///
  /// @param part of the machine, in a word or two
  /// @param what a clause that begins like a sentence, without a full stop
  void remarkOn(String part, String what) {
    lineRemarks.add(ForeignReason.ofLine(part, what, ""));
  }

  /// Arguments of later instances.
  ForeignVerdict words(String... arguments) {
    words.addAll(List.of(arguments));
    return this;
  }

  ForeignVerdict keep(ForeignPiece piece) {
    words.add(piece.option().word());
    if (piece.option().hasValue()) {
      words.add(piece.value());
    }
    return this;
  }

  /// The pairs of the piece; none, and a reason, where its value cannot be read as such.
  ///
  /// @param implied as with [Suboptions#parse]
  Suboptions pairs(ForeignPiece piece, String implied) {
    return pairs(piece.value(), implied);
  }

  /// The pairs of a text that stands in the piece, or stands for it.
  Suboptions pairs(String text, String implied) {
    try {
      return Suboptions.parse(text, implied);
    } catch (Suboptions.MalformedException e) {
      refuse(String.valueOf(e.getMessage()));
      return ForeignPiece.none();
    }
  }

  /// A reason that names those of `keys` which are not among the `known` ones, if there are any.
  void refuseUnknown(Set<String> keys, Set<String> known) {
    List<String> unknown = keys.stream().filter(key -> !known.contains(key)).toList();
    if (!unknown.isEmpty()) {
      refuse("not known here: " + ForeignPiece.excerpt(String.join(", ", unknown)));
    }
  }

  /// The piece, or empty for the line as a whole.
  String what() {
    return what;
  }

  /// All that speaks against it.
  List<ForeignReason> against() {
    return against;
  }

  /// All that only the running QEMU can tell.
  List<ForeignReason> open() {
    return open;
  }

  /// The piece itself; empty for the line as a whole and for a word that is none.
  Optional<ForeignPiece> piece() {
    return piece;
  }

  boolean isOfLine() {
    return what.isEmpty();
  }

  /// All of it in one word.
  Explanation.Verdict verdict() {
    if (!against.isEmpty()) {
      return Explanation.Verdict.CANNOT;
    }
    if (!open.isEmpty()) {
      return Explanation.Verdict.UNKNOWN;
    }
    return remarks.isEmpty() ? Explanation.Verdict.MOVES : Explanation.Verdict.REMARK;
  }

  List<String> remarks() {
    return remarks;
  }

  /// Remarks on the line as a whole.
  List<ForeignReason> lineRemarks() {
    return lineRemarks;
  }

  List<String> words() {
    return words;
  }
}
