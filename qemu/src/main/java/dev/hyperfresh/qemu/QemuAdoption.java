package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptRequest.Earlier;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.Stream;

/// One try to take a QEMU that something else started under management. First everything is looked
/// at, with questions that the guest does not notice; only when nothing speaks against it are its
/// memory and its queues taken, and its boot files copied.
final class QemuAdoption {
  /// A control socket that answers does so at once; one that does not has another client.
  private static final Duration PATIENCE = Duration.ofSeconds(3);

  /// A log that nobody reads.
  private static final Path NOTHING = Path.of("/dev/null");

  /// In the guest's folder: copies of the firmware that it runs with.
  private static final String FIRMWARE = "firmware-files";

  /// How many files are copied at most, and how many bytes together.
  static final int MOST_COPIES = 64;

  static final long MOST_COPIED = 256L << 20;

  /// Configuration files that QEMU reads unless it is told not to, as distributions and QEMU itself
  /// have them.
  private static final List<Path> CONFIGURATION =
      List.of(Path.of("/etc/qemu/qemu.conf"), Path.of("/usr/local/etc/qemu/qemu.conf"));

  private final AdoptRequest request;
  private final Duration limit;
  private final ForeignProcess process;
  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<Fd> taken = new ArrayList<>();

  QemuAdoption(AdoptRequest request) {
    this(request, MachineIdentity.LIMIT);
  }

  /// @param limit how long the process may take to answer all questions, each of which has
  ///   [#PATIENCE]
  QemuAdoption(AdoptRequest request, Duration limit) {
    this.request = request;
    this.limit = limit;
    this.process = new ForeignProcess(request.pid());
  }

  /// @throws HyperFreshException [Problem#ADOPT_REFUSED], [Problem#ADOPT_UNFIT]
  Adoption adopt() {
    OptionalLong start = Host.processStart(request.pid());
    if (start.isEmpty()) {
      throw unfit("There is no process " + request.pid() + ".");
    }
    try (PidFd pidFd = PidFd.open(request.pid())) {
      checkProgram();
      ForeignUser who = ForeignUser.of(request.pid());
      if (!who.reasons().isEmpty()) {
        // Nothing of it is connected to, read or run.
        throw Problem.ADOPT_REFUSED.because(String.join(" ", who.reasons()));
      }
      remarks.addAll(who.remarks());
      FoundProcess found = new FoundProcess(pidFd, start, who.rights(), who.ours());
      ForeignFiles files =
          new ForeignFiles(process, who.files(), request.earlier().map(Earlier::files));
      // A file that another user named is not read with the rights of this one.
      ForeignConfiguration configuration =
          ForeignConfiguration.of(arguments(), files::configuration);
      Seen seen = ask(who, configuration.arguments());
      reasons.addAll(configuration.faults());
      Adoption adoption = examine(found, who, files, seen);
      found.requireSame();
      return adoption;
    } catch (IOException | UncheckedIOException | LinuxException e) {
      taken.forEach(Fd::close);
      throw Problem.ADOPT_UNFIT.because(
          "Process " + request.pid() + " cannot be examined: " + e.getMessage(), e);
    } catch (RuntimeException e) {
      taken.forEach(Fd::close);
      throw e;
    }
  }

  private static HyperFreshException unfit(String detail) {
    return Problem.ADOPT_UNFIT.because(detail);
  }

  /// What the running QEMU says.
  private record Seen(LiveMachine live, LiveChanges changes) {}

  private Seen ask(ForeignUser who, List<String> arguments) throws IOException {
    Path control = request.control();
    UnixSocket socket;
    try {
      socket = process.connect(control, who.files(), PATIENCE, request.borrowed());
    } catch (LinuxException | IllegalArgumentException e) {
      throw Problem.ADOPT_UNFIT.because(control + " cannot be opened: " + e.getMessage(), e);
    } catch (QemuProcess.TroubleException e) {
      throw Problem.ADOPT_UNFIT.because(e.getMessage() + ".", e);
    }
    try (Qmp qmp =
        Qmp.open(socket, request.name() + "-adopt", new Transcript(), new Deaf(), PATIENCE)) {
      MachineIdentity.Respondent all = qmp::execute;
      MachineIdentity.Respondent patient = all.within(limit);
      LiveMachine live = LiveMachine.ask(patient);
      Map<String, Path> images = process.images(live.sets());
      return new Seen(live.byPath(images), LiveChanges.ask(arguments, images, patient));
    } catch (Qmp.QmpException e) {
      throw Problem.ADOPT_UNFIT.because(
          control
              + " does not answer like the control socket (QMP) of a QEMU; it may serve another"
              + " client: "
              + e.getMessage()
              + besides(),
          e);
    }
  }

  /// What speaks against the process and can be seen without an answer of it: its owner learns of
  /// that at once and not when the socket is free.
  private String besides() throws IOException {
    reasons.addAll(
        ForeignCommandLine.unseen(arguments(), "", request.copy(), request.borrowed()).obstacles());
    return reasons.isEmpty()
        ? ""
        : " It also cannot be adopted as it is: " + String.join(" ", reasons);
  }

  private Adoption examine(FoundProcess found, ForeignUser who, ForeignFiles files, Seen seen)
      throws IOException {
    PidFd pidFd = found.held();
    LiveMachine live = seen.live();
    LentFolder copies = LentFolder.of(who, request.files(), request.borrowed());
    reasons.addAll(live.obstacles());
    reasons.addAll(seen.changes().reasons());
    remarks.addAll(seen.changes().remarks());
    ForeignCommandLine line =
        new ForeignCommandLine(
            seen.changes().arguments(),
            new ForeignFolders(
                process.folder(),
                copies.named(),
                process.logs(live.sets()),
                Optional.of(process.sockets(pidFd))),
            request.name(),
            live,
            request.copy(),
            request.borrowed());
    reasons.addAll(line.reasons());
    remarks.addAll(line.remarks());
    checkFiles(line);
    checkLogs(line);
    checkSecrets(line);
    checkAddresses(who, line, files);
    checkFolders(line);
    checkConfiguration(line);
    Optional<ForeignSwtpm> tpm =
        line.tpm().map(socket -> ForeignSwtpm.at(socket, request.files(), request.borrowed()));
    tpm.ifPresent(swtpm -> {
      reasons.addAll(swtpm.reasons());
      remarks.addAll(swtpm.remarks());
    });
    if (!who.ours()) {
      reasons.addAll(files.closed(line, live.accelerator()));
    }
    // The program of another user is not run with the rights of this one.
    ForeignFirmware firmware =
        ForeignFirmware.of(found, firmwareGiven(line), request.files().resolve("firmware.log"));
    if (!firmware.complete()) {
      remarks.add(
          "Its program is not asked for its firmware, since it runs under a label, in another mount"
              + " namespace, or from a file that was replaced; later processes have that of their"
              + " releases, but for what is in the folders of its -L.");
    }
    Map<Path, Path> roms = roms(firmware, wanted(live, line), files, copies);
    boolean isCopied = request.copy() && line.needsCopy();
    List<String> mapped = isCopied ? List.of() : line.memories();
    MemoryFiles shared = MemoryFiles.find(process, mapped, live.memory(), reasons::add);
    shared.remark().ifPresent(remarks::add);
    ForeignPorts ports = ports(pidFd, who, line);
    GuestSpec spec = spec(live, line, ports.nics());
    if (line.reasons().isEmpty()) {
      // The summary is made of what was taken over; a fault of it is one of the machine.
      spec.faults().stream().filter(f -> !f.startsWith("kernel:")).forEach(reasons::add);
    }
    if (line.memories().isEmpty() && reasons.isEmpty()) {
      reasons.add("It has no memory that another process could map.");
    }
    if (!reasons.isEmpty()) {
      throw Problem.ADOPT_REFUSED.because(String.join(" ", reasons));
    }
    GuestMemory memory = isCopied ? apart(line.memories(), live) : shared.take(pidFd, taken::add);
    copies.make(who, request.borrowed());
    for (GuestTpm own : tpm.flatMap(ForeignSwtpm::tpm).stream().toList()) {
      own.write(request.files());
    }
    List<Map.Entry<Path, Path>> wanted = new ArrayList<>(line.pinned().entrySet());
    wanted.addAll(roms.entrySet());
    pin(wanted, files, copies);
    List<String> words = new ArrayList<>();
    if (!roms.isEmpty()) {
      words.addAll(List.of("-L", copies.named().resolve(FIRMWARE).toString()));
    }
    words.addAll(line.words());
    AdoptedMachine machine =
        new AdoptedMachine(
            words,
            request.control(),
            request.console().or(line::console),
            isCopied ? Memory.alone(memory.shape()) : shared.numbered(memory.shape()),
            ports.ports(),
            who.runAs(),
            request.borrowed() ? OptionalInt.of(request.pid()) : OptionalInt.empty());
    return new Adoption(
        spec,
        new AcceleratorChoice(live.accelerator(), "its QEMU was started with it"),
        machine,
        new Holdings(memory.descriptors(), ports.queues()),
        who.rights(),
        who.ours(),
        // A copy of its program would look for them elsewhere. Other guests may run that release,
        // so nothing of another user is among them.
        firmware.folders().stream()
            .filter(_ -> who.ours() && request.earlier().isEmpty())
            .flatMap(folder -> Stream.of("-L", folder.toString()))
            .toList(),
        remarks);
  }

  /// What runs as a loader's program is not told from the process, nor how to start it again.
  private void checkProgram() throws IOException {
    Path program = Files.readSymbolicLink(process.program());
    if (ProcFs.isLoader(program)) {
      throw Problem.ADOPT_REFUSED.because(
          "It was started through the dynamic loader "
              + program
              + ", which would be started later in its place; start the QEMU itself.");
    }
  }

  /// What it was started with. Of one that was handed back its own command line does not say what
  /// it has taken since.
  private List<String> arguments() throws IOException {
    Optional<Earlier> earlier = request.earlier();
    return earlier.isPresent()
        ? LentFolder.found(new AdoptedWords(earlier.get().words()).given(), earlier.get().files())
        : process.arguments();
  }

  /// The folders of firmware that it was given; those of its release stand on its own command line.
  private List<String> firmwareGiven(ForeignCommandLine line) throws IOException {
    return request.earlier().isEmpty()
        ? line.firmware()
        : ForeignPieces.of(LentFolder.found(process.arguments(), request.earlier().get().files()))
            .of(ForeignOption.L)
            .map(ForeignPiece::value)
            .toList();
  }

  private void checkFiles(ForeignCommandLine line) throws IOException {
    List<Path> files = new ArrayList<>(line.images());
    files.addAll(line.pinned().keySet());
    for (Path file : files) {
      if (!process.sees(file)) {
        reasons.add("Its file " + file + " is missing, or is a different file for this daemon.");
      } else if (line.pinned().containsKey(file) && process.startedBefore(file)) {
        reasons.add("Its file " + file + " was changed since it was read; restore the old one.");
      }
    }
  }

  /// A log that is a link, a pipe or a device may lead an instance of this daemon's user anywhere,
  /// or keep it waiting.
  private void checkLogs(ForeignCommandLine line) {
    for (Path log : line.logs()) {
      boolean isThere = Files.exists(log, LinkOption.NOFOLLOW_LINKS);
      boolean isPlain = Files.isRegularFile(log, LinkOption.NOFOLLOW_LINKS);
      boolean isSame = process.sees(isThere ? log : log.resolveSibling(""));
      if (!log.equals(NOTHING) && (!isSame || (isThere && !isPlain))) {
        reasons.add("Its log " + log + " is no plain file, or is a different one for this daemon.");
      }
    }
  }

  /// Later instances read them again.
  private void checkSecrets(ForeignCommandLine line) throws IOException {
    for (Path file : line.secrets()) {
      if (!Files.isRegularFile(file) || !process.sees(file)) {
        reasons.add(
            "The file "
                + file
                + " of its secret is missing, or is no file, or a different one for this daemon.");
      } else if (process.startedBefore(file)) {
        reasons.add(
            "The file " + file + " of its secret was changed since it was read; restart the QEMU.");
      }
    }
  }

  /// Later instances listen where the first one did, or where this daemon is.
  private void checkAddresses(ForeignUser who, ForeignCommandLine line, ForeignFiles files)
      throws IOException {
    AdoptedWords words = new AdoptedWords(line.words());
    boolean here = isWithinReach(who);
    words.vnc().ifPresent(vnc -> reasons.addAll(vnc.unreachable(here, process::sees)));
    Optional<SpiceServer> spice = words.spice();
    if (spice.isPresent()) {
      boolean beside = process.isInMyNetwork();
      spice.get().unreachable(beside, process::sees).ifPresent(reasons::add);
    }
    words.sockets().stream()
        .flatMap(socket -> socket.unreachable(here, process::sees).stream())
        .forEach(reasons::add);
    if (who.runAs().isPresent()) {
      reasons.addAll(ForeignAddresses.of(files, who.rights()).closed(words));
    }
  }

  /// What a network gives out of this host.
  private void checkFolders(ForeignCommandLine line) {
    for (Path folder : line.served()) {
      if (!Files.isDirectory(folder) || !process.sees(folder)) {
        reasons.add(
            "The folder "
                + folder
                + " of its user-mode network is missing, or is a different folder for this daemon.");
      }
    }
  }

  private void checkConfiguration(ForeignCommandLine line) {
    CONFIGURATION.stream()
        .filter(file -> line.readsConfiguration() && process.has(file))
        .forEach(file ->
            reasons.add(
                "It has read "
                    + file
                    + ", which may have changed; start it with -no-user-config."));
  }

  /// The firmware that it runs with, and where instances find copies of it. The content moves with
  /// the guest's state; it is the length that must not change.
  private Map<Path, Path> roms(
      ForeignFirmware firmware,
      List<ForeignFirmware.Rom> wanted,
      ForeignFiles files,
      LentFolder copies)
      throws IOException {
    Map<Path, Path> roms = new LinkedHashMap<>();
    for (ForeignFirmware.Rom rom : wanted) {
      Optional<Path> file = firmware.find(rom.name()).filter(process::sees);
      OptionalLong length = file.map(files::length).orElse(OptionalLong.empty());
      if (file.isEmpty() && !firmware.complete()) {
        continue;
      }
      if (file.isEmpty() || length.isEmpty()) {
        reasons.add("Its firmware " + rom.name() + " is not there any more; restore it.");
      } else if (!rom.takes(length.getAsLong())
          || (rom.bytes().isEmpty() && process.startedBefore(file.get()))) {
        reasons.add(
            "Its firmware "
                + file.get()
                + " differs in length from what it runs with, so it was changed since; restore the"
                + " old one.");
      } else {
        roms.put(file.get(), copies.named().resolve(FIRMWARE).resolve(rom.name()));
      }
    }
    return roms;
  }

  /// What it has loaded as firmware, and what it looked for in the same folders.
  private static List<ForeignFirmware.Rom> wanted(LiveMachine live, ForeignCommandLine line) {
    Stream<ForeignFirmware.Rom> others =
        line.lookedUp().stream()
            .map(name -> new ForeignFirmware.Rom(name, OptionalLong.empty(), false));
    return Stream.concat(live.roms().stream(), others).distinct().toList();
  }

  /// New memory into which that of the process is to be copied, of ordinary pages.
  private GuestMemory apart(List<String> ids, LiveMachine live) {
    List<MemoryPart> parts =
        ids.stream().map(id -> MemoryPart.ordinary(live.memory().bytes(id))).toList();
    GuestMemory memory = GuestMemory.create("hf-" + request.name(), parts);
    taken.addAll(memory.descriptors());
    return memory;
  }

  /// Whether later instances can be where it is, which takes a daemon that is root.
  private boolean isWithinReach(ForeignUser who) throws IOException {
    return who.root() || process.isInMyNetwork();
  }

  /// The ends of its networks on this host, where later instances are to have the same ones.
  private ForeignPorts ports(PidFd pidFd, ForeignUser who, ForeignCommandLine line)
      throws IOException {
    ForeignPorts ports = new ForeignPorts(process, request.name());
    if (line.cards().isEmpty() && !line.hasUserNetwork()) {
      return ports;
    }
    if (!isWithinReach(who)) {
      reasons.add("It runs in another network namespace; run the daemon there, or as root.");
      return ports;
    }
    try {
      ports.take(pidFd, line.cards());
    } finally {
      taken.addAll(ports.queues());
    }
    reasons.addAll(ports.reasons());
    remarks.addAll(ports.remarks());
    return ports;
  }

  private GuestSpec spec(LiveMachine live, ForeignCommandLine line, List<Nic> nics) {
    GuestSpec spec =
        new GuestSpec(
            request.name(),
            live.vcpus(),
            live.memory().bytes(),
            live.machine(),
            line.cpu(),
            AcceleratorWish.valueOf(live.accelerator().name()),
            Optional.empty(),
            line.disks(),
            nics);
    return line.words().contains("-no-reboot")
        ? spec.ending(new EndPolicy(Then.STOP, Then.STOP, Then.STOP))
        : spec;
  }

  private static void pin(
      List<Map.Entry<Path, Path>> wanted, ForeignFiles files, LentFolder copies) {
    if (wanted.size() > MOST_COPIES) {
      throw Problem.ADOPT_REFUSED.because(
          "It reads more than " + MOST_COPIES + " files of which later processes need a copy.");
    }
    long left = MOST_COPIED;
    for (Map.Entry<Path, Path> file : wanted) {
      try {
        left -= files.copy(file.getKey(), copies.real(), copies.real(file.getValue()), left);
      } catch (IOException e) {
        throw Problem.ADOPT_REFUSED.because(
            file.getKey() + " cannot be copied: " + e.getMessage(), e);
      }
    }
  }

  /// Waits for answers only.
  private static final class Deaf implements Qmp.Listener {
    @Override
    public void event(QmpMessage.Event event) {}

    @Override
    public void ended(String reason, boolean heardAll) {}
  }
}
