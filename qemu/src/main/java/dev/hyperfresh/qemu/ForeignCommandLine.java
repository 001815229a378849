package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// The command line of a QEMU that HyperFresh did not start, read to build the same machine again.
///
/// Only what [ForeignOption] and the tables of its subjects list is taken over; everything else is
/// a reason against it, by name. The line is split into pieces, each of which is read by the
/// [ForeignSubject] that it belongs to; here their verdicts are put together. All reasons are
/// collected. What comes out is the arguments of every later instance, which find their descriptors
/// under the numbers of [Descriptors].
final class ForeignCommandLine {
  static final int MAX_BYTES = 128 * 1024;
  static final int MAX_ARGUMENTS = 1000;

  static final String OUR_QMP = "hf-qmp";

  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<String> words = new ArrayList<>();
  private final ForeignPieces pieces;
  private final ForeignMachine machine;
  private final ForeignProcessor processor;
  private final ForeignMemory memory;
  private final ForeignDevices devices;
  private final ForeignDrives drives;
  private final ForeignNetwork network;
  private final ForeignConsoles consoles;
  private final ForeignDisplay display;
  private final ForeignBoot boot;
  private final ForeignSettings settings;

  /// Reads `arguments`, the program's name not among them.
  ///
  /// @param folder the process's working folder: relative paths start there
  /// @param files the guest's folder
  ForeignCommandLine(
      List<String> arguments, Path folder, Path files, String name, LiveMachine live) {
    boolean bounded = arguments.size() <= MAX_ARGUMENTS;
    this.pieces = ForeignPieces.of(bounded ? arguments : List.of());
    ForeignFolders folders = new ForeignFolders(folder, files);
    this.machine = new ForeignMachine(live);
    this.processor = new ForeignProcessor(live);
    this.memory = new ForeignMemory(pieces, live);
    this.devices = new ForeignDevices(pieces, live);
    this.drives = new ForeignDrives(folders, live);
    this.network = new ForeignNetwork(pieces);
    this.consoles = new ForeignConsoles(pieces, folders);
    this.display = new ForeignDisplay(pieces);
    this.boot = new ForeignBoot(folders);
    this.settings = new ForeignSettings(pieces);
    if (bounded) {
      readAll(name);
    } else {
      reasons.add("Its command line has more than " + MAX_ARGUMENTS + " arguments.");
    }
  }

  private void readAll(String name) {
    // The order is that of the sentences that people read.
    List<ForeignSubject> subjects =
        List.of(
            machine, memory, display, network, settings, consoles, devices, drives, boot,
            processor);
    pieces.faults().forEach(this::add);
    subjects.forEach(subject -> subject.survey().forEach(this::add));
    pieces.all().forEach(piece -> add(read(piece)));
    subjects.forEach(subject -> addLine(subject.finish()));
    words.addAll(own(name));
  }

  private ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option().fate()) {
      case REFUSED -> ForeignVerdict.refused(piece, piece.option().remark());
      case DROPPED -> ForeignVerdict.of(piece);
      case KEPT, REWRITTEN -> subject(piece).read(piece);
    };
  }

  private ForeignSubject subject(ForeignPiece piece) {
    return switch (piece.option()) {
      case MACHINE, M_MACHINE -> machine;
      case CPU, ACCEL, ENABLE_KVM -> processor;
      case OBJECT -> ForeignMemory.isBackend(piece) ? memory : settings;
      case NUMA -> memory;
      case DEVICE, GLOBAL -> devices;
      case DRIVE, BLOCKDEV, HDA, HDB, HDC, HDD, CDROM -> drives;
      case NETDEV, NIC, NET -> network;
      case CHARDEV, SERIAL, PARALLEL, NOGRAPHIC -> consoles;
      case DISPLAY, VGA -> display;
      case L, KERNEL, INITRD, BIOS, SMBIOS, BOOT -> boot;
      default -> settings;
    };
  }

  /// A reason that stands for several pieces, or was seen twice, is said once.
  private void add(ForeignVerdict verdict) {
    verdict.reasons().stream().filter(reason -> !reasons.contains(reason)).forEach(reasons::add);
    remarks.addAll(verdict.remarks());
    words.addAll(verdict.words());
  }

  private void addLine(ForeignVerdict verdict) {
    reasons.addAll(verdict.reasons());
    words.addAll(verdict.words());
  }

  /// What every later instance gets from here, whatever the line says.
  private static List<String> own(String name) {
    return List.of(
        "-name",
        "guest=" + name + ",debug-threads=on",
        "-sandbox",
        CommandLine.SANDBOX,
        "-monitor",
        "none",
        "-chardev",
        "socket,id=" + OUR_QMP + ",fd=" + Descriptors.QMP + ",server=on,wait=off",
        "-mon",
        "chardev=" + OUR_QMP + ",mode=control");
  }

  /// What speaks against a command line whatever its process says of itself: options that cannot be
  /// taken over.
  static List<String> options(List<String> arguments) {
    List<String> found = new ArrayList<>();
    for (int i = 0; i < Math.min(arguments.size(), MAX_ARGUMENTS); i++) {
      ForeignOption option = ForeignOption.of(arguments.get(i));
      if (option == null) {
        continue;
      }
      if (option.fate() == ForeignOption.Fate.REFUSED) {
        found.add(option.word() + ": " + option.remark() + ".");
      }
      i += option.hasValue() ? 1 : 0;
    }
    return found;
  }

  /// Whether it reads the configuration files of its host.
  boolean readsConfiguration() {
    return !pieces.has(ForeignOption.NO_USER_CONFIG);
  }

  /// Everything that speaks against it; empty when the machine can be built again.
  List<String> reasons() {
    return reasons;
  }

  /// What its owner should know of what is not as before with later instances, one sentence each.
  List<String> remarks() {
    return remarks;
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
    return boot.pinned();
  }

  /// The socket of the serial console.
  Optional<Path> console() {
    return consoles.socket();
  }

  /// The folders of firmware that the process was given.
  List<String> firmware() {
    return boot.firmware();
  }

  List<ForeignNetwork.Card> cards() {
    return network.cards(devices.macs());
  }
}
