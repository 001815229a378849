package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// The kernel's own way of moving a card's packets (vhost-net), which a tap of `-netdev` may ask
/// for. Each process opens it for itself, since it works on the memory of whoever opened it. QEMU
/// gives the positions of the rings back when its guest stops, and the next one starts from them.
record VhostNet(boolean forced) {
  private static final Path DEVICE = Path.of("/dev/vhost-net");
  private static final String CHECK = "vhost";
  private static final String WANTED = "vhost";
  private static final String FORCED = "vhostforce";
  private static final String POLLED = "poll-us";

  /// What a tap asks for, in all the ways in which that can be said.
  static Optional<VhostNet> of(Suboptions tap) {
    boolean forced = tap.isOn(FORCED);
    boolean passed = tap.get("vhostfd").isPresent() || tap.get("vhostfds").isPresent();
    boolean wanted = tap.get(WANTED).isPresent() ? tap.isOn(WANTED) : passed || forced;
    return wanted ? Optional.of(new VhostNet(forced)) : Optional.empty();
  }

  /// Whether this host has it, for whoever opens it. The kernel may load it for that.
  static boolean isUsable(FileUser user) {
    try (Fd _ = user.open(DEVICE, OpenFlags.READ_WRITE)) {
      return true;
    } catch (LinuxException refused) {
      return false;
    }
  }

  /// What of it stands with a tap of later instances.
  static Map<String, String> pairs(Suboptions tap) {
    Map<String, String> pairs = new LinkedHashMap<>();
    of(tap)
        .ifPresent(vhost -> {
          pairs.put(WANTED, "on");
          if (vhost.forced()) {
            pairs.put(FORCED, "on");
          }
          tap.get(POLLED).ifPresent(time -> pairs.put(POLLED, time));
        });
    return pairs;
  }

  /// The same tap, whose packets QEMU moves itself.
  static Suboptions without(Suboptions tap) {
    return tap.without(WANTED).without(POLLED);
  }

  /// Whether the next instance can have it as well.
  ///
  /// @param usable as [#isUsable]
  Check check(boolean usable) {
    if (usable) {
      return Check.pass(CHECK, DEVICE + " can be opened.");
    }
    String load = "Load the kernel's module vhost_net.";
    return forced
        ? Check.fail(
            CHECK,
            "A card of the guest insists on vhost (vhostforce=on), and "
                + DEVICE
                + " cannot be opened.",
            load)
        : Check.remark(
            CHECK,
            DEVICE
                + " cannot be opened, so the target moves the packets of the guest's cards itself.",
            load);
  }
}
