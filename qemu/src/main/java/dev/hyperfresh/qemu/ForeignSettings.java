package dev.hyperfresh.qemu;

import java.util.Set;

/// The rest of a foreign command line: options that stand for themselves, most of which later
/// instances get as they stand, and the objects that are no memory.
final class ForeignSettings implements ForeignSubject {
  private static final Set<String> RANDOM = Set.of("/dev/urandom", "/dev/random");

  private final ForeignPieces pieces;

  ForeignSettings(ForeignPieces pieces) {
    this.pieces = pieces;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case OBJECT -> object(piece);
      // Later instances get their own.
      case NAME, SANDBOX, INCOMING -> ForeignVerdict.of(piece);
      default -> ForeignVerdict.kept(piece);
    };
  }

  private static ForeignVerdict object(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions object = verdict.pairs(piece, "qom-type");
    return switch (object.get("qom-type", "")) {
      case "iothread", "rng-builtin", "throttle-group" -> verdict.keep(piece);
      case "rng-random" ->
          RANDOM.contains(object.get("filename", "/dev/random"))
              ? verdict.keep(piece)
              : verdict.refuse("only /dev/urandom and /dev/random can be taken over");
      // No option that is taken over refers to a secret.
      case "secret" -> verdict;
      default -> verdict.refuse("objects of this type cannot be taken over");
    };
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    return pieces.has(ForeignOption.NO_USER_CONFIG) ? verdict : verdict.words("-no-user-config");
  }
}
