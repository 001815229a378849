package dev.hyperfresh.qemu;

/// Where a foreign command line plays and records the guest's sound. The state of a sound card
/// knows nothing of that place, so a card moves to another one: what belongs to the host's desktop
/// cannot be handed over, and gives way to silence. What goes to clients of SPICE goes to them.
final class ForeignSound implements ForeignSubject {
  private static final String SPICE = "spice";

  private final ForeignPieces pieces;

  ForeignSound(ForeignPieces pieces) {
    this.pieces = pieces;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions sound = verdict.pairs(piece, "driver");
    String driver = sound.get("driver", "");
    String id = sound.get("id", "");
    if (driver.isEmpty() || id.isEmpty()) {
      return verdict.refuse("it names no driver or has no id");
    }
    boolean ofClients = driver.equals(SPICE) && pieces.has(ForeignOption.SPICE);
    return driver.equals("none") || ofClients
        ? verdict.keep(piece)
        : verdict
            .remark(
                "From its first replacement on, its sound "
                    + ForeignPiece.excerpt(id + " (" + driver + ")")
                    + " is silent.")
            .words("-audiodev", "none,id=" + id.replace(",", ",,"));
  }
}
