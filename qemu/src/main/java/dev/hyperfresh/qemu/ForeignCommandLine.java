package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Stream;

/// The command line of a QEMU that HyperFresh did not start, read to build the same machine again.
///
/// Only what [ForeignOption] and the tables of its subjects list is taken over; everything else is
/// a reason against it, by name. The line is split into pieces, each of which is read by the
/// [ForeignSubject] that it belongs to; here their verdicts are put together. All reasons are
/// collected. What comes out is the arguments of every later instance, which find their descriptors
/// under the numbers of [Descriptors].
///
/// It may also be read without a running QEMU, to explain it: see [#unseen].
final class ForeignCommandLine {
  static final int MAX_BYTES = 128 * 1024;
  static final int MAX_ARGUMENTS = 1000;

  static final String OUR_QMP = "hf-qmp";

  private final List<ForeignVerdict> verdicts = new ArrayList<>();
  private final List<String> words = new ArrayList<>();
  private final ForeignPieces pieces;
  private final ForeignMachine machine;
  private final ForeignProcessor processor;
  private final ForeignMemory memory;
  private final ForeignDevices devices;
  private final ForeignDrives drives;
  private final ForeignNetwork network;
  private final ForeignMonitors monitors;
  private final ForeignConsoles consoles;
  private final ForeignDisplay display;
  private final ForeignSpice spice;
  private final ForeignSound sound;
  private final ForeignBoot boot;
  private final ForeignTpm tpm;
  private final ForeignSettings settings;

  private final ForeignCopies copies;
  private final boolean borrowed;

  /// Reads `arguments`, the program's name not among them; those of a file that `-readconfig` names
  /// stand among them ([ForeignConfiguration]).
  ForeignCommandLine(
      List<String> arguments, ForeignFolders folders, String name, LiveMachine live) {
    this(arguments, folders, name, live, false);
  }

  /// As the other one, of a guest that is adopted for good.
  ForeignCommandLine(
      List<String> arguments, ForeignFolders folders, String name, LiveMachine live, boolean copy) {
    this(arguments, folders, name, live, copy, false);
  }

  /// As the other one.
  ///
  /// @param copy whether memory that no other process can have may be copied, and does not speak
  ///   against the line
  /// @param borrowed whether the guest has a manager that takes it back and finds it again
  ForeignCommandLine(
      List<String> arguments,
      ForeignFolders folders,
      String name,
      LiveMachine live,
      boolean copy,
      boolean borrowed) {
    this.borrowed = borrowed;
    boolean bounded = arguments.size() <= MAX_ARGUMENTS;
    this.pieces = ForeignPieces.of(bounded ? arguments : List.of());
    this.copies = new ForeignCopies(folders);
    this.machine = new ForeignMachine(live);
    this.processor = new ForeignProcessor(pieces, live);
    this.memory = new ForeignMemory(pieces, live, copy);
    this.devices = new ForeignDevices(pieces, copies, live);
    this.drives = new ForeignDrives(folders, live);
    this.network = new ForeignNetwork(pieces, folders, live);
    this.monitors = new ForeignMonitors(pieces, folders, borrowed);
    this.consoles = new ForeignConsoles(pieces, folders, monitors, borrowed);
    this.display = new ForeignDisplay(pieces, folders, live.vnc());
    this.spice = new ForeignSpice(pieces, folders, borrowed);
    this.sound = new ForeignSound(pieces);
    this.boot = new ForeignBoot(copies);
    this.tpm = new ForeignTpm(pieces, folders, live);
    this.settings = new ForeignSettings(pieces, folders, borrowed);
    if (bounded) {
      readAll(name);
    } else {
      ForeignVerdict verdict = ForeignVerdict.ofLine();
      verdict.speaksAgainst(
          "command line", "Its command line has more than " + MAX_ARGUMENTS + " arguments", "");
      verdicts.add(verdict);
    }
  }

  /// Reads the line of a QEMU that is not asked anything. What only the running one can tell stays
  /// open, and the arguments of later instances mean nothing. Its memory may be copied.
  ///
  /// @param version of the QEMU; empty when it is not known
  static ForeignCommandLine unseen(List<String> arguments, String version) {
    return unseen(arguments, version, true, false);
  }

  /// As the other one.
  ///
  /// @param copy whether memory that no other process can have may be copied
  /// @param borrowed whether the guest has a manager that takes it back
  static ForeignCommandLine unseen(
      List<String> arguments, String version, boolean copy, boolean borrowed) {
    List<String> head = arguments.subList(0, Math.min(arguments.size(), MAX_ARGUMENTS));
    LiveMachine live = LiveMachine.unseen(ForeignPieces.of(head), version);
    Path folder = Path.of("/");
    ForeignFolders folders = new ForeignFolders(folder, folder, Map.of());
    return new ForeignCommandLine(arguments, folders, "guest", live, copy, borrowed);
  }

  private void readAll(String name) {
    // The order is that of the sentences that people read.
    List<ForeignSubject> subjects =
        List.of(
            machine, memory, display, network, settings, consoles, devices, drives, boot, processor,
            tpm);
    IdentityHashMap<ForeignPiece, List<ForeignVerdict>> surveyed = new IdentityHashMap<>();
    subjects.stream()
        .flatMap(subject -> subject.survey().stream())
        .forEach(verdict ->
            verdict
                .piece()
                .ifPresent(
                    piece -> surveyed.computeIfAbsent(piece, _ -> new ArrayList<>()).add(verdict)));
    List<ForeignPiece> all = pieces.all();
    for (int i = 0; i < all.size(); i++) {
      addFaults(i);
      ForeignVerdict verdict = read(all.get(i));
      surveyed.getOrDefault(all.get(i), List.of()).forEach(verdict::absorb);
      add(verdict);
    }
    addFaults(all.size());
    subjects.forEach(subject -> add(subject.finish()));
    words.addAll(own(name));
  }

  private void addFaults(int before) {
    pieces.faults().stream()
        .filter(fault -> fault.before() == before)
        .forEach(fault -> add(fault.verdict()));
  }

  private void add(ForeignVerdict verdict) {
    verdicts.add(verdict);
    words.addAll(verdict.words());
  }

  private ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option().fate()) {
      case REFUSED -> ForeignVerdict.refused(piece, piece.option().remark());
      case DROPPED, KEPT, REWRITTEN -> subject(piece).read(piece);
    };
  }

  private ForeignSubject subject(ForeignPiece piece) {
    return switch (piece.option()) {
      case MACHINE, M_MACHINE, NO_HPET, NO_ACPI -> machine;
      case CPU, ACCEL, ENABLE_KVM -> processor;
      case OBJECT -> ForeignMemory.isBackend(piece) ? memory : settings;
      case NUMA, MEM_PATH -> memory;
      case DEVICE, GLOBAL -> devices;
      case DRIVE, BLOCKDEV, HDA, HDB, HDC, HDD, CDROM, PFLASH -> drives;
      case NETDEV, NIC, NET -> network;
      case CHARDEV, SERIAL, PARALLEL, NOGRAPHIC -> consoles;
      case MON, QMP, QMP_PRETTY, MONITOR -> monitors;
      case DISPLAY, VGA, VNC -> display;
      case SPICE -> spice;
      case AUDIODEV -> sound;
      case TPMDEV -> tpm;
      case L, KERNEL, INITRD, BIOS, SMBIOS, BOOT -> boot;
      default -> settings;
    };
  }

  /// What every later instance gets from here, whatever the line says.
  private List<String> own(String name) {
    List<String> own = new ArrayList<>();
    if (!borrowed || !pieces.has(ForeignOption.NAME)) {
      own.addAll(List.of("-name", "guest=" + name + ",debug-threads=on"));
    }
    own.addAll(
        List.of(
            "-sandbox",
            CommandLine.SANDBOX,
            "-monitor",
            "none",
            "-chardev",
            "socket,id=" + OUR_QMP + ",fd=" + Descriptors.QMP + ",server=on,wait=off",
            "-mon",
            "chardev=" + OUR_QMP + ",mode=control"));
    return own;
  }

  /// Whether it reads the configuration files of its host.
  boolean readsConfiguration() {
    return !pieces.has(ForeignOption.NO_USER_CONFIG);
  }

  /// One for each piece, in the order of the line, then those of the line as a whole.
  List<ForeignVerdict> verdicts() {
    return verdicts;
  }

  /// Everything that speaks against it, or that it leaves open; empty when the machine can be built
  /// again. What was seen twice is said once.
  List<String> reasons() {
    return sentences(verdict -> Stream.concat(verdict.against().stream(), verdict.open().stream()));
  }

  /// Everything that speaks against it.
  List<String> obstacles() {
    return sentences(verdict -> verdict.against().stream());
  }

  private List<String> sentences(Function<ForeignVerdict, Stream<ForeignReason>> which) {
    return verdicts.stream().flatMap(which).map(ForeignReason::sentence).distinct().toList();
  }

  /// What its owner should know of what is not as before with later instances, one sentence each.
  List<String> remarks() {
    return verdicts.stream().flatMap(verdict -> verdict.remarks().stream()).toList();
  }

  /// Whether the guest's memory would have to be copied once.
  boolean needsCopy() {
    return memory.needsCopy();
  }

  /// The ids of its memories, in the order in which later instances get them.
  List<String> memories() {
    return memory.memories();
  }

  /// The arguments of later instances. Means nothing when there are [#reasons].
  List<String> words() {
    return words;
  }

  String cpu() {
    return processor.cpu();
  }

  List<Disk> disks() {
    return drives.disks();
  }

  /// Every image file that is opened.
  Set<Path> images() {
    return drives.images();
  }

  /// Files to be copied, and where to: what QEMU reads once and would read again.
  Map<Path, Path> pinned() {
    return copies.all();
  }

  /// The files of secrets, which later instances read again.
  Set<Path> secrets() {
    return settings.secrets();
  }

  /// Names of files without a folder that are looked for where firmware is.
  List<String> lookedUp() {
    return boot.lookedUp();
  }

  /// The files that later instances append to.
  Set<Path> logs() {
    return consoles.logs();
  }

  /// The socket of the serial console.
  Optional<Path> console() {
    return consoles.socket();
  }

  /// The folders of firmware that the process was given.
  List<String> firmware() {
    return boot.firmware();
  }

  /// The folders of files that its networks give out.
  Set<Path> served() {
    return network.served();
  }

  /// Where the swtpm of its TPM listens, if it has one.
  Optional<Path> tpm() {
    return tpm.socket();
  }

  /// Whether it is connected to user-mode networks.
  boolean hasUserNetwork() {
    return network.hasUserNetwork();
  }

  /// Its cards on taps.
  List<ForeignNetwork.Card> cards() {
    return network.cards(devices.macs());
  }
}
