package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BiFunction;
import java.util.function.Consumer;

/// Makes a guest of a process that something else started.
///
/// @param sockets where the control sockets of later instances are
record Adopting(AdoptRequest request, Kinds kinds, Path sockets, Progress progress) {
  /// Later instances are started with the rights of the first: nobody else could open its files.
  static final Confinement AS_STARTED =
      new Confinement(
          OptionalInt.empty(),
          Optional.empty(),
          "something other than HyperFresh started it, with its own rights");

  /// The guest, on the release that its process runs. When this throws, the process continues as it
  /// was.
  ///
  /// @param releases finds that release, given the process and what a start of it needs; called
  ///   when nothing speaks against the adoption any more
  Guest guest(BiFunction<Integer, List<String>, Release> releases, Consumer<Guest> changed) {
    progress.step("adopt", "examining process " + request.pid());
    Adoption found = kinds.adopter().adopt(request);
    Release release;
    try {
      release = releases.apply(request.pid(), found.releaseArguments());
    } catch (RuntimeException e) {
      found.holdings().close();
      throw e;
    }
    progress.step("adopt", "adopting it on " + release.name());
    return takenOver(found, release, changed);
  }

  private Guest takenOver(Adoption found, Release release, Consumer<Guest> changed) {
    int pid = request.pid();
    MemFd memory = MemFd.adoptForeign(found.holdings().memory());
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
            Optional.of(
                new GuestBody(
                    memory,
                    endpoints(found.spec(), found.machine(), found.holdings().nicQueues(), pid),
                    AS_STARTED)),
            changed);
    try {
      guest.call(() -> {
        guest.takeOver(release, pid, remarks(found, memory));
        return true;
      });
      return guest;
    } catch (RuntimeException e) {
      Contained.run("leaving " + found.spec().name() + " alone", () -> leaveAlone(guest));
      throw e;
    }
  }

  private static void leaveAlone(Guest guest) {
    guest.call(() -> {
      guest.leaveAlone();
      return true;
    });
    guest.letGo();
  }

  private static String remarks(Adoption found, MemFd memory) {
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
    List<Port> ports = new ArrayList<>();
    for (int i = 0; i < machine.ports().size(); i++) {
      String name = spec.nics().get(i).tap();
      ports.add(
          switch (machine.ports().get(i)) {
            case AdoptedMachine.Port.Queue _ -> new Port.Own(Tap.adopt(next.next()));
            case AdoptedMachine.Port.Bridged bridged ->
                new Port.Successor(name, bridged.bridge(), namespace);
          });
    }
    return new Endpoints(ports);
  }
}
