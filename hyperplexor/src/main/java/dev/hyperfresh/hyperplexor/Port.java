package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// One network port of a guest, on its way from hypervisor to hypervisor. For the guest's thread
/// alone. See [Endpoints] for the order of the calls.
sealed interface Port extends AutoCloseable {
  /// The name of the network interface.
  String name();

  /// What the hypervisor that runs the guest holds, when HyperFresh holds it too.
  List<Fd> queues();

  /// Whether a hypervisor that waits can have a queue. Only asks.
  Check check();

  /// What a hypervisor that waits gets.
  List<Fd> spares();

  /// The waiting hypervisor has set its spare up.
  void join();

  /// Packets wait for the new hypervisor from now on.
  void switchOver();

  /// The old hypervisor gets the packets again.
  void switchBack();

  /// The old hypervisor has ended.
  void keep();

  /// The new hypervisor has ended.
  void drop();

  /// Nothing runs the guest any more: what HyperFresh has made is deleted, whoever a hypervisor has
  /// passed its queue to.
  void giveUp();

  /// Lets go of the port, which goes on with the hypervisor that has it.
  @Override
  void close();

  /// The same interface for every hypervisor.
  ///
  /// @param made whether HyperFresh has made it; one that came with an adopted guest belongs to
  ///   somebody else, who may want it again
  record Own(Tap tap, boolean made) implements Port {
    @Override
    public String name() {
      return tap.name();
    }

    @Override
    public List<Fd> queues() {
      return tap.queues();
    }

    @Override
    public Check check() {
      return check(tap);
    }

    static Check check(Tap tap) {
      String name = "port " + tap.name();
      return tap.refusesQueues()
          .map(why ->
              Check.fail(
                  name,
                  "No second queue can be attached: " + why + ".",
                  "Stop the guest and create it again, so that it gets a port of HyperFresh's own."))
          .orElseGet(() -> Check.pass(name, "A second queue can be attached."));
    }

    @Override
    public List<Fd> spares() {
      return tap.spares();
    }

    @Override
    public void join() {
      tap.joinSpare();
    }

    @Override
    public void switchOver() {
      tap.switchToSpare();
    }

    @Override
    public void switchBack() {
      tap.switchBack();
    }

    @Override
    public void keep() {
      tap.keepSpare();
    }

    @Override
    public void drop() {
      tap.dropSpare();
    }

    @Override
    public void giveUp() {
      if (made) {
        tap.delete();
      } else {
        tap.close();
      }
    }

    @Override
    public void close() {
      tap.close();
    }
  }

  /// The port of a guest that was adopted with a tap that can have no more queues, or that is taken
  /// out of its bridge by the process that opened it. The first hypervisor that waits gets a new
  /// tap in the same bridge, with all of which it may do what it likes; the old one goes with the
  /// process that opened it. What was on its way to the old one is lost, until the guest has
  /// announced itself on the new one, which QEMU does at once.
  final class Successor implements Port {
    private final String name;
    private final String replaced;
    private final String bridge;
    private final int count;
    private final Path namespace;
    private Optional<Tap> made = Optional.empty();
    private boolean kept;

    /// @param old the tap that it replaces
    /// @param namespace the network namespace of the bridge
    Successor(String name, AdoptedMachine.Port.Bridged old, Path namespace) {
      this.name = name;
      this.replaced = old.tap();
      this.bridge = old.bridge();
      this.count = old.queues();
      this.namespace = namespace;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public List<Fd> queues() {
      return made.filter(_ -> kept).map(Tap::queues).orElse(List.of());
    }

    @Override
    public Check check() {
      return made.filter(_ -> kept)
          .map(Own::check)
          .orElseGet(() ->
              Check.pass("port " + name, "A new port replaces the old one in " + bridge + "."));
    }

    @Override
    public List<Fd> spares() {
      if (kept) {
        return made.orElseThrow().spares();
      }
      Tap tap = Host.inNetworkNamespace(namespace, this::make);
      made = Optional.of(tap);
      return tap.queues();
    }

    /// As large packets as before: a bridge takes over the least of its ports.
    private Tap make() {
      OptionalInt mtu = Tap.mtuOf(replaced);
      Tap tap = Tap.create(name, count);
      try {
        mtu.ifPresent(tap::mtu);
        return tap;
      } catch (LinuxException refused) {
        tap.close();
        throw refused;
      }
    }

    /// Only now is the new tap in the bridge: until here nothing for it could pile up.
    ///
    /// @throws LinuxException when the bridge is gone
    @Override
    public void join() {
      Tap tap = made.orElseThrow();
      if (kept) {
        tap.joinSpare();
      } else {
        tap.addToBridge(bridge);
        tap.up();
      }
    }

    @Override
    public void switchOver() {
      if (kept) {
        made.orElseThrow().switchToSpare();
      }
    }

    @Override
    public void switchBack() {
      if (kept) {
        made.orElseThrow().switchBack();
      }
    }

    @Override
    public void keep() {
      if (kept) {
        made.orElseThrow().keepSpare();
      }
      kept = true;
    }

    @Override
    public void drop() {
      if (kept) {
        made.orElseThrow().dropSpare();
      } else {
        giveUp();
        made = Optional.empty();
      }
    }

    @Override
    public void giveUp() {
      made.ifPresent(Tap::delete);
    }

    @Override
    public void close() {
      made.ifPresent(Tap::close);
    }
  }
}
