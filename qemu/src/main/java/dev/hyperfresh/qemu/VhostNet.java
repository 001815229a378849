package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

/// The kernel's own way of moving a card's packets (vhost-net), which a tap of `-netdev` may ask
/// for. Each process opens it for itself, since it works on the memory of whoever opened it. QEMU
/// gives the positions of the rings back when its guest stops, and the next one starts from them.
/// The user of a guest of HyperFresh's own may not open it, so its instances are passed it: the
/// memory is that of whoever takes it into use.
record VhostNet(boolean forced) {
  private static final Path DEVICE = Path.of("/dev/vhost-net");
  private static final String CHECK = "vhost";
  private static final String WANTED = "vhost";
  private static final String FORCED = "vhostforce";
  private static final String LOAD = "Load the kernel's module vhost_net";
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

  /// Opens it for each queue of those of a spec's cards that ask for it.
  ///
  /// @param descriptors get it, under its numbers
  /// @throws LinuxException when it cannot be opened
  static void openInto(Map<Integer, Fd> descriptors, GuestSpec spec) {
    int queue = 0;
    for (GuestSpec.Nic nic : spec.taps()) {
      for (int i = 0; i < nic.card().queues(); i++) {
        if (nic.card().vhost()) {
          descriptors.put(Descriptors.vhost(queue), Fd.open(DEVICE, OpenFlags.READ_WRITE));
        }
        queue++;
      }
    }
  }

  /// What stands behind a tap whose queues the instance is passed it for.
  ///
  /// @param numbers of the descriptors
  static String passed(List<Integer> numbers) {
    String joined = numbers.stream().map(String::valueOf).collect(Collectors.joining(":"));
    return ",vhost=on," + (numbers.size() == 1 ? "vhostfd=" : "vhostfds=") + joined;
  }

  /// Whether the host has what a spec asks for; empty when that is nothing.
  ///
  /// @param usable as [#isUsable], by the daemon
  static Optional<Check> check(GuestSpec spec, BooleanSupplier usable) {
    if (spec.nics().stream().noneMatch(nic -> nic.card().vhost())) {
      return Optional.empty();
    }
    return Optional.of(
        usable.getAsBoolean()
            ? Check.pass(CHECK, DEVICE + " can be opened.")
            : Check.fail(
                CHECK,
                "A card of the guest has vhost: true, and this host has no "
                    + DEVICE
                    + " that can be opened.",
                LOAD + ", or leave vhost out of the spec."));
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
    String load = LOAD + ".";
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
