package dev.hyperfresh.qemu;

import java.util.Set;

/// What executes the guest's code: the CPU model and the accelerator of a foreign command line. The
/// accelerator is pinned to the one that the guest runs on.
final class ForeignProcessor implements ForeignSubject {
  private static final Set<String> DIFFERENT_ON_EACH_RELEASE = Set.of("host", "max", "base");

  private final LiveMachine live;
  private String cpu;
  private boolean acceleratorGiven;

  ForeignProcessor(LiveMachine live) {
    this.live = live;
    this.cpu = live.defaultCpu();
  }

  /// The CPU model with its features.
  String cpu() {
    return cpu;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case CPU -> model(piece);
      case ACCEL -> accelerator(piece);
      default -> ForeignVerdict.of(piece);
    };
  }

  private ForeignVerdict model(ForeignPiece piece) {
    cpu = piece.value();
    String model = cpu.split(",", 2)[0];
    return DIFFERENT_ON_EACH_RELEASE.contains(model)
        ? ForeignVerdict.refused(
            piece,
            "the model '" + model + "' is another processor on each release",
            "start the guest with a named one, such as qemu64 or EPYC")
        : ForeignVerdict.kept(piece);
  }

  /// Of several the first that works is taken by QEMU; that is known by now.
  private ForeignVerdict accelerator(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions accelerator = verdict.pairs(piece, "accel");
    String label = live.accelerator().label();
    if (accelerator.get("accel", "").equals(label) && accelerator.values().size() > 1) {
      verdict.words("-accel", accelerator.text());
      acceleratorGiven = true;
    }
    return verdict;
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    return acceleratorGiven ? verdict : verdict.words("-accel", live.accelerator().label());
  }
}
