package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.LedgerFile.Entry;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;
import tools.jackson.databind.JsonNode;

/// What one guest has in one machine: a window with its memory, ports for its control channel, its
/// console and its state, a device for each disk and each card. Everything is plugged in for it and
/// unplugged after it. For one thread at a time.
///
/// It is written down before anything of it is made and until all of it is removed. The names of
/// everything follow from its id, so that a later daemon can remove it too ([#again]).
final class Place implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Place.class.getName());

  /// Under which number the guest's QEMU finds the port through which its state comes.
  static final int INCOMING_FD = 9;

  private static final Duration COPY_LIMIT = Duration.ofSeconds(60);
  private static final String FOLDER = VirtualMachine.RUN_FOLDER + "/";
  private static final int CHUNK_BYTES = 256 << 10;
  private static final int TYPED_BYTES = 64 << 10;

  private final Machine machine;
  private final String id;

  /// Whether some of it may not be there.
  private final boolean partial;

  /// The last thing that was plugged in is the first to go.
  private final Deque<Runnable> undo = new ArrayDeque<>();

  private final List<Agent.Opening> openings = new ArrayList<>();
  private final AtomicBoolean controlEnded = new AtomicBoolean();
  private Optional<ConsoleClients> console = Optional.empty();
  private final List<String> bootFiles = new ArrayList<>();
  private long address;

  private Place(Machine machine, String id, boolean partial) {
    this.machine = machine;
    this.id = id;
    this.partial = partial;
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
    try (QemuInside.Files files = QemuInside.open(launch)) {
      return place.fill(launch, files, console, waiting);
    } catch (RuntimeException e) {
      place.close();
      throw e;
    }
  }

  /// A place that an earlier daemon made, wholly or in part.
  static Place again(Machine machine, Entry entry) {
    Place place = new Place(machine, entry.id(), entry.inner() == 0);
    place.undoWindow();
    place.undoControl();
    place.undoConsole();
    if (place.partial) {
      place.undoBootFiles();
    }
    for (int i = 0; i < entry.disks(); i++) {
      place.undoDisk(place.disk(i));
    }
    for (int i = 0; i < entry.nics(); i++) {
      place.undoCard(place.card(i), place.tap(i));
    }
    if (entry.waiting()) {
      place.undoChannel(place.incoming());
    }
    for (int i = 0; i < entry.outlets(); i++) {
      place.undoOutlet(place.outlet(i));
    }
    return place;
  }

  private String control() {
    return id + ".qmp";
  }

  private String consoleChannel() {
    return id + ".con";
  }

  private String incoming() {
    return id + ".in";
  }

  private String disk(int index) {
    return id + ".d" + index;
  }

  private String card(int index) {
    return id + ".n" + index;
  }

  private String tap(int index) {
    return id + "n" + index;
  }

  private String outlet(int index) {
    return id + ".out" + index;
  }

  private Ready fill(Launch launch, QemuInside.Files files, Path console, boolean waiting) {
    window(launch);
    UnixSocket ours = controlChannel();
    try {
      String controlPath = machine.vm().addPort(control());
      String consolePath = console(console, launch.files(), files.consoleLog());
      List<String> kernel = bootFiles(files.kernel());
      List<QemuInside.Disk> disks = disks(launch.spec(), files.disks());
      cards(launch.nicQueues());
      if (waiting) {
        channel(incoming(), "null", Map.of());
        openings.add(new Agent.Opening(INCOMING_FD, Agent.Mode.RW, port(incoming())));
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
              disks),
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
                address + ":" + launch.memory().bytes()),
        openings);
  }

  /// The guest's memory becomes a piece of hardware of the machine, at an address that the hardware
  /// chooses.
  private void window(Launch launch) {
    String memory = memory();
    String dimm = dimm();
    machine
        .vm()
        .lend(
            launch.memory().fd(),
            (_, number) -> machine.vm().addMemory(memory, launch.memory().bytes(), number));
    undoMemory();
    machine.vm().plug(dimm, "pc-dimm", Map.of("memdev", memory));
    undoDimm();
    address = plugged(dimm).path("addr").asLong();
  }

  private String memory() {
    return id + ".memory";
  }

  private String dimm() {
    return id + ".window";
  }

  private void undoWindow() {
    undoMemory();
    undoDimm();
  }

  private void undoMemory() {
    undo.push(() -> machine.vm().removeMemory(memory()));
  }

  private void undoDimm() {
    undo.push(() -> {
      JsonNode window = plugged(dimm());
      machine.vm().eject(dimm(), window.path("slot").asInt());
    });
  }

  private JsonNode plugged(String dimm) {
    for (JsonNode device : machine.vm().execute("query-memory-devices", Map.of())) {
      if (device.path("data").path("id").asString("").equals(dimm)) {
        return device.path("data");
      }
    }
    throw new TroubleException("machine " + machine.name() + " has no window " + dimm);
  }

  /// A channel whose other end is connected before the machine sees it. The hardware itself keeps a
  /// copy of that end, so that the channel does not end with this process: QEMU inside would take
  /// no command any more, and what it tells meanwhile waits for the next daemon.
  private UnixSocket controlChannel() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket far = pair.right()) {
      machine.vm().keep(control(), pair.left().fd());
      undoControl();
      machine.vm().addChannel(control(), "socket", VirtualMachine.connected(control()), far.fd());
      return pair.left();
    } catch (RuntimeException e) {
      pair.left().close();
      throw e;
    }
  }

  private void undoControl() {
    undo.push(() -> machine.vm().forget(control()));
    undo.push(this::endControl);
  }

  private static UnixSocket listener(Path path) {
    try {
      Files.deleteIfExists(path);
      return UnixSocket.listen(path, 0600);
    } catch (IOException e) {
      throw new TroubleException(path + ": " + e.getMessage(), e);
    }
  }

  private void channel(String name, String type, Map<String, ?> data) {
    machine.vm().addChannel(name, type, data);
    undo.push(() -> machine.vm().removeChannel(name));
  }

  private String port(String channel) {
    String path = machine.vm().addPort(channel);
    undo.push(() -> machine.vm().removePort(channel));
    return path;
  }

  private void undoChannel(String name) {
    undo.push(() -> machine.vm().removeChannel(name));
    undo.push(() -> machine.vm().removePort(name));
  }

  /// The console. The hardware itself keeps an end of the pipe through which a client types, so
  /// that the pipe, and with it the port, does not end with this process.
  private String console(Path socket, Path files, Fd log) {
    String name = consoleChannel();
    try (Pipe typed = Pipe.open(TYPED_BYTES, name)) {
      machine.vm().keep(name, typed.writeEnd());
      undo.push(() -> machine.vm().forget(name));
      machine
          .vm()
          .lend(
              typed.readEnd(),
              (in, _) ->
                  machine
                      .vm()
                      .lend(
                          log,
                          (out, _) ->
                              channel(
                                  name,
                                  "file",
                                  Map.of(
                                      "in",
                                      "/dev/fdset/" + in,
                                      "out",
                                      "/dev/fdset/" + out,
                                      "append",
                                      true))));
      serveConsole(socket, files, Optional.of(typed.writeEnd().duplicate()));
    }
    return port(name);
  }

  private void undoConsole() {
    undo.push(() -> machine.vm().forget(consoleChannel()));
    undoChannel(consoleChannel());
  }

  /// As at the start, of a place that an earlier daemon made.
  ///
  /// @param files the guest's folder
  void serveConsole(Path socket, Path files) {
    serveConsole(socket, files, machine.vm().kept(consoleChannel()));
  }

  private void serveConsole(Path socket, Path files, Optional<Fd> input) {
    console =
        Optional.of(new ConsoleClients(listener(socket), files.resolve("console.log"), input));
  }

  /// This process's end of the control channel that an earlier daemon made.
  ///
  /// @throws TroubleException when the hardware does not have it
  UnixSocket keptControl() {
    return UnixSocket.adopt(
        machine
            .vm()
            .kept(control())
            .orElseThrow(() ->
                new TroubleException(
                    "machine " + machine.name() + " keeps no control channel " + control())));
  }

  /// Copies of the guest's kernel and initrd in the machine's memory, for as long as its QEMU takes
  /// to start.
  private List<String> bootFiles(List<Fd> files) {
    for (Fd file : files) {
      String channel = id + ".boot" + bootFiles.size();
      send(file, channel, FOLDER + channel);
      bootFiles.add(FOLDER + channel);
    }
    return bootFiles;
  }

  private void send(Fd file, String channel, String copy) {
    try (UnixSocket near = machine.vm().addSocket(channel)) {
      String port = machine.vm().addPort(channel);
      try {
        long bytes = Files.size(Path.of("/proc/self/fd", Integer.toString(file.number())));
        Thread pump =
            Thread.ofPlatform().daemon().name("hf-boot-" + id).start(() -> copy(file, near));
        var _ =
            machine
                .vm()
                .run(
                    List.of(VirtualMachine.AGENT, "copy", port, Long.toString(bytes), copy),
                    COPY_LIMIT);
        pump.join();
      } catch (IOException e) {
        throw new TroubleException(file.label() + ": " + e.getMessage(), e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new TroubleException(file.label() + ": interrupted", e);
      } finally {
        machine.vm().contained(() -> machine.vm().removePort(channel));
        machine.vm().contained(() -> machine.vm().removeChannel(channel));
      }
    }
  }

  private void undoBootFiles() {
    for (int i = 0; i < 2; i++) {
      String name = id + ".boot" + i;
      undo.push(() ->
          machine.vm().run(List.of(VirtualMachine.AGENT, "remove", FOLDER + name), COPY_LIMIT));
      undoChannel(name);
    }
  }

  private void copy(Fd from, UnixSocket to) {
    byte[] chunk = new byte[CHUNK_BYTES];
    try {
      for (int got = from.read(chunk, 0, chunk.length);
          got > 0;
          got = from.read(chunk, 0, chunk.length)) {
        to.send(got == chunk.length ? chunk : Arrays.copyOf(chunk, got));
      }
    } catch (LinuxException e) {
      // The machine says what it lacks.
      LOG.log(System.Logger.Level.DEBUG, "boot files of " + id, e);
    }
  }

  /// Removes what only the start of the guest's QEMU needs.
  void started() {
    for (String copy : bootFiles) {
      machine
          .vm()
          .contained(
              () -> machine.vm().run(List.of(VirtualMachine.AGENT, "remove", copy), COPY_LIMIT));
    }
  }

  private List<QemuInside.Disk> disks(GuestSpec spec, List<Fd> files) {
    List<QemuInside.Disk> disks = new ArrayList<>();
    for (Fd file : files) {
      GuestSpec.Disk disk = spec.disks().get(disks.size());
      String name = disk(disks.size());
      machine
          .vm()
          .lend(
              file,
              (set, _) ->
                  machine
                      .vm()
                      .execute(
                          "blockdev-add",
                          Map.of(
                              "driver",
                              "raw",
                              "node-name",
                              name,
                              "read-only",
                              disk.readOnly(),
                              "file",
                              Map.of(
                                  "driver",
                                  "file",
                                  "filename",
                                  "/dev/fdset/" + set,
                                  "locking",
                                  "on",
                                  "read-only",
                                  disk.readOnly()))));
      undo.push(() -> machine.vm().execute("blockdev-del", Map.of("node-name", name)));
      // Two machines have the disk for a moment, and only the guest's authority writes.
      machine
          .vm()
          .plug(
              name + ".device",
              "virtio-blk-pci",
              Map.of("drive", name, "serial", name, "share-rw", true));
      undo.push(() -> machine.vm().unplug(name + ".device"));
      disks.add(
          new QemuInside.Disk(
              machine.vm().ask(a -> a.disk(name, VirtualMachine.PLUG_LIMIT)), disk.readOnly()));
    }
    return disks;
  }

  private void undoDisk(String name) {
    undo.push(() -> machine.vm().execute("blockdev-del", Map.of("node-name", name)));
    undo.push(() -> machine.vm().unplug(name + ".device"));
  }

  /// Each card of the guest is a tap in the machine, in a bridge with a card of the machine that is
  /// a queue of the guest's port on this host.
  private void cards(List<Fd> queues) {
    for (int i = 0; i < queues.size(); i++) {
      String name = card(i);
      String tap = tap(i);
      String mac = mac(i);
      machine.vm().addCard(name, mac, queues.get(i));
      undo.push(() -> machine.vm().removeCard(name));
      machine.vm().tell(a -> a.link(mac, tap, VirtualMachine.PLUG_LIMIT));
      undo.push(() -> machine.vm().tell(a -> a.unlink(tap)));
      openings.add(new Agent.Opening(QemuInside.FIRST_NIC + i, Agent.Mode.TAP, tap));
    }
  }

  private void undoCard(String name, String tap) {
    undo.push(() -> machine.vm().removeCard(name));
    undo.push(() -> machine.vm().tell(a -> a.unlink(tap)));
  }

  /// Of the machine's own card, which never sends with it. Locally administered.
  private String mac(int card) {
    int number = Integer.parseInt(id.substring(1));
    return "02:68:66:%02x:%02x:%02x".formatted(number >> 8 & 0xff, number & 0xff, card);
  }

  /// The state comes from `channel`; the guest's QEMU reads it under [#INCOMING_FD].
  void receiveFrom(Fd channel) {
    machine
        .vm()
        .lend(
            channel,
            (set, _) ->
                machine
                    .vm()
                    .changeChannel(
                        incoming(), "file", Map.of("in", "/dev/fdset/" + set, "out", "/dev/null")));
  }

  /// The state goes to `channel`.
  ///
  /// @return the unix socket in the machine that takes it
  String sendTo(Fd channel) {
    int index = machine.ledger().get(id).outlets();
    machine.ledger().update(id, entry -> entry.withOutlets(index + 1));
    String name = outlet(index);
    String socket = FOLDER + name;
    machine
        .vm()
        .lend(
            channel,
            (set, _) -> channel(name, "file", Map.of("out", "/dev/fdset/" + set, "append", true)));
    String port = port(name);
    machine.vm().tell(a -> a.outlet(port, socket));
    undo.push(() -> machine.vm().tell(a -> a.outletClose(socket)));
    return socket;
  }

  private void undoOutlet(String name) {
    undoChannel(name);
    undo.push(() -> machine.vm().tell(a -> a.outletClose(FOLDER + name)));
  }

  /// The guest's QEMU has ended: whoever reads its control channel is to see the end of it. May be
  /// called by any thread, and again.
  void endControl() {
    if (controlEnded.compareAndSet(false, true) && !machine.vm().exited()) {
      attempt(() -> machine.vm().removePort(control()));
      attempt(() -> machine.vm().removeChannel(control()));
    }
  }

  private void attempt(Runnable step) {
    if (partial) {
      machine.vm().attempted(step);
    } else {
      machine.vm().contained(step);
    }
  }

  /// Writes down which process is in it now.
  void inhabited(int inner) {
    machine.ledger().update(id, entry -> entry.withInner(inner));
  }

  /// Lets go of what this process has of the place, which stays.
  void letGo() {
    console.ifPresent(ConsoleClients::close);
  }

  /// Takes everything from the machine again.
  @Override
  public void close() {
    letGo();
    while (!undo.isEmpty()) {
      Runnable step = undo.pop();
      if (!machine.vm().exited()) {
        attempt(step);
      }
    }
    if (!machine.vm().exited()) {
      try {
        machine.ledger().remove(id);
      } catch (HyperFreshException e) {
        // The next daemon finds nothing left to remove.
        LOG.log(System.Logger.Level.WARNING, "place " + id + " stays written down", e);
      }
    }
  }
}
