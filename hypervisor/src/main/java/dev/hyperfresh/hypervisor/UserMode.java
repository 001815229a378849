package dev.hyperfresh.hypervisor;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/// A network without a port on the host: the hypervisor passes the guest's connections on as its
/// own.
///
/// @param forwards ports of the host that lead to the guest
public record UserMode(List<Forward> forwards) {
  private static final String OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])";
  private static final Pattern ADDRESS = Pattern.compile(OCTET + "(\\." + OCTET + "){3}");
  private static final int MOST = 32;
  private static final int LAST_PORT = 65_535;

  public UserMode {
    forwards = List.copyOf(forwards);
  }

  /// A port of the host that leads to one of the guest.
  ///
  /// @param address of this host, IPv4
  /// @param port of this host
  public record Forward(boolean udp, String address, int port, int guestPort) {
    /// As a spec says it.
    public String text() {
      return address + ":" + port + ":" + guestPort + (udp ? "/udp" : "");
    }

    private boolean isWithinBounds() {
      return ADDRESS.matcher(address).matches()
          && port >= 1
          && port <= LAST_PORT
          && guestPort >= 1
          && guestPort <= LAST_PORT;
    }

    private String place() {
      return udp + address + ":" + port;
    }
  }

  /// As a spec says it.
  List<String> words() {
    List<String> words = new ArrayList<>(List.of("user: true"));
    forwards.forEach(forward -> words.add("forward: " + forward.text()));
    return words;
  }

  /// Every fault, without the card that it is about.
  List<String> faults() {
    List<String> faults = new ArrayList<>();
    forwards.stream()
        .filter(forward -> !forward.isWithinBounds())
        .forEach(forward ->
            faults.add(
                "forward: '" + forward.text() + "' is not an address and ports of this host"));
    if (forwards.stream().map(Forward::place).distinct().count() != forwards.size()) {
      faults.add("forward: a port of this host is given twice");
    }
    if (forwards.size() > MOST) {
      faults.add("forward: " + forwards.size() + " ports are more than " + MOST);
    }
    return faults;
  }
}
