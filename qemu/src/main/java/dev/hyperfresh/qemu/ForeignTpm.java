package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/// The TPM of a foreign command line. It is emulated by a process of its own, an swtpm that serves
/// this one QEMU, so every later instance gets an swtpm of its own, on a socket that it is passed
/// ([Swtpm]). What the TPM holds goes from one to the other with QEMU's state.
final class ForeignTpm implements ForeignSubject {
  private static final Set<String> KEYS = Set.of("type", "id", "chardev");

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final LiveMachine live;
  private Optional<Path> socket = Optional.empty();

  ForeignTpm(ForeignPieces pieces, ForeignFolders folders, LiveMachine live) {
    this.pieces = pieces;
    this.folders = folders;
    this.live = live;
  }

  /// Where its swtpm listens; empty when it has no TPM that can be taken over.
  Optional<Path> socket() {
    return socket;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions tpm = verdict.pairs(piece, "type");
    return switch (tpm.get("type", "")) {
      case "emulator" -> emulator(tpm, verdict);
      case "passthrough" ->
          verdict.refuse(
              "the TPM of the host cannot be in two QEMUs", "give it an emulated one (swtpm)");
      default -> verdict.refuse("this kind of TPM is not known here");
    };
  }

  private ForeignVerdict emulator(Suboptions tpm, ForeignVerdict verdict) {
    verdict.refuseUnknown(tpm.values().keySet(), KEYS);
    String id = tpm.get("chardev", "");
    Optional<Suboptions> chardev =
        pieces
            .of(ForeignOption.CHARDEV)
            .map(piece -> piece.pairs(SocketChardev.BACKEND))
            .filter(pairs -> pairs.get("id", "").equals(id))
            .findFirst();
    if (chardev.isEmpty() && !live.isSeen() && pieces.has(ForeignOption.READCONFIG)) {
      return verdict.unknown("its character device stands in a file that is not read here", "");
    }
    if (chardev.filter(ForeignTpm::isOurs).isPresent()) {
      return verdict.refuse(
          "its swtpm was started here before the guest went back to its manager, and serves this"
              + " process alone",
          "have its manager stop and start it");
    }
    socket = chardev.filter(ForeignTpm::isClient).flatMap(pairs -> folders.socket(path(pairs)));
    if (socket.isEmpty()) {
      return verdict.refuse(
          "it is not connected to an swtpm by the path of a unix socket",
          "connect it with -chardev socket,path=");
    }
    if (!live.isSeen()) {
      verdict.unknown(
          "only its swtpm can tell where it keeps the TPM's state, and whether it is encrypted",
          "have guest adopt look");
    }
    return verdict.words(
        ForeignOption.CHARDEV.word(),
        "socket,id=" + id.replace(",", ",,") + ",fd=" + Descriptors.TPM,
        ForeignOption.TPMDEV.word(),
        tpm.text());
  }

  private static boolean isOurs(Suboptions chardev) {
    return ForeignChannels.isSocket(chardev)
        && chardev.get("fd", "").equals(Integer.toString(Descriptors.TPM));
  }

  private static boolean isClient(Suboptions chardev) {
    return ForeignChannels.isSocket(chardev)
        && !chardev.isOn("server")
        && !chardev.isOn("abstract")
        && chardev.get("path").isPresent();
  }

  private static String path(Suboptions chardev) {
    return chardev.get("path", "");
  }
}
