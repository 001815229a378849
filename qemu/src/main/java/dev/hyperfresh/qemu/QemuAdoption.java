package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/// One try to take a QEMU that something else started under management. First everything is looked
/// at, with questions that the guest does not notice; only when nothing speaks against it are its
/// memory and its queues taken, and its boot files copied.
final class QemuAdoption {
  /// A control socket that answers does so at once; one that does not has another client.
  private static final Duration PATIENCE = Duration.ofSeconds(3);

  private static final int LONGEST_INTERFACE = 15;

  /// A log that nobody reads.
  private static final Path NOTHING = Path.of("/dev/null");

  /// In the guest's folder: copies of the firmware that it runs with.
  private static final String FIRMWARE = "firmware-files";

  /// Configuration files that QEMU reads unless it is told not to, as distributions and QEMU itself
  /// have them.
  private static final List<Path> CONFIGURATION =
      List.of(Path.of("/etc/qemu/qemu.conf"), Path.of("/usr/local/etc/qemu/qemu.conf"));

  private final AdoptRequest request;
  private final ForeignProcess process;
  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<Port> ports = new ArrayList<>();
  private final List<Fd> taken = new ArrayList<>();

  QemuAdoption(AdoptRequest request) {
    this.request = request;
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
      LiveMachine live = ask();
      Adoption adoption = examine(pidFd, live);
      if (!Host.processStart(request.pid()).equals(start)) {
        throw unfit("Process " + request.pid() + " has ended.");
      }
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

  private LiveMachine ask() throws IOException {
    Path control = request.control();
    UnixSocket socket;
    try {
      socket = UnixSocket.connect(control, PATIENCE);
    } catch (LinuxException | IllegalArgumentException e) {
      throw Problem.ADOPT_UNFIT.because(control + " cannot be opened: " + e.getMessage(), e);
    }
    // A socket that was passed to the process belongs to whoever made it, by the kernel's account.
    int peer = socket.peer().pid();
    if (peer != request.pid() && !process.listensAt(control)) {
      socket.close();
      throw unfit(control + " belongs to process " + peer + ", not to " + request.pid() + ".");
    }
    try (Qmp qmp =
        Qmp.open(socket, request.name() + "-adopt", new Transcript(), new Deaf(), PATIENCE)) {
      return LiveMachine.ask(qmp);
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
    var _ = checkUser();
    reasons.addAll(ForeignCommandLine.unseen(process.arguments(), "").obstacles());
    return reasons.isEmpty()
        ? ""
        : " It also cannot be adopted as it is: " + String.join(" ", reasons);
  }

  private Adoption examine(PidFd pidFd, LiveMachine live) throws IOException {
    reasons.addAll(live.obstacles());
    boolean ours = checkUser();
    ForeignConfiguration configuration = configuration(ours);
    reasons.addAll(configuration.faults());
    ForeignCommandLine line =
        new ForeignCommandLine(
            configuration.arguments(),
            new ForeignFolders(process.folder(), request.files(), process.logs(live.sets())),
            request.name(),
            live);
    reasons.addAll(line.reasons());
    remarks.addAll(line.remarks());
    checkFiles(line);
    checkLogs(line);
    checkSecrets(line);
    checkScreen(line);
    checkConfiguration(line);
    // The program of another user is not run with the rights of this one.
    ForeignFirmware firmware =
        ours
            ? ForeignFirmware.of(process, line.firmware(), request.files().resolve("firmware.log"))
            : new ForeignFirmware(process.folder(), List.of());
    Map<Path, Path> roms = ours ? roms(firmware, wanted(live, line)) : Map.of();
    Optional<Integer> memory = memory(live);
    List<Nic> nics = nics(pidFd, line.cards());
    GuestSpec spec = spec(live, line, nics);
    if (line.reasons().isEmpty()) {
      // The summary is made of what was taken over; a fault of it is one of the machine.
      spec.faults().stream().filter(f -> !f.startsWith("kernel:")).forEach(reasons::add);
    }
    if (!reasons.isEmpty() || memory.isEmpty()) {
      throw Problem.ADOPT_REFUSED.because(String.join(" ", reasons));
    }
    Fd ram = pidFd.takeFd(memory.get());
    taken.add(ram);
    pin(line.pinned());
    pin(roms);
    List<String> words = new ArrayList<>();
    if (!roms.isEmpty()) {
      words.addAll(List.of("-L", request.files().resolve(FIRMWARE).toString()));
    }
    words.addAll(line.words());
    AdoptedMachine machine =
        new AdoptedMachine(
            words, request.control(), request.console().or(line::console), memory.get(), ports);
    List<Fd> queues = taken.stream().filter(fd -> fd != ram).toList();
    return new Adoption(
        spec,
        new AcceleratorChoice(live.accelerator(), "its QEMU was started with it"),
        machine,
        new Holdings(ram, queues),
        // A copy of its program would look for them elsewhere.
        firmware.folders().stream().flatMap(folder -> Stream.of("-L", folder.toString())).toList(),
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

  /// Its arguments. A file that another user named is not read with the rights of this one.
  private ForeignConfiguration configuration(boolean ours) throws IOException {
    return ForeignConfiguration.of(
        process.arguments(),
        file -> {
          if (!ours) {
            throw new IOException("it is another user's");
          }
          return process.configuration(file);
        });
  }

  /// A new process of another user would have other rights than the guest's owner meant.
  private boolean checkUser() throws IOException {
    int uid = process.uid();
    boolean ours = uid == Host.effectiveUid();
    if (!ours) {
      reasons.add(
          "It runs as user "
              + uid
              + ", and later processes would run as user "
              + Host.effectiveUid()
              + "; run the daemon as that user, with a --state directory of its own.");
    }
    return ours;
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

  /// Later instances listen where this daemon is.
  private void checkScreen(ForeignCommandLine line) throws IOException {
    Optional<VncServer> vnc = new AdoptedWords(line.words()).vnc();
    if (vnc.isPresent()) {
      reasons.addAll(vnc.get().unreachable(process.isInMyNetwork(), process::sees));
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

  /// The firmware that it runs with, and where copies of it are to lie. The content moves with the
  /// guest's state; it is the length that must not change.
  private Map<Path, Path> roms(ForeignFirmware firmware, List<ForeignFirmware.Rom> wanted)
      throws IOException {
    Map<Path, Path> roms = new LinkedHashMap<>();
    for (ForeignFirmware.Rom rom : wanted) {
      Optional<Path> file = firmware.find(rom.name()).filter(process::sees);
      if (file.isEmpty()) {
        reasons.add("Its firmware " + rom.name() + " is not there any more; restore it.");
      } else if (!rom.takes(Files.size(file.get()))
          || (rom.bytes().isEmpty() && process.startedBefore(file.get()))) {
        reasons.add(
            "Its firmware "
                + file.get()
                + " differs in length from what it runs with, so it was changed since; restore the"
                + " old one.");
      } else {
        roms.put(file.get(), request.files().resolve(FIRMWARE).resolve(rom.name()));
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

  private Optional<Integer> memory(LiveMachine live) throws IOException {
    List<ForeignProcess.Descriptor> found = process.sharedMemory(live.memoryBytes());
    if (found.size() == 1) {
      String file = found.getFirst().target();
      if (!file.startsWith("/memfd:")) {
        remarks.add(
            "Its memory is the file " + file + ", which anyone with permission could truncate.");
      }
      if (process.hasHugePages(found.getFirst())) {
        reasons.add("Its memory has huge pages, which cannot be taken over yet.");
      }
      return Optional.of(found.getFirst().number());
    }
    reasons.add(
        found.isEmpty()
            ? "It maps no file of "
                + live.memoryBytes()
                + " bytes shared, so its memory is private and no other process can map it."
            : "It maps several files of its memory's size, and which one is its memory is unknown.");
    return Optional.empty();
  }

  private List<Nic> nics(PidFd pidFd, List<ForeignNetwork.Card> cards) throws IOException {
    if (cards.isEmpty()) {
      return List.of();
    }
    boolean here = process.isInMyNetwork();
    if (!here) {
      reasons.add("It runs in another network namespace; run the daemon there.");
    }
    List<Nic> nics = new ArrayList<>();
    Map<String, Integer> taps = process.taps();
    for (ForeignNetwork.Card card : cards) {
      Optional<Integer> number = descriptor(card, cards.size(), taps);
      if (number.isEmpty()) {
        reasons.add("Its network card " + card.id() + " has no tap that can be found.");
      } else if (here) {
        nics.add(nic(pidFd, card, number.get(), nics.size()));
      }
    }
    return nics;
  }

  private static Optional<Integer> descriptor(
      ForeignNetwork.Card card, int cards, Map<String, Integer> taps) {
    if (card.descriptor().isPresent()) {
      return card.descriptor().filter(taps::containsValue);
    }
    if (card.tap().isPresent()) {
      return card.tap().map(taps::get);
    }
    return cards == 1 && taps.size() == 1 ? taps.values().stream().findFirst() : Optional.empty();
  }

  private Nic nic(PidFd pidFd, ForeignNetwork.Card card, int number, int index) {
    Fd queue = pidFd.takeFd(number);
    Tap.Facts facts = Tap.facts(queue);
    if (facts.extensible()) {
      taken.add(queue);
      ports.add(new Port.Queue(number));
      return new Nic(facts.name(), facts.bridge(), card.mac());
    }
    queue.close();
    if (facts.bridge().isEmpty()) {
      reasons.add(
          "Its tap "
              + facts.name()
              + " cannot have a second queue and is in no bridge; put it into a bridge, where"
              + " another tap can replace it.");
      return new Nic(facts.name(), Optional.empty(), card.mac());
    }
    String bridge = facts.bridge().get();
    ports.add(new Port.Bridged(facts.name(), bridge));
    String ours = portName(request.name(), index);
    remarks.add(
        "With its first replacement, its tap "
            + facts.name()
            + " is replaced by "
            + ours
            + " in the bridge "
            + bridge
            + ".");
    return new Nic(ours, Optional.of(bridge), card.mac());
  }

  /// An interface has a short name, and two guests with long names must not share one.
  private static String portName(String guest, int index) {
    String plain = guest + "-" + index;
    return plain.length() <= LONGEST_INTERFACE
        ? plain
        : "hfa" + Integer.toHexString(guest.hashCode()) + "-" + index;
  }

  private GuestSpec spec(LiveMachine live, ForeignCommandLine line, List<Nic> nics) {
    GuestSpec spec =
        new GuestSpec(
            request.name(),
            live.vcpus(),
            live.memoryBytes(),
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

  private static void pin(Map<Path, Path> files) {
    files.forEach((from, to) -> {
      try {
        Files.createDirectories(to.resolveSibling(""));
        Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw Problem.ADOPT_REFUSED.because(from + " cannot be copied: " + e.getMessage(), e);
      }
    });
  }

  /// What was taken from the process that was adopted, once more.
  static Holdings holdings(int pid, AdoptedMachine machine) {
    List<Fd> queues = new ArrayList<>();
    try (PidFd pidFd = PidFd.open(pid)) {
      for (Port port : machine.ports()) {
        if (port instanceof Port.Queue queue) {
          queues.add(pidFd.takeFd(queue.descriptor()));
        }
      }
      return new Holdings(pidFd.takeFd(machine.memoryDescriptor()), queues);
    } catch (LinuxException e) {
      queues.forEach(Fd::close);
      throw Problem.GUEST_STATE.because("Process " + pid + ": " + e.getMessage(), e);
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
