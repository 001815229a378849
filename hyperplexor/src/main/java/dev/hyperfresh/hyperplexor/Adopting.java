package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.NetworkNamespace;
import dev.hyperfresh.linux.PidFd;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// Makes a guest of a process that something else started.
///
/// @param sockets where the control sockets of later instances are
record Adopting(AdoptRequest request, Kinds kinds, Path sockets, Progress progress) {
  private static final String FOREIGN =
      "something other than HyperFresh started it, with its own rights";

  /// Later instances are started with the rights of the first: nobody else could open its files.
  ///
  /// @param network where they are, unless that is the daemon's
  private static Confinement asStarted(Optional<NetworkNamespace> network) {
    return new Confinement(OptionalInt.empty(), Optional.empty(), FOREIGN, network);
  }

  /// As [#asStarted], of a guest that process `pid` runs.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when the process has ended
  static Confinement asRunning(AdoptedMachine machine, int pid) {
    return asStarted(machine.runAs().flatMap(RunAs::network).map(_ -> NetworkNamespace.of(pid)));
  }

  /// As [#asStarted], of a guest that nothing runs.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when its network namespace is gone
  static Confinement asBefore(String guest, AdoptedMachine machine) {
    return asStarted(machine.runAs().flatMap(RunAs::network).map(file -> network(guest, file)));
  }

  private static NetworkNamespace network(String guest, Path file) {
    if (file.equals(RunAs.NAMELESS)) {
      throw Problem.GUEST_STATE.because(
          "The network namespace of guest "
              + guest
              + " had no name in /run/netns and ended with its last process.");
    }
    try {
      return NetworkNamespace.at(file);
    } catch (LinuxException e) {
      throw Problem.GUEST_STATE.because(
          "The network namespace of guest " + guest + " is gone: " + e.getMessage(), e);
    }
  }

  /// The guest, on the release that its process runs. When this throws, the process continues as it
  /// was.
  ///
  /// @param releases finds that release, given the process and what a start of it needs; called
  ///   when nothing speaks against the adoption any more
  Guest guest(BiFunction<FoundProcess, List<String>, Release> releases, Consumer<Guest> changed) {
    progress.step("adopt", "examining process " + request.pid());
    // Held from before it is examined: if it lives at the end, its number was its own all the time.
    try (PidFd held = hold()) {
      return guest(held, Host.processStart(request.pid()), releases, changed);
    }
  }

  private PidFd hold() {
    try {
      return PidFd.open(request.pid());
    } catch (LinuxException e) {
      throw Problem.ADOPT_UNFIT.because("There is no process " + request.pid() + ".", e);
    }
  }

  private Guest guest(
      PidFd held,
      OptionalLong start,
      BiFunction<FoundProcess, List<String>, Release> releases,
      Consumer<Guest> changed) {
    Adoption found = kinds.adopter().adopt(request);
    // Whose it is was decided once, by the rights that it must have until the end.
    FoundProcess process = new FoundProcess(held, start, found.rights(), found.ours());
    Release release;
    GuestBody body;
    try {
      release = releases.apply(process, found.releaseArguments());
      process.requireSame();
      progress.step("adopt", "adopting it on " + release.name());
      body = body(found);
    } catch (RuntimeException e) {
      found.holdings().close();
      throw e;
    }
    return takenOver(found, process, body, release, changed);
  }

  private GuestBody body(Adoption found) {
    int pid = request.pid();
    Confinement confinement;
    try {
      confinement = asRunning(found.machine(), pid);
    } catch (LinuxException e) {
      throw Problem.ADOPT_UNFIT.because("Process " + pid + ": " + e.getMessage(), e);
    }
    try {
      return GuestBody.of(
          GuestMemory.adoptForeign(found.holdings().memories()),
          () -> endpoints(found.spec(), found.machine(), found.holdings().nicQueues(), pid),
          confinement);
    } catch (RuntimeException e) {
      confinement.letGo();
      throw e;
    }
  }

  private Guest takenOver(
      Adoption found,
      FoundProcess process,
      GuestBody body,
      Release release,
      Consumer<Guest> changed) {
    int pid = request.pid();
    GuestIdentity identity =
        new GuestIdentity(
            found.spec(),
            found.accelerator(),
            Optional.of(found.machine()),
            request.files(),
            sockets,
            Instant.now());
    Guest guest =
        new Guest(
            GuestFacts.begun(identity, kinds, release, Optional.empty()),
            kinds,
            Optional.of(body),
            changed);
    try {
      guest.call(() -> {
        // The network and the ports were found by its number.
        process.requireSame();
        guest.takeOver(release, pid, remarks(found, body.memory()));
        return true;
      });
      return guest;
    } catch (RuntimeException e) {
      Contained.run("leaving " + found.spec().name() + " alone", () -> leaveAlone(guest));
      throw e;
    }
  }

  /// Lets go of a guest that is not adopted after all; it goes on as it was.
  static void leaveAlone(Guest guest) {
    guest.call(() -> {
      guest.leaveAlone();
      return true;
    });
    guest.letGo();
  }

  private static String remarks(Adoption found, GuestMemory memory) {
    List<String> remarks = new ArrayList<>(List.of("adopted."));
    remarks.addAll(found.remarks());
    // Of memory that is a named file that is said already.
    if (!memory.sealed()
        && found.remarks().stream().noneMatch(remark -> remark.startsWith("Its memory"))) {
      remarks.add("The size of its memory is not sealed.");
    }
    return String.join(" ", remarks);
  }

  /// The ports of a process that was adopted.
  ///
  /// @param queues of those ports that go on, in their order; each becomes the property of its port
  /// @param pid of that process
  static Endpoints endpoints(GuestSpec spec, AdoptedMachine machine, List<Fd> queues, int pid) {
    Path namespace = Path.of("/proc", Integer.toString(pid), "ns/net");
    Iterator<Fd> next = queues.iterator();
    List<Supplier<Port>> ports = new ArrayList<>();
    for (int i = 0; i < machine.ports().size(); i++) {
      GuestSpec.Nic nic = spec.nics().get(i);
      ports.add(
          switch (machine.ports().get(i)) {
            case AdoptedMachine.Port.Kept kept ->
                () -> Endpoints.port(nic, Endpoints.next(next, kept.queues()), false);
            case AdoptedMachine.Port.Bridged bridged ->
                () -> new Port.Successor(nic.tap(), bridged, namespace);
          });
    }
    return Endpoints.make(ports);
  }
}
