package dev.hyperfresh.qemu;

import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What becomes of each piece of a QEMU's command line when its guest is adopted and replaced, as
/// far as that can be told without an answer of the QEMU. Immutable.
///
/// @param pieces in the order of the line, then what can be said of the line as a whole
/// @param copyNeeded whether no other process can map the guest's memory, or a migration would send
///   it; false also where only the running QEMU can tell
public record Explanation(List<Piece> pieces, boolean copyNeeded) {
  /// How many bytes of a command line are read.
  public static final int MAX_BYTES = ForeignCommandLine.MAX_BYTES;

  /// How many arguments a command line may have.
  public static final int MAX_ARGUMENTS = ForeignCommandLine.MAX_ARGUMENTS;

  /// What becomes of a piece, the best first.
  public enum Verdict {
    /// It goes along, and the guest and its owner notice nothing.
    MOVES,
    /// It goes along, and something is not as before.
    REMARK,
    /// Only the running QEMU can tell.
    UNKNOWN,
    /// It cannot go along.
    CANNOT;

    /// In lower case, as tables and JSON show it.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// What becomes of a piece.
  ///
  /// @param what the piece as its owner wrote it, cut to 100 characters, or the part of the machine
  /// @param reason empty when it simply moves
  /// @param action what its owner can do about it; empty when that is nothing
  public record Piece(String what, Verdict verdict, String reason, String action) {}

  public Explanation {
    pieces = List.copyOf(pieces);
  }

  /// Reads a command line.
  ///
  /// @param arguments without the program's name
  /// @param version of the QEMU; empty when it is not known
  /// @param target what the guest is to be moved to; without one all machine types and devices are
  ///   taken as known to it
  public static Explanation of(
      List<String> arguments, String version, Optional<QemuModels> target) {
    ForeignCommandLine line = ForeignCommandLine.unseen(arguments, version);
    List<ForeignVerdict> more = target.map(models -> models.hold(line)).stream().toList();
    Set<Piece> said = new HashSet<>();
    List<Piece> pieces =
        Stream.concat(line.verdicts().stream(), more.stream())
            .flatMap(Explanation::pieces)
            .filter(piece -> piece.verdict() == Verdict.MOVES || said.add(piece))
            .toList();
    return new Explanation(pieces, line.needsCopy());
  }

  private static Stream<Piece> pieces(ForeignVerdict verdict) {
    if (verdict.isOfLine()) {
      return Stream.of(
              verdict.against().stream().map(reason -> piece(reason, Verdict.CANNOT)),
              verdict.open().stream().map(reason -> piece(reason, Verdict.UNKNOWN)),
              verdict.lineRemarks().stream().map(reason -> piece(reason, Verdict.REMARK)))
          .flatMap(pieces -> pieces);
    }
    List<ForeignReason> reasons =
        switch (verdict.verdict()) {
          case CANNOT -> verdict.against();
          case UNKNOWN -> verdict.open();
          case REMARK, MOVES -> List.of();
        };
    String reason =
        verdict.verdict() == Verdict.REMARK
            ? String.join(" ", verdict.remarks())
            : joined(reasons, ForeignReason::why);
    return Stream.of(
        new Piece(
            verdict.what(), verdict.verdict(), reason, joined(reasons, ForeignReason::action)));
  }

  private static Piece piece(ForeignReason reason, Verdict verdict) {
    return new Piece(reason.what(), verdict, reason.why(), reason.action());
  }

  private static String joined(List<ForeignReason> reasons, Function<ForeignReason, String> part) {
    return reasons.stream()
        .map(part)
        .filter(text -> !text.isEmpty())
        .distinct()
        .collect(Collectors.joining("; "));
  }

  /// The same with what else is known of the process.
  public Explanation with(List<Piece> more) {
    return new Explanation(Stream.concat(pieces.stream(), more.stream()).toList(), copyNeeded);
  }

  /// The worst of all pieces.
  public Verdict verdict() {
    return pieces.stream().map(Piece::verdict).max(Comparator.naturalOrder()).orElse(Verdict.MOVES);
  }
}
