package dev.hyperfresh.qemu;

/// The monitors of a foreign command line. Later instances of a guest that is adopted for good do
/// without them, since nobody but HyperFresh is to control it. The manager of a guest that is
/// borrowed looks for them where they were, so those that listen at a unix socket stay, under the
/// names that they have.
final class ForeignMonitors implements ForeignSubject {
  private static final String BY_NAME = "chardev:";
  private static final String BY_FILE = "unix:";
  private static final String NONE = "none";

  /// How QEMU calls those of its short options, which it counts.
  private static final String COUNTED = "compat_monitor";

  private final ForeignPieces pieces;
  private final ForeignChannels channels;
  private final boolean borrowed;
  private int counted;
  private int kept;

  ForeignMonitors(ForeignPieces pieces, ForeignFolders folders, boolean borrowed) {
    this.pieces = pieces;
    this.channels = new ForeignChannels(folders);
    this.borrowed = borrowed;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    if (!borrowed) {
      return ForeignVerdict.of(piece);
    }
    return piece.option() == ForeignOption.MON ? named(piece) : counted(piece);
  }

  private ForeignVerdict named(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    return keeps(verdict.pairs(piece, "chardev").get("chardev", ""))
        ? verdict.keep(piece)
        : left(verdict);
  }

  private static ForeignVerdict left(ForeignVerdict verdict) {
    return verdict.remark(
        "Later instances do without a monitor that does not listen at the file of a unix socket.");
  }

  /// One of a short option is made of two longer ones, by the names that QEMU gives to it.
  private ForeignVerdict counted(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    String value = piece.value();
    if (value.equals(NONE)) {
      return verdict;
    }
    String id = COUNTED + counted++;
    if (value.startsWith(BY_NAME)) {
      String named = value.substring(BY_NAME.length());
      return keeps(named) ? monitor(named, piece.option(), verdict) : left(verdict);
    }
    Suboptions socket =
        value.startsWith(BY_FILE)
            ? ForeignChannels.serial(value, id, verdict).orElseThrow()
            : ForeignPiece.none();
    if (!listens(socket)) {
      return left(verdict);
    }
    // Nobody can tell where its log is.
    Suboptions plain = socket.without("logfile").without("logappend");
    return monitor(id, piece.option(), socket(plain, verdict));
  }

  private static ForeignVerdict monitor(String id, ForeignOption option, ForeignVerdict verdict) {
    String plain = id.replace(",", ",,");
    String how =
        switch (option) {
          case MONITOR -> "readline";
          case QMP_PRETTY -> "control,pretty=on";
          default -> "control";
        };
    return verdict.words(
        ForeignOption.MON.word(), "chardev=" + plain + ",id=" + plain + ",mode=" + how);
  }

  /// Whether the monitors on a character device stay, and it with them.
  boolean keeps(String id) {
    return borrowed
        && !id.isEmpty()
        && pieces
            .of(ForeignOption.CHARDEV)
            .map(piece -> piece.pairs(SocketChardev.BACKEND))
            .anyMatch(chardev -> chardev.get("id", "").equals(id) && listens(chardev));
  }

  private static boolean listens(Suboptions chardev) {
    return ForeignChannels.isSocket(chardev)
        && chardev.isOn("server")
        && !chardev.isOn("abstract")
        && (chardev.get("path").isPresent() || chardev.get("fd").isPresent());
  }

  /// Reads the socket of one that stays.
  ForeignVerdict socket(Suboptions chardev, ForeignVerdict verdict) {
    if (kept++ == Descriptors.MOST_MONITORS) {
      verdict.refuse("more than " + Descriptors.MOST_MONITORS + " monitors cannot be taken over");
    }
    return channels.monitor(chardev, verdict);
  }
}
