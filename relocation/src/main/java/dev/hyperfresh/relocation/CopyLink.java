package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.UnixSocket;
import java.util.Optional;

/// The network over which the ordinary way copies a container: a card in each OS, connected with
/// each other by QEMU, in a namespace of its own. For one thread.
final class CopyLink {
  /// No container has such a name, so what belongs to the link is called as that of a container.
  private static final String OUT = ".out";

  private static final String IN = ".in";

  private CopyLink() {}

  /// Connects two operating systems.
  ///
  /// @throws dev.hyperfresh.vm.TroubleException when one of them does not; [#cutFrom] and [#cutTo]
  ///   take away what is there then
  static void connect(ContainerSpec spec, OsVm from, OsVm to) {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right()) {
      plug(new Inside(from, end(spec, OUT, "169.254.0.1/30")), left);
      plug(new Inside(to, end(spec, IN, "169.254.0.2/30")), right);
    }
  }

  private static void plug(Inside inside, UnixSocket socket) {
    inside.network(socket);
    inside.live();
  }

  /// Takes what there is of it out of the OS that sends.
  static void cutFrom(ContainerSpec spec, OsVm from) {
    new Inside(from, end(spec, OUT, "")).clear();
  }

  /// Takes what there is of it out of the OS that receives.
  static void cutTo(ContainerSpec spec, OsVm to) {
    new Inside(to, end(spec, IN, "")).clear();
  }

  private static ContainerSpec end(ContainerSpec spec, String which, String address) {
    return new ContainerSpec(
        spec.name() + which,
        spec.bundle(),
        Optional.of(new ContainerSpec.Network(address, Optional.empty(), Optional.empty())));
  }
}
