package dev.hyperfresh.cli;

import java.util.List;
import java.util.Map;
import picocli.CommandLine.Option;

/// The options that say how a new container is reached.
final class NetworkOptions {
  @Option(
      names = "--address",
      paramLabel = "CIDR",
      description = "The address of its network card, such as 10.0.0.5/24.")
  private String address = "";

  @Option(
      names = "--gateway",
      paramLabel = "ADDRESS",
      description = "The gateway of its default route, such as 10.0.0.1.")
  private String gateway = "";

  @Option(
      names = "--address6",
      paramLabel = "CIDR",
      description = "The IPv6 address of its network card, such as fd00::5/64.")
  private String address6 = "";

  @Option(
      names = "--gateway6",
      paramLabel = "ADDRESS",
      description = "The gateway of its default IPv6 route, such as fd00::1.")
  private String gateway6 = "";

  @Option(
      names = "--dns",
      paramLabel = "ADDRESS",
      description = "A name server for its /etc/resolv.conf; up to 3 times.")
  private List<String> dns = List.of();

  @Option(
      names = "--bridge",
      paramLabel = "NAME",
      description = "A bridge of this host that its port joins.")
  private String bridge = "";

  /// Puts them into an order for the API.
  void addTo(Map<String, Object> body) {
    body.put("address", address);
    body.put("gateway", gateway);
    body.put("address6", address6);
    body.put("gateway6", gateway6);
    body.put("dns", dns);
    body.put("bridge", bridge);
  }
}
