package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// The character devices of a foreign command line and what they serve: serial ports, monitors, the
/// guest's console. Two processes cannot hold the other end of one; that of the console is
/// replaced, those of monitors are left out or stay ([ForeignMonitors]), and sockets are taken over
/// ([ForeignChannels]).
///
/// The console is the first serial port, or else the first console device, whose other end can be
/// replaced. A guest that is borrowed has none: its manager looks for all of them where they were.
final class ForeignConsoles implements ForeignSubject {
  private static final String OUR_CONSOLE = "hf-console";
  private static final Set<String> NO_PORT = Set.of("none", "null");
  private static final Set<String> CONSOLE_DEVICES =
      Set.of("isa-serial", "pci-serial", "virtconsole");
  private static final Set<String> REPLACEABLE = Set.of("socket", "stdio", "file");
  private static final String BY_NAME = "chardev:";
  private static final String LOG = "logfile";
  private static final String WITH_MONITOR = "^mon:";
  private static final String FILE = "file:";

  /// The name of a channel by which clients of SPICE lend USB devices.
  private static final String REDIRECTION = "usbredir";

  private static final String NO_OTHER_END = "two processes cannot hold its other end";
  private static final String PUT_ELSEWHERE = "put it on a socket or a file";

  private final ForeignPieces pieces;
  private final ForeignFolders folders;
  private final ForeignChannels channels;
  private final ForeignMonitors kept;
  private final boolean borrowed;
  private final Map<String, Suboptions> chardevs = new LinkedHashMap<>();
  private final Set<String> monitors = new HashSet<>();

  /// Which device, or `-serial`, each character device serves.
  private final Map<String, String> ends = new HashMap<>();

  private final Set<Path> logs = new LinkedHashSet<>();

  /// Those of TPMs, which get another end ([ForeignTpm]), and those of network backends and of
  /// devices that cannot move, which are refused for a reason of their own.
  private final Set<String> elsewhere = new HashSet<>();

  /// The character device of the console; empty as long as there is none.
  private String consoleId = "";

  private Optional<Path> socket = Optional.empty();

  /// How many serial ports were read.
  private int serials;

  /// @param kept the monitors that stay
  /// @param borrowed whether the guest has a manager that takes it back
  ForeignConsoles(
      ForeignPieces pieces, ForeignFolders folders, ForeignMonitors kept, boolean borrowed) {
    this.pieces = pieces;
    this.folders = folders;
    this.kept = kept;
    this.borrowed = borrowed;
    this.channels = new ForeignChannels(folders);
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
        case SERIAL -> byName(piece).ifPresent(id -> ends.put(id, piece.option().word()));
        case NETDEV -> piece.pairs("type").get("chardev").ifPresent(elsewhere::add);
        case QMP, QMP_PRETTY, MONITOR -> byName(piece).ifPresent(monitors::add);
        default -> {}
      }
    }
    if (!borrowed) {
      choose();
    }
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
    device
        .get("chardev")
        .ifPresent(id -> {
          if (ForeignDevices.isKnown(device)) {
            ends.put(id, MachineIdentity.plain(device.get("driver", "")));
          } else {
            elsewhere.add(id);
          }
        });
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
      Path log = logOf(chardev, verdict);
      return console(ForeignChannels.isSocket(chardev) ? leaves(verdict) : verdict, id, log);
    }
    boolean ofMonitors = monitors.contains(id) && !ends.containsKey(id);
    if (ofMonitors && kept.keeps(id)) {
      return kept.socket(logged(chardev, verdict), verdict);
    }
    if (ofMonitors || elsewhere.contains(id)) {
      return verdict;
    }
    return switch (chardev.get("backend", "")) {
      case "null", "vc" -> kept(piece, chardev, verdict);
      case "pty" -> terminal(piece, chardev, verdict);
      case "ringbuf" ->
          kept(
              piece,
              chardev,
              verdict.remark(
                  "With each replacement, its ring buffer "
                      + ForeignPiece.excerpt(id)
                      + " (ringbuf) starts empty."));
      case "file" -> file(chardev, verdict);
      case "socket" -> channels.read(logged(chardev, verdict), end(id), verdict);
      case "spicevmc", "spiceport" -> spice(piece, chardev, verdict);
      case "dbus" -> verdict.refuse("it belongs to a display that cannot be handed over");
      case "qemu-vdagent" ->
          verdict.refuse("no QEMU before 10.1 can move a guest with it", "leave it out");
      default -> verdict.refuse(NO_OTHER_END, PUT_ELSEWHERE);
    };
  }

  /// What it serves; what a file says that is not read stays open.
  private Optional<String> end(String id) {
    return Optional.ofNullable(ends.get(id))
        .or(() ->
            pieces.of(ForeignOption.READCONFIG).findAny().map(_ -> ForeignOption.SERIAL.word()));
  }

  private ForeignVerdict terminal(ForeignPiece piece, Suboptions chardev, ForeignVerdict verdict) {
    String id = ForeignPiece.excerpt(chardev.get("id", ""));
    Optional<String> link = chardev.get("path");
    verdict.remark(
        "With each replacement, its terminal "
            + id
            + " (pty) gets another name; then open it again.");
    // Two processes cannot have one of the same name, and older releases know none.
    link.ifPresent(path ->
        verdict.remark(
            "With its first replacement, the link "
                + ForeignPiece.excerpt(path)
                + " to that terminal is not made any more."));
    return kept(piece, link.isPresent() ? chardev.without("path") : chardev, verdict);
  }

  /// Of the SPICE server, which says what becomes of its clients.
  private ForeignVerdict spice(ForeignPiece piece, Suboptions chardev, ForeignVerdict verdict) {
    if (!pieces.has(ForeignOption.SPICE, ForeignOption.READCONFIG)) {
      return verdict.refuse("there is no -spice that it could be a channel of", "leave it out");
    }
    if (chardev.get("name", "").equals(REDIRECTION)) {
      verdict.remark(
          "With each replacement, a USB device that a client lends to the guest by its channel "
              + ForeignPiece.excerpt(chardev.get("id", ""))
              + " is unplugged.");
    }
    return kept(piece, chardev, verdict);
  }

  private ForeignVerdict kept(ForeignPiece piece, Suboptions chardev, ForeignVerdict verdict) {
    Suboptions ours = logged(chardev, verdict);
    return ours.equals(piece.pairs("backend"))
        ? verdict.keep(piece)
        : verdict.words("-chardev", ours.text());
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

  private static ForeignVerdict leaves(ForeignVerdict verdict) {
    return verdict.remark(
        "With its first replacement, its console leaves that socket for the one that `guest show`"
            + " names then.");
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
    boolean first = serials++ == 0;
    if (value.equals("pty")) {
      return verdict
          .remark("With each replacement, its serial terminal (pty) gets another name.")
          .keep(piece);
    }
    if (NO_PORT.contains(value) || byName(piece).isPresent()) {
      return verdict.keep(piece);
    }
    String plain = value.replaceFirst(WITH_MONITOR, "");
    return first && consoleId.isEmpty() && !borrowed
        ? literalConsole(plain, verdict)
        : literalSerial(plain, verdict);
  }

  /// A port that is not the console gets a character device of its own, which can be taken over.
  private ForeignVerdict literalSerial(String value, ForeignVerdict verdict) {
    // As QEMU would call it, for who looks for it by that.
    String id = borrowed ? "serial" + (serials - 1) : "hf-serial" + serials;
    Optional<Suboptions> socket = ForeignChannels.serial(value, id, verdict);
    if (socket.isPresent()) {
      Suboptions logged = logged(socket.get(), verdict);
      channels.read(logged, Optional.of(ForeignOption.SERIAL.word()), verdict);
    } else if (value.startsWith(FILE)) {
      Map<String, String> file = new LinkedHashMap<>();
      file.put("id", id);
      file.put("path", value.substring(FILE.length()));
      file(new Suboptions(file, false), verdict);
    } else {
      return verdict.refuse(NO_OTHER_END, PUT_ELSEWHERE);
    }
    return verdict.words("-serial", BY_NAME + id);
  }

  private ForeignVerdict literalConsole(String value, ForeignVerdict verdict) {
    Path log = folders.consoleLog();
    if (value.startsWith("unix:")) {
      Suboptions unix = leaves(verdict).pairs(value.substring("unix:".length()), "path");
      socket = unix.get("path").filter(_ -> unix.isOn("server")).flatMap(folders::path);
    } else if (value.startsWith(FILE)) {
      String file = value.substring(FILE.length());
      Optional<Path> own = folders.log(file);
      if (own.isEmpty() && ForeignFolders.isSet(file)) {
        logEnds("the first serial port", verdict);
      }
      log = own.map(this::logged).orElse(log);
    } else if (!value.equals("stdio") && !value.equals("vc")) {
      return literalSerial(value, verdict);
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
    if (plain && borrowed) {
      return verdict.refuse(NO_OTHER_END, PUT_ELSEWHERE);
    }
    return plain && consoleId.isEmpty() ? ourConsole(verdict, folders.consoleLog()) : verdict;
  }
}
