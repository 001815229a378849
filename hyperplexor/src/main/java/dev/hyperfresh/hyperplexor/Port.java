package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Bridge;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
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

  /// Whether a hypervisor that waits can have a queue. Changes nothing.
  Check check();

  /// What a hypervisor that waits gets.
  List<Fd> spares();

  /// The waiting hypervisor has set its spare up.
  ///
  /// @param copying whether the guest's memory is copied before the switch, for minutes maybe; what
  ///   would pile up meanwhile may join with the switch
  void join(boolean copying);

  /// Joins its bridge, if a daemon that made it has died before it could do that. In the network
  /// namespace of the port.
  default void joinLate(String bridge) {}

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
    public void join(boolean copying) {
      tap.joinSpare();
    }

    /// A port that works, or is in a bridge, is as somebody wants it.
    @Override
    public void joinLate(String bridge) {
      if (!tap.isUp() && Tap.facts(tap.queue()).bridge().isEmpty()) {
        tap.addToBridge(bridge);
        tap.up();
      }
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

  /// A macvtap that belongs to somebody else.
  record Link(MacVtap link) implements Port {
    @Override
    public String name() {
      return link.name();
    }

    @Override
    public List<Fd> queues() {
      return List.of(link.queue());
    }

    @Override
    public Check check() {
      String name = "port " + link.name();
      return link.refusesQueues()
          .map(why ->
              Check.fail(
                  name,
                  "No second queue of the macvtap can be opened: " + why + ".",
                  "Stop the guest, make the macvtap again, and start the guest."))
          .orElseGet(() -> Check.pass(name, "A second queue of the macvtap can be opened."));
    }

    @Override
    public List<Fd> spares() {
      return List.of(link.spare());
    }

    /// It is a silent queue from its beginning.
    @Override
    public void join(boolean copying) {}

    @Override
    public void switchOver() {
      link.switchToSpare();
    }

    @Override
    public void switchBack() {
      link.switchBack();
    }

    @Override
    public void keep() {
      link.keepSpare();
    }

    @Override
    public void drop() {
      link.dropSpare();
    }

    /// Nothing of it was made here.
    @Override
    public void giveUp() {
      link.close();
    }

    @Override
    public void close() {
      link.close();
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
    private boolean entered;
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
      return made.filter(_ -> kept).map(Own::check).orElseGet(this::checkFirst);
    }

    private Check checkFirst() {
      String port = "port " + name;
      try {
        return Host.inNetworkNamespace(namespace, () -> look(port));
      } catch (LinuxException | IllegalArgumentException e) {
        return Check.fail(
            port,
            "No tap can be made in place of " + replaced + ": " + e.getMessage() + ".",
            "Run the daemon with the right to make taps (CAP_NET_ADMIN), where the process is.");
      }
    }

    private Check look(String port) {
      if (Tap.mtuOf(name).isPresent()) {
        return Check.fail(
            port,
            "There is a network interface " + name + " already, as the new tap is to be called.",
            "Remove it, or adopt the guest under another name.");
      }
      Optional<Duration> silence = Bridge.silence(bridge);
      if (silence.isEmpty()) {
        return Check.fail(
            port, "There is no bridge " + bridge + " any more.", "Make it again, with its ports.");
      }
      try (Fd _ = Tap.throwAway(port)) {
        String replaces = "A new port replaces the old one in " + bridge;
        return silence.get().isZero()
            ? Check.pass(port, replaces + ".")
            : Check.remark(
                port,
                replaces
                    + ", which looks for loops (STP): a new port carries nothing for the first "
                    + silence.get().toSeconds()
                    + " s.",
                "Switch STP off on the bridge if it can have no loops: ip link set "
                    + bridge
                    + " type bridge stp_state 0.");
      }
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

    /// Only now is the first tap in the bridge: until here nothing for it could pile up. Where the
    /// bridge lets nothing through a new port for a while, that has to begin now in any case.
    ///
    /// @throws LinuxException when the bridge is gone
    @Override
    public void join(boolean copying) {
      if (kept) {
        made.orElseThrow().joinSpare();
      } else if (!copying || isSilentAtFirst()) {
        enter();
      }
    }

    private boolean isSilentAtFirst() {
      return Host.inNetworkNamespace(namespace, () -> Bridge.silence(bridge))
          .filter(Duration::isPositive)
          .isPresent();
    }

    private void enter() {
      Tap tap = made.orElseThrow();
      if (!entered) {
        tap.addToBridge(bridge);
        entered = true;
      }
      tap.up();
    }

    @Override
    public void switchOver() {
      if (kept) {
        made.orElseThrow().switchToSpare();
      } else {
        enter();
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
        entered = false;
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
