package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;

/// What a container is to be. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param bundle an OCI bundle of this host: a folder with `config.json` and the root file system
/// @param network its network, if it has one
public record ContainerSpec(String name, Path bundle, Optional<Network> network) {
  private static final Pattern ADDRESS =
      Pattern.compile("([0-9]{1,3}\\.){3}[0-9]{1,3}/([0-9]|[12][0-9]|3[0-2])");
  private static final Pattern HOST = Pattern.compile("([0-9]{1,3}\\.){3}[0-9]{1,3}");
  private static final Pattern BRIDGE = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}");

  /// One card, called `eth0` inside, and a port of this host that stays when the container moves.
  ///
  /// @param address IPv4, with the length of the prefix: `10.0.0.5/24`
  /// @param gateway of the default route, if there is to be one
  /// @param bridge of this host, or empty to leave the port alone
  public record Network(String address, Optional<String> gateway, Optional<String> bridge) {}

  /// Every fault in the fields themselves; empty when there is none. Does not look at the host.
  public List<String> faults() {
    List<String> faults = new ArrayList<>();
    if (!GuestSpec.isName(name)) {
      faults.add(
          "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    network.ifPresent(card -> {
      if (!ADDRESS.matcher(card.address()).matches()
          || !isAddress(card.address().replaceFirst("/.*", ""))) {
        faults.add("address: '" + card.address() + "' is not of the form 10.0.0.5/24");
      }
      card.gateway()
          .filter(gateway -> !isAddress(gateway))
          .ifPresent(gateway -> faults.add("gateway: '" + gateway + "' is no IPv4 address"));
      card.bridge()
          .filter(bridge -> !BRIDGE.matcher(bridge).matches())
          .ifPresent(bridge -> faults.add("bridge: '" + bridge + "' is no name of an interface"));
    });
    return faults;
  }

  private static boolean isAddress(String text) {
    return HOST.matcher(text).matches()
        && List.of(text.split("\\.")).stream().mapToInt(Integer::parseInt).allMatch(n -> n < 256);
  }

  /// The card's address, which follows from the container's name. Locally administered.
  public String mac() {
    int hash = ("container/" + name).hashCode();
    return String.format(
        Locale.ROOT, "52:54:00:%02x:%02x:%02x", hash & 255, hash >> 8 & 255, hash >> 16 & 255);
  }

  /// The name of the port on this host.
  public String port() {
    return String.format(Locale.ROOT, "hfc%08x", ("container/" + name).hashCode());
  }
}
