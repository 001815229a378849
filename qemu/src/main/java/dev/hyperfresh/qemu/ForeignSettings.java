package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;

/// The rest of a foreign command line: options that stand for themselves, most of which later
/// instances get as they stand, and the objects that are no memory.
final class ForeignSettings implements ForeignSubject {
  private static final Set<String> RANDOM = Set.of("/dev/urandom", "/dev/random");

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final Set<Path> secrets = new LinkedHashSet<>();
  private final boolean borrowed;

  /// @param borrowed whether the guest has a manager that takes it back
  ForeignSettings(ForeignPieces pieces, ForeignFolders folders, boolean borrowed) {
    this.pieces = pieces;
    this.folders = folders;
    this.borrowed = borrowed;
  }

  /// The files of secrets, which are read at each start.
  Set<Path> secrets() {
    return secrets;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case OBJECT -> object(piece);
      case USBDEVICE -> ForeignVerdict.only(piece, Set.of("tablet", "mouse", "keyboard"));
      case RUN_WITH -> runWith(piece);
      case REALTIME -> realtime(piece);
      case RUNAS -> becomes(ForeignVerdict.of(piece));
      // Of a process that runs, the options in the file stand in its place.
      case READCONFIG -> readLater(piece);
      case NAME -> borrowed ? name(piece) : ForeignVerdict.of(piece);
      // Later instances get their own.
      case SANDBOX, INCOMING -> ForeignVerdict.of(piece);
      default ->
          piece.option().fate() == ForeignOption.Fate.DROPPED
              ? ForeignVerdict.of(piece)
              : ForeignVerdict.kept(piece);
    };
  }

  private ForeignVerdict object(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions object = verdict.pairs(piece, "qom-type");
    return switch (object.get("qom-type", "")) {
      case "iothread", "rng-builtin", "throttle-group" -> verdict.keep(piece);
      case "rng-random" ->
          RANDOM.contains(object.get("filename", "/dev/random"))
              ? verdict.keep(piece)
              : verdict.refuse("only /dev/urandom and /dev/random can be taken over");
      // No other option that is taken over refers to a secret, but a manager may.
      case "secret" ->
          borrowed || isOfScreen(object.get("id", "")) ? secret(object, piece, verdict) : verdict;
      default -> verdict.refuse("objects of this type cannot be taken over");
    };
  }

  private boolean isOfScreen(String secret) {
    return ForeignDisplay.secrets(pieces).contains(secret)
        || ForeignSpice.secrets(pieces).contains(secret);
  }

  /// As the manager calls it. What looks after the threads knows them by their names.
  private static ForeignVerdict name(ForeignPiece piece) {
    String threads = "debug-threads";
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions name = verdict.pairs(piece, "guest");
    return name.isOn(threads)
        ? verdict.keep(piece)
        : verdict.words(piece.option().word(), name.with(threads, "on").text());
  }

  private static ForeignVerdict readLater(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    verdict.unknown("what its file says counts when the guest is adopted", "");
    return verdict;
  }

  /// QEMU locks its memory unless it is told not to.
  private static ForeignVerdict realtime(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions realtime = verdict.pairs(piece, "");
    verdict.refuseUnknown(realtime.values().keySet(), Set.of("mlock"));
    String lock = realtime.get("mlock").isEmpty() || realtime.isOn("mlock") ? "on" : "off";
    return verdict.words("-overcommit", "mem-lock=" + lock);
  }

  /// `async-teardown` is dropped, since it only speeds up the end of a process, and QEMU 7.2 does
  /// not know it.
  private static ForeignVerdict runWith(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions with = verdict.pairs(piece, "");
    with.get("user").ifPresent(_ -> becomes(verdict));
    with.get("chroot").ifPresent(_ -> verdict.refuse(ForeignOption.CHROOT.remark()));
    verdict.refuseUnknown(with.values().keySet(), Set.of("async-teardown", "user", "chroot"));
    return verdict;
  }

  /// Dropped: later processes are that user from their beginning.
  private static ForeignVerdict becomes(ForeignVerdict verdict) {
    return verdict.remark(
        "Later processes are started as the user that it became, which only a daemon that runs as"
            + " root can do.");
  }

  private ForeignVerdict secret(Suboptions secret, ForeignPiece piece, ForeignVerdict verdict) {
    if (secret.get("keyid").isPresent()) {
      return verdict.refuse("a secret that is encrypted cannot be taken over");
    }
    Optional<String> file = secret.get("file");
    if (file.isEmpty()) {
      return verdict.keep(piece);
    }
    if (!file.get().startsWith("/")) {
      return verdict.refuse("its file has a relative path");
    }
    Optional<Path> path = folders.path(file.get());
    if (path.isEmpty()) {
      return verdict.refuse("another process does not find its file");
    }
    secrets.add(path.get());
    return verdict.words(
        piece.option().word(), secret.with("file", path.get().toString()).like(piece.value()));
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    return pieces.has(ForeignOption.NO_USER_CONFIG) ? verdict : verdict.words("-no-user-config");
  }
}
