package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What a container is to be. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param bundle an OCI bundle of this host: a folder with `config.json` and the root file system.
///   Of a container that was made of an image it is the image, see [Systems#runImage]
/// @param network its network, if it has one
/// @param volumes what it has of volumes
/// @param health how is found out whether it works, if anybody asks
public record ContainerSpec(
    String name,
    Path bundle,
    Optional<Network> network,
    List<VolumeMount> volumes,
    Optional<HealthCheck> health) {
  private static final Pattern BRIDGE = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}");

  /// Copies the list.
  public ContainerSpec {
    // An earlier daemon has written neither down.
    volumes = List.copyOf(Objects.requireNonNullElse(volumes, List.of()));
    health = Objects.requireNonNullElse(health, Optional.empty());
  }

  /// One without volumes, of which nobody asks whether it works.
  public ContainerSpec(String name, Path bundle, Optional<Network> network) {
    this(name, bundle, network, List.of(), Optional.empty());
  }

  /// One card, called `eth0` inside, and a port of this host that stays when the container moves.
  ///
  /// @param address IPv4, with the length of the prefix: `10.0.0.5/24`
  /// @param gateway of the default route of IPv4, if there is to be one
  /// @param bridge of this host, or empty to leave the port alone
  /// @param address6 IPv6, with the length of the prefix: `fd00::5/64`
  /// @param gateway6 of the default route of IPv6, if there is to be one
  /// @param dns name servers, at most 3, which are written into the container's `resolv.conf`
  public record Network(
      Optional<String> address,
      Optional<String> gateway,
      Optional<String> bridge,
      Optional<String> address6,
      Optional<String> gateway6,
      List<String> dns) {
    /// None at all.
    public static final Network NONE =
        new Network(
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            List.of());

    /// `MAXNS` of resolv.h.
    private static final int MOST_NAME_SERVERS = 3;

    /// Copies the list.
    public Network {
      // An earlier daemon has written none down.
      dns = Objects.requireNonNullElse(dns, List.of());
      dns = List.copyOf(dns);
    }

    /// One with an address of IPv4 alone.
    public Network(String address, Optional<String> gateway, Optional<String> bridge) {
      this(Optional.of(address), gateway, bridge, Optional.empty(), Optional.empty(), List.of());
    }

    /// The routes of the container, each as `ip route` has it.
    public List<String> routes() {
      List<String> routes = new ArrayList<>();
      Stream.of(address, address6)
          .flatMap(Optional::stream)
          .map(own -> IpAddress.network(own) + " dev eth0")
          .forEach(routes::add);
      Stream.of(gateway, gateway6)
          .flatMap(Optional::stream)
          .map(hop -> "default via " + hop + " dev eth0")
          .forEach(routes::add);
      return routes;
    }

    private List<String> faults() {
      List<String> faults = new ArrayList<>();
      if (address.isEmpty() && address6.isEmpty()) {
        faults.add("address: none is given");
      }
      faulty(address, IpAddress::isIpv4WithPrefix, "address", "of the form 10.0.0.5/24", faults);
      faulty(address6, IpAddress::isIpv6WithPrefix, "address6", "of the form fd00::5/64", faults);
      faulty(gateway, IpAddress::isIpv4, "gateway", "an IPv4 address", faults);
      faulty(gateway6, IpAddress::isIpv6, "gateway6", "an IPv6 address", faults);
      faulty(bridge, BRIDGE.asMatchPredicate(), "bridge", "an interface name", faults);
      if (gateway.isPresent() && address.isEmpty()) {
        faults.add("gateway: it needs an IPv4 address of the container");
      }
      if (gateway6.isPresent() && address6.isEmpty()) {
        faults.add("gateway6: it needs an IPv6 address of the container");
      }
      if (dns.size() > MOST_NAME_SERVERS) {
        faults.add("dns: there are more than " + MOST_NAME_SERVERS);
      }
      dns.forEach(server ->
          faulty(
              Optional.of(server),
              text -> IpAddress.isIpv4(text) || IpAddress.isIpv6(text),
              "dns",
              "an address",
              faults));
      return faults;
    }

    private static void faulty(
        Optional<String> value,
        Predicate<String> form,
        String field,
        String what,
        List<String> faults) {
      value
          .filter(form.negate())
          .ifPresent(text -> faults.add(field + ": '" + text + "' is not " + what));
    }
  }

  /// Every fault in the fields themselves; empty when there is none. Does not look at the host.
  public List<String> faults() {
    List<String> faults = new ArrayList<>();
    if (!GuestSpec.isName(name)) {
      faults.add(
          "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    network.map(Network::faults).ifPresent(faults::addAll);
    faults.addAll(VolumeMount.faults(volumes));
    health.map(HealthCheck::faults).ifPresent(faults::addAll);
    return faults;
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
