package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// What a guest boots, as a foreign command line says: kernel, initrd, firmware, and tables that
/// are made for it. QEMU reads files of these once and would read them again, so copies of them are
/// pinned.
final class ForeignBoot implements ForeignSubject {
  private static final String COPIED_FIRMWARE = "firmware";
  private static final String NO_PATH = "its path cannot be understood";

  private final ForeignCopies copies;
  private final List<String> firmware = new ArrayList<>();
  private final List<String> lookedUp = new ArrayList<>();

  ForeignBoot(ForeignCopies copies) {
    this.copies = copies;
  }

  /// Names of files without a folder that are looked for where firmware is.
  List<String> lookedUp() {
    return lookedUp;
  }

  /// The folders of firmware that the process was given.
  List<String> firmware() {
    return firmware;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case L -> folder(piece);
      case KERNEL -> pin(piece, Qemu.PINNED_KERNEL);
      case INITRD -> pin(piece, Qemu.PINNED_INITRD);
      // A name without a folder is looked up in the release's own firmware folders.
      case BIOS ->
          piece.value().contains("/") ? pin(piece, COPIED_FIRMWARE) : ForeignVerdict.kept(piece);
      case SMBIOS -> without(piece, "type", Set.of("file", "path"));
      case BOOT -> order(piece);
      default -> ForeignVerdict.kept(piece);
    };
  }

  private ForeignVerdict folder(ForeignPiece piece) {
    firmware.add(piece.value());
    return ForeignVerdict.of(piece);
  }

  private ForeignVerdict pin(ForeignPiece piece, String to) {
    return copies
        .of(piece.value(), to)
        .map(copy -> ForeignVerdict.of(piece).words(piece.option().word(), copy.toString()))
        .orElseGet(() -> ForeignVerdict.refused(piece, NO_PATH));
  }

  /// The picture that the firmware shows is read at each start.
  private ForeignVerdict order(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions order = verdict.pairs(piece, "order");
    Optional<String> splash = order.get("splash").filter(file -> !file.isEmpty());
    if (splash.isEmpty()) {
      return verdict.keep(piece);
    }
    if (ForeignFirmware.isName(splash.get())) {
      lookedUp.add(splash.get());
      return verdict.keep(piece);
    }
    Optional<Path> copy = copies.of(splash.get());
    return copy.isEmpty()
        ? verdict.refuse(NO_PATH)
        : verdict.words("-boot", order.with("splash", copy.get().toString()).text());
  }

  private static ForeignVerdict without(ForeignPiece piece, String implied, Set<String> keys) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    return verdict.pairs(piece, implied).values().keySet().stream().anyMatch(keys::contains)
        ? verdict.refuse("the file it names may have changed")
        : verdict.keep(piece);
  }
}
