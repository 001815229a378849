package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.Tap;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/// A guest's network ports, moved together from one hypervisor to the next. See [Tap] for why a
/// waiting hypervisor gets spares that join late. For the guest's thread alone.
class Endpoints implements AutoCloseable {
  private final List<Port> ports;
  private int switched;

  Endpoints(List<Port> ports) {
    this.ports = List.copyOf(ports);
  }

  /// Ports that are made in their order. When one cannot be made, those before it are closed.
  static Endpoints make(List<Supplier<Port>> makers) {
    List<Port> made = new ArrayList<>();
    try {
      makers.forEach(maker -> made.add(maker.get()));
      return new Endpoints(made);
    } catch (RuntimeException | Error e) {
      made.forEach(Port::close);
      throw e;
    }
  }

  /// Ports whose queues survived the daemon that had them, on a process that HyperFresh started.
  /// When this throws, those that no port has closed still belong to the caller.
  ///
  /// @param queues of all ports, one after the other; each becomes the property of its port
  /// @param adopted the machine of a guest that was adopted
  /// @throws LinuxException when one is not a queue of the interface that the spec names
  static Endpoints adopt(List<Fd> queues, GuestSpec spec, Optional<AdoptedMachine> adopted) {
    Iterator<Fd> next = queues.iterator();
    List<Integer> counts = AdoptedMachine.queues(spec, adopted);
    List<Supplier<Port>> makers = new ArrayList<>();
    for (int i = 0; i < counts.size(); i++) {
      int count = counts.get(i);
      GuestSpec.Nic nic = spec.taps().get(i);
      boolean made = !came(adopted, i);
      makers.add(() -> port(nic, next(next, count), made));
    }
    return make(makers);
  }

  /// A port whose queues a process has.
  ///
  /// @param made whether HyperFresh has made the interface
  /// @throws LinuxException when one is not a queue of that interface
  static Port port(GuestSpec.Nic nic, List<Fd> queues, boolean made) {
    return nic.macvtap()
        ? new Port.Link(MacVtap.adopt(queues.getFirst(), nic.tap()))
        : new Port.Own(Tap.adopt(queues, nic.tap()), made);
  }

  /// Whether a port came with the process that was adopted.
  private static boolean came(Optional<AdoptedMachine> adopted, int index) {
    return adopted
        .map(machine -> machine.ports().get(index))
        .filter(AdoptedMachine.Port.Kept.class::isInstance)
        .isPresent();
  }

  /// As many queues as one port has.
  static List<Fd> next(Iterator<Fd> queues, int count) {
    List<Fd> taken = new ArrayList<>();
    while (taken.size() < count) {
      taken.add(queues.next());
    }
    return taken;
  }

  /// What the hypervisor that runs the guest holds, except for what only a process that was adopted
  /// has.
  List<Fd> queues() {
    return ports.stream().flatMap(port -> port.queues().stream()).toList();
  }

  /// Whether each port can take the second queue that a replacement attaches to it. Only asks.
  List<Check> checks() {
    return ports.stream().map(Port::check).toList();
  }

  /// What a hypervisor that waits gets.
  ///
  /// @throws LinuxException when one cannot be made; none is left then
  List<Fd> spares() {
    try {
      return ports.stream().flatMap(port -> port.spares().stream()).toList();
    } catch (LinuxException e) {
      drop();
      throw e;
    }
  }

  /// The waiting hypervisor has set its spares up: they become silent queues of the ports.
  ///
  /// @param copying as in [Port#join]
  void join(boolean copying) {
    ports.forEach(port -> port.join(copying));
  }

  /// As [Port#joinLate], of those ports that a guest which was adopted has in the bridges of
  /// others.
  void joinLate(List<AdoptedMachine.Port> adopted) {
    for (int i = 0; i < adopted.size(); i++) {
      if (adopted.get(i) instanceof AdoptedMachine.Port.Bridged old) {
        Port port = ports.get(i);
        Contained.run(
            "putting " + port.name() + " into " + old.bridge(), () -> port.joinLate(old.bridge()));
      }
    }
  }

  /// From here on packets wait for the new hypervisor; the old one takes none that it could not
  /// deliver.
  ///
  /// @throws LinuxException when the kernel refuses; some ports may then have been switched
  void switchOver() {
    switched = 0;
    for (Port port : ports) {
      // One that fails may have done a part of it; where nothing was done, nothing is undone.
      switched++;
      port.switchOver();
    }
  }

  /// The old hypervisor gets the packets again, on every port that was switched.
  void switchBack() {
    for (Port port : ports.subList(0, switched)) {
      Contained.run("switching " + port.name() + " back", port::switchBack);
    }
    switched = 0;
  }

  /// The new hypervisor keeps its queues, and the old one has ended.
  void keep() {
    switched = 0;
    ports.forEach(Port::keep);
  }

  /// The new hypervisor is gone, and so are its queues.
  void drop() {
    ports.forEach(port -> Contained.run("dropping the spare of " + port.name(), port::drop));
  }

  /// As [Port#giveUp], of all.
  void giveUp() {
    ports.forEach(port -> Contained.run("deleting " + port.name(), port::giveUp));
  }

  @Override
  public void close() {
    ports.forEach(Port::close);
  }
}
