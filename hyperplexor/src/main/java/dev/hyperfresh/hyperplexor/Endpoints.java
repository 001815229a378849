package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import java.util.List;

/// A guest's network ports, moved together from one hypervisor to the next. See [Tap] for why a
/// waiting hypervisor gets spares that join late. For the guest's thread alone.
class Endpoints implements AutoCloseable {
  private final List<Tap> taps;
  private int switched;

  Endpoints(List<Tap> taps) {
    this.taps = List.copyOf(taps);
  }

  /// What the hypervisor that runs the guest holds.
  List<Fd> queues() {
    return taps.stream().map(Tap::queue).toList();
  }

  /// Whether each port can take the second queue that a replacement attaches to it. Only asks.
  List<Check> checks() {
    return taps.stream().map(Endpoints::check).toList();
  }

  private static Check check(Tap tap) {
    String name = "port " + tap.name();
    return tap.refusesQueues()
        .map(why ->
            Check.fail(
                name,
                "No second queue can be attached: " + why + ".",
                "Stop the guest and create it again, so that it gets a port of HyperFresh's own."))
        .orElseGet(() -> Check.pass(name, "A second queue can be attached."));
  }

  /// What a hypervisor that waits gets.
  ///
  /// @throws LinuxException when one cannot be made; none is left then
  List<Fd> spares() {
    try {
      return taps.stream().map(Tap::spare).toList();
    } catch (LinuxException e) {
      drop();
      throw e;
    }
  }

  /// The waiting hypervisor has set its spares up: they become silent queues of the ports.
  void join() {
    taps.forEach(Tap::joinSpare);
  }

  /// From here on packets wait for the new hypervisor; the old one takes none that it could not
  /// deliver.
  ///
  /// @throws LinuxException when the kernel refuses; some ports may then have been switched
  void switchOver() {
    for (Tap tap : taps) {
      tap.switchToSpare();
      switched++;
    }
  }

  /// The old hypervisor gets the packets again, on every port that was switched.
  void switchBack() {
    for (Tap tap : taps.subList(0, switched)) {
      Contained.run("switching " + tap.name() + " back", tap::switchBack);
    }
    switched = 0;
  }

  /// The new hypervisor keeps its queues, and the old one has ended.
  void keep() {
    switched = 0;
    taps.forEach(Tap::keepSpare);
  }

  /// The new hypervisor is gone, and so are its queues.
  void drop() {
    taps.forEach(Tap::dropSpare);
  }

  @Override
  public void close() {
    taps.forEach(Tap::close);
  }
}
