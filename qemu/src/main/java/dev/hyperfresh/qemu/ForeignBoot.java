package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// What a guest boots, as a foreign command line says: kernel, initrd, firmware, and tables that
/// are made for it. QEMU reads files of these once and would read them again, so copies of them are
/// pinned.
final class ForeignBoot implements ForeignSubject {
  private static final String COPIED_FIRMWARE = "firmware";

  private final ForeignFolders folders;
  private final Map<Path, Path> pinned = new LinkedHashMap<>();
  private final List<String> firmware = new ArrayList<>();

  ForeignBoot(ForeignFolders folders) {
    this.folders = folders;
  }

  /// Files to be copied, and where to.
  Map<Path, Path> pinned() {
    return pinned;
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
      case BOOT -> without(piece, "order", Set.of("splash"));
      default -> ForeignVerdict.kept(piece);
    };
  }

  private ForeignVerdict folder(ForeignPiece piece) {
    firmware.add(piece.value());
    return ForeignVerdict.of(piece);
  }

  private ForeignVerdict pin(ForeignPiece piece, String to) {
    Optional<Path> from = folders.path(piece.value());
    if (from.isEmpty()) {
      return ForeignVerdict.refused(piece, "its path cannot be understood");
    }
    Path copy = folders.files().resolve(to);
    pinned.put(from.get(), copy);
    return ForeignVerdict.of(piece).words(piece.option().word(), copy.toString());
  }

  private static ForeignVerdict without(ForeignPiece piece, String implied, Set<String> keys) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    return verdict.pairs(piece, implied).values().keySet().stream().anyMatch(keys::contains)
        ? verdict.refuse("the file it names may have changed")
        : verdict.keep(piece);
  }
}
