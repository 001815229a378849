package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// The character devices of a foreign command line and what they serve: serial ports, monitors, the
/// guest's console. Two processes cannot hold the other end of one; that of the console is
/// replaced, and those of monitors are left out.
///
/// The console is the first serial port, or else the first console device, whose other end can be
/// replaced.
final class ForeignConsoles implements ForeignSubject {
  private static final String OUR_CONSOLE = "hf-console";
  private static final Set<String> NO_PORT = Set.of("none", "null");
  private static final Set<String> CONSOLE_DEVICES =
      Set.of("isa-serial", "pci-serial", "virtconsole");
  private static final Set<String> REPLACEABLE = Set.of("socket", "stdio", "file");
  private static final String BY_NAME = "chardev:";
  private static final String LOG = "logfile";

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final Map<String, Suboptions> chardevs = new LinkedHashMap<>();
  private final Set<String> monitors = new HashSet<>();
  private final Set<Path> logs = new LinkedHashSet<>();

  /// Those of TPMs, of network backends and of devices that cannot move, which are refused for a
  /// reason of their own.
  private final Set<String> elsewhere = new HashSet<>();

  /// The character device of the console; empty as long as there is none.
  private String consoleId = "";

  private Optional<Path> socket = Optional.empty();

  ForeignConsoles(ForeignPieces pieces, ForeignFolders folders) {
    this.pieces = pieces;
    this.folders = folders;
  }

  /// The files that are appended to.
  Set<Path> logs() {
    return logs;
  }

  private Path logged(Path log) {
    logs.add(log);
    return log;
  }

  /// The socket of the console, if it listens at one.
  Optional<Path> socket() {
    return socket;
  }

  @Override
  public List<ForeignVerdict> survey() {
    List<ForeignVerdict> verdicts = new ArrayList<>();
    for (ForeignPiece piece : pieces.all()) {
      ForeignVerdict verdict = ForeignVerdict.of(piece);
      verdicts.add(verdict);
      switch (piece.option()) {
        case CHARDEV -> collect(verdict.pairs(piece, "backend"), verdict);
        case MON -> monitors.add(verdict.pairs(piece, "chardev").get("chardev", ""));
        case TPMDEV -> elsewhere.add(piece.pairs("type").get("chardev", ""));
        case DEVICE -> device(piece.pairs("driver"));
        case NETDEV -> piece.pairs("type").get("chardev").ifPresent(elsewhere::add);
        case QMP, QMP_PRETTY, MONITOR -> byName(piece).ifPresent(monitors::add);
        default -> {}
      }
    }
    choose();
    return verdicts;
  }

  private void collect(Suboptions chardev, ForeignVerdict verdict) {
    String id = chardev.get("id", "");
    chardevs.put(id, chardev);
    if (id.startsWith("hf-")) {
      verdict.refuse("names that begin with hf- are HyperFresh's own");
    }
  }

  private void device(Suboptions device) {
    device.get("chardev").filter(_ -> !ForeignDevices.isKnown(device)).ifPresent(elsewhere::add);
  }

  private static Optional<String> byName(ForeignPiece piece) {
    return piece.value().startsWith(BY_NAME)
        ? Optional.of(piece.value().substring(BY_NAME.length()))
        : Optional.empty();
  }

  private void choose() {
    Optional<ForeignPiece> serial = firstSerial();
    if (serial.isPresent()) {
      byName(serial.get()).ifPresent(this::choose);
      return;
    }
    for (ForeignPiece piece : pieces.of(ForeignOption.DEVICE).toList()) {
      Suboptions device = piece.pairs("driver");
      if (consoleId.isEmpty() && CONSOLE_DEVICES.contains(device.get("driver", ""))) {
        choose(device.get("chardev", ""));
      }
    }
  }

  private Optional<ForeignPiece> firstSerial() {
    return pieces.of(ForeignOption.SERIAL).findFirst();
  }

  private void choose(String id) {
    Suboptions chardev = chardevs.get(id);
    if (chardev != null && REPLACEABLE.contains(chardev.get("backend", ""))) {
      consoleId = id;
      socket = chardev.get("path").filter(_ -> isListener(chardev)).flatMap(folders::path);
    }
  }

  private static boolean isListener(Suboptions socket) {
    return socket.get("backend", "").equals("socket") && socket.isOn("server");
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case CHARDEV -> chardev(piece);
      case SERIAL -> serial(piece);
      case PARALLEL -> ForeignVerdict.only(piece, NO_PORT);
      case NOGRAPHIC -> nographic(piece);
      default -> ForeignVerdict.of(piece);
    };
  }

  private ForeignVerdict chardev(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions chardev = verdict.pairs(piece, "backend");
    String id = chardev.get("id", "");
    if (id.equals(consoleId) && !id.isEmpty()) {
      return console(verdict, id, logOf(chardev, verdict));
    }
    if (monitors.contains(id) || elsewhere.contains(id) || isOfSpice(chardev)) {
      return verdict;
    }
    return switch (chardev.get("backend", "")) {
      case "null", "vc" -> kept(piece, chardev, verdict);
      case "pty" ->
          kept(
              piece,
              chardev,
              verdict.remark(
                  "With each replacement, its terminal "
                      + ForeignPiece.excerpt(id)
                      + " (pty) gets another name; then open it again."));
      case "ringbuf" ->
          kept(
              piece,
              chardev,
              verdict.remark(
                  "With each replacement, its ring buffer "
                      + ForeignPiece.excerpt(id)
                      + " (ringbuf) starts empty."));
      case "file" -> file(chardev, verdict);
      default ->
          verdict.refuse(
              "two processes cannot hold its other end; only the console's and the monitors' are"
                  + " replaced");
    };
  }

  /// Whether the reason against `-spice` stands for it, too.
  private boolean isOfSpice(Suboptions chardev) {
    return chardev.get("backend", "").startsWith("spice") && pieces.has(ForeignOption.SPICE);
  }

  private ForeignVerdict kept(ForeignPiece piece, Suboptions chardev, ForeignVerdict verdict) {
    Suboptions ours = logged(chardev, verdict);
    return ours.equals(chardev) ? verdict.keep(piece) : verdict.words("-chardev", ours.text());
  }

  /// With a log that goes on where it would be begun anew.
  private Suboptions logged(Suboptions chardev, ForeignVerdict verdict) {
    Optional<String> log = chardev.get(LOG);
    if (log.isEmpty()) {
      return chardev;
    }
    Optional<Path> path = folders.log(log.get()).map(this::logged);
    if (path.isPresent()) {
      return chardev.with(LOG, path.get().toString()).with("logappend", "on");
    }
    logEnds(chardev, verdict);
    return chardev.without(LOG).without("logappend");
  }

  private static void logEnds(Suboptions chardev, ForeignVerdict verdict) {
    logEnds(ForeignPiece.excerpt(chardev.get("id", "")), verdict);
  }

  private static void logEnds(String whose, ForeignVerdict verdict) {
    verdict.remark(
        "With its first replacement, the log of "
            + whose
            + " ends: it is a descriptor of the process behind which no file is found that could be"
            + " appended to.");
  }

  private ForeignVerdict file(Suboptions chardev, ForeignVerdict verdict) {
    String file = chardev.get("path", "");
    Optional<Path> path = folders.log(file).map(this::logged);
    if (path.isEmpty() && !ForeignFolders.isSet(file)) {
      return verdict.refuse("its path cannot be understood");
    }
    if (path.isEmpty()) {
      logEnds(chardev, verdict);
      return verdict.words("-chardev", "null,id=" + chardev.get("id", "").replace(",", ",,"));
    }
    // Opened anew it would be emptied.
    Suboptions ours = chardev.with("path", path.get().toString()).with("append", "on");
    return verdict.words("-chardev", "file," + logged(ours, verdict).without("backend").text());
  }

  private Path logOf(Suboptions chardev, ForeignVerdict verdict) {
    Optional<String> log =
        chardev.get("backend", "").equals("file") ? chardev.get("path") : chardev.get(LOG);
    Optional<Path> path = log.flatMap(folders::log).map(this::logged);
    if (path.isEmpty() && log.filter(ForeignFolders::isSet).isPresent()) {
      logEnds(chardev, verdict);
    }
    return path.orElse(folders.consoleLog());
  }

  private static ForeignVerdict console(ForeignVerdict verdict, String id, Path log) {
    return verdict.words(
        "-chardev",
        "socket,id="
            + id.replace(",", ",,")
            + ",fd="
            + Descriptors.CONSOLE
            + ",server=on,wait=off,logfile="
            + log.toString().replace(",", ",,")
            + ",logappend=on");
  }

  private ForeignVerdict serial(ForeignPiece piece) {
    String value = piece.value();
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    if (value.equals("pty")) {
      return verdict
          .remark("With each replacement, its serial terminal (pty) gets another name.")
          .keep(piece);
    }
    if (NO_PORT.contains(value) || byName(piece).isPresent()) {
      return verdict.keep(piece);
    }
    boolean first = firstSerial().equals(Optional.of(piece));
    return first && consoleId.isEmpty()
        ? literalConsole(value.replaceFirst("^mon:", ""), verdict)
        : verdict.refuse("two processes cannot hold its other end; only the first is replaced");
  }

  private ForeignVerdict literalConsole(String value, ForeignVerdict verdict) {
    Path log = folders.consoleLog();
    if (value.startsWith("unix:")) {
      Suboptions unix = verdict.pairs(value.substring("unix:".length()), "path");
      socket = unix.get("path").filter(_ -> unix.isOn("server")).flatMap(folders::path);
    } else if (value.startsWith("file:")) {
      String file = value.substring("file:".length());
      Optional<Path> own = folders.log(file);
      if (own.isEmpty() && ForeignFolders.isSet(file)) {
        logEnds("the first serial port", verdict);
      }
      log = own.map(this::logged).orElse(log);
    } else if (!value.equals("stdio") && !value.equals("vc")) {
      return verdict.refuse("two processes cannot hold its other end");
    }
    return ourConsole(verdict, log);
  }

  private ForeignVerdict ourConsole(ForeignVerdict verdict, Path log) {
    consoleId = OUR_CONSOLE;
    return console(verdict, OUR_CONSOLE, log).words("-serial", BY_NAME + OUR_CONSOLE);
  }

  private ForeignVerdict nographic(ForeignPiece piece) {
    // It also tells the firmware to use the serial port.
    ForeignVerdict verdict =
        ForeignVerdict.of(piece).words("-display", "none", "-machine", "graphics=off");
    boolean plain = !pieces.has(ForeignOption.SERIAL, ForeignOption.NODEFAULTS);
    return plain && consoleId.isEmpty() ? ourConsole(verdict, folders.consoleLog()) : verdict;
  }
}
