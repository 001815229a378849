package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.LedgerFile.Entry;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.Agent;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;

/// What one guest has in one machine: a window with its memory, ports for its control channel, its
/// console and its state, a device for each disk and each card. Everything is plugged in for it and
/// unplugged after it. For one thread at a time.
///
/// It is written down before anything of it is made and until all of it is removed. The names of
/// everything follow from its id, so that a later daemon can remove it too ([#again]).
final class Place implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Place.class.getName());

  private final Machine machine;
  private final String id;
  private final Fittings fittings;
  private final GuestWindow window;
  private final GuestConsole console;
  private final BootFiles bootFiles;
  private final GuestDisks disks;
  private final GuestCards cards;
  private final StateWays ways;
  private final List<Agent.Opening> openings = new ArrayList<>();
  private final AtomicBoolean controlEnded = new AtomicBoolean();
  private long address;

  /// @param partial whether some of it may not be there
  private Place(Machine machine, String id, boolean partial) {
    this.machine = machine;
    this.id = id;
    this.fittings = new Fittings(machine.vm(), id, partial);
    this.window = new GuestWindow(fittings);
    this.console = new GuestConsole(fittings);
    this.bootFiles = new BootFiles(fittings);
    this.disks = new GuestDisks(fittings);
    this.cards = new GuestCards(fittings);
    this.ways = new StateWays(fittings, machine.ledger());
  }

  /// Its name in the machine.
  String id() {
    return id;
  }

  /// A place that is ready for the guest's QEMU.
  ///
  /// @param control the place's end of the control channel, and where it is kept
  record Ready(Place place, QemuInside inside, UnixSocket control) {}

  /// Prepares a place.
  ///
  /// @param waiting whether the guest's state is to come into it
  /// @throws TroubleException when the machine does not take something; nothing is left then
  static Ready prepare(Machine machine, Launch launch, Path console, boolean waiting) {
    Place place = new Place(machine, machine.ledger().newPlace(), false);
    machine
        .ledger()
        .add(
            Entry.about(
                place.id,
                launch.files(),
                launch.generation(),
                waiting,
                launch.spec().disks().size(),
                launch.spec().nics().size()));
    try (QemuInside.Files files = QemuInside.open(launch, waiting)) {
      return place.fill(launch, files, console, waiting);
    } catch (RuntimeException e) {
      place.close();
      throw e;
    }
  }

  /// A place that an earlier daemon made, wholly or in part.
  static Place again(Machine machine, Entry entry) {
    boolean partial = entry.inner() == 0;
    Place place = new Place(machine, entry.id(), partial);
    place.window.found();
    place.foundControl();
    place.console.found();
    if (partial) {
      place.bootFiles.found();
    }
    place.disks.found(entry.disks());
    place.cards.found(entry.nics());
    place.ways.found(entry.waiting(), entry.outlets());
    return place;
  }

  private Ready fill(Launch launch, QemuInside.Files files, Path socket, boolean waiting) {
    address = window.plug(launch.memory().whole());
    UnixSocket ours = controlChannel();
    try {
      String controlPath = machine.vm().channels().addPort(control());
      String consolePath = console.plug(socket, launch.files(), files.consoleLog());
      List<String> kernel = bootFiles.send(files.kernel());
      List<QemuInside.Disk> plugged = disks.plug(launch.spec(), files.disks());
      openings.addAll(cards.plug(launch.nicQueues()));
      if (waiting) {
        openings.add(ways.plugIncoming());
      }
      boolean preloaded = !machine.settings().release().placesMappings();
      return new Ready(
          this,
          new QemuInside(
              List.of(MachineRelease.QEMU),
              "/dev/mem",
              preloaded ? OptionalLong.empty() : OptionalLong.of(address),
              kernel.isEmpty() ? "" : kernel.getFirst(),
              kernel.size() < 2 ? "" : kernel.get(1),
              controlPath,
              consolePath,
              plugged),
          ours);
    } catch (RuntimeException e) {
      ours.close();
      throw e;
    }
  }

  /// How the guest's QEMU is started with `command`.
  Agent.Program program(Launch launch, List<String> command) {
    return new Agent.Program(
        command,
        machine.settings().release().placesMappings()
            ? Map.of()
            : Map.of(
                "LD_PRELOAD",
                MachineRelease.WINDOW_LIBRARY,
                MachineRelease.WINDOW_VARIABLE,
                address + ":" + launch.memory().whole().bytes()),
        openings);
  }

  private String control() {
    return id + ".qmp";
  }

  /// A channel whose other end is connected before the machine sees it. The hardware itself keeps a
  /// copy of that end, so that the channel does not end with this process: QEMU inside would take
  /// no command any more, and what it tells meanwhile waits for the next daemon.
  private UnixSocket controlChannel() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket far = pair.right()) {
      machine.vm().descriptors().keep(control(), pair.left().fd());
      foundControl();
      machine.vm().channels().addConnected(control(), far.fd());
      return pair.left();
    } catch (RuntimeException e) {
      pair.left().close();
      throw e;
    }
  }

  private void foundControl() {
    fittings.undoneBy(() -> machine.vm().descriptors().forget(control()));
    fittings.undoneBy(this::endControl);
  }

  /// This process's end of the control channel that an earlier daemon made.
  ///
  /// @throws TroubleException when the hardware does not have it
  UnixSocket keptControl() {
    return UnixSocket.adopt(
        machine
            .vm()
            .descriptors()
            .kept(control())
            .orElseThrow(() ->
                new TroubleException(
                    "machine " + machine.name() + " keeps no control channel " + control())));
  }

  /// The guest's QEMU has ended: whoever reads its control channel is to see the end of it. May be
  /// called by any thread, and again.
  void endControl() {
    if (controlEnded.compareAndSet(false, true) && !machine.vm().exited()) {
      fittings.attempt(() -> machine.vm().channels().removePort(control()));
      fittings.attempt(() -> machine.vm().channels().remove(control()));
    }
  }

  /// Serves the console as at the start, of a place that an earlier daemon made.
  ///
  /// @param files the guest's folder
  void serveConsole(Path socket, Path files) {
    console.serve(socket, files);
  }

  /// Removes what only the start of the guest's QEMU needs.
  void started() {
    bootFiles.remove();
  }

  /// The state comes from `channel`; the guest's QEMU reads it under [StateWays#INCOMING_FD].
  void receiveFrom(Fd channel) {
    ways.receiveFrom(channel);
  }

  /// The state goes to `channel`.
  ///
  /// @return the unix socket in the machine that takes it
  String sendTo(Fd channel) {
    return ways.sendTo(channel);
  }

  /// Writes down which process is in it now.
  void inhabited(int inner) {
    machine.ledger().update(id, entry -> entry.withInner(inner));
  }

  /// Lets go of what this process has of the place, which stays.
  void letGo() {
    console.letGo();
  }

  /// Takes everything from the machine again.
  @Override
  public void close() {
    letGo();
    fittings.takeOut();
    if (!machine.vm().exited()) {
      try {
        machine.ledger().remove(id);
      } catch (HyperFreshException e) {
        // The next daemon finds nothing left to remove.
        LOG.log(System.Logger.Level.WARNING, "place " + id + " stays recorded", e);
      }
    }
  }
}
