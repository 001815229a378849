package dev.hyperfresh.qemu;

import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// A port of this host that leads to a port of a guest on a user-mode network: a rule of
/// `hostfwd=`.
///
/// @param protocol `tcp` or `udp`
/// @param address of this host, IPv4; empty for all
/// @param port of this host
/// @param guest address and port of the guest, with a colon between them; the address may be empty
record HostPort(String protocol, String address, int port, String guest) {
  private static final String ADDRESS = "([0-9]{1,3}(?:\\.[0-9]{1,3}){3}|)";
  private static final String NUMBER = "([0-9]{1,5})";
  private static final Pattern RULE =
      Pattern.compile("(tcp|udp|):" + ADDRESS + ":" + NUMBER + "-(" + ADDRESS + ":" + NUMBER + ")");

  /// Also what of the guest QEMU takes for the address that it gives to it.
  private static final String ALL = "0.0.0.0";

  private static final int LAST_PORT = 65_535;

  /// A line of HMP `info usernet`: protocol and state, descriptor, address and port of the host,
  /// those of the guest.
  private static final Pattern LISTENS =
      Pattern.compile(" *(TCP|UDP)\\[HOST_FORWARD] +[0-9]+ +(\\S+) +([0-9]+) +(\\S+) +([0-9]+) .*");

  /// Reads a rule.
  ///
  /// @throws Suboptions.MalformedException also when QEMU would choose the port
  static HostPort parse(String rule) throws Suboptions.MalformedException {
    Matcher parts = RULE.matcher(rule);
    if (!parts.matches() || Integer.parseInt(parts.group(3)) > LAST_PORT) {
      throw new Suboptions.MalformedException(
          "its hostfwd rule is of a form that is not known here");
    }
    int port = Integer.parseInt(parts.group(3));
    if (port == 0) {
      throw new Suboptions.MalformedException(
          "later processes would get another port of the host for port 0 of its hostfwd rule");
    }
    String protocol = parts.group(1).isEmpty() ? "tcp" : parts.group(1);
    return new HostPort(protocol, parts.group(2), port, parts.group(4));
  }

  /// As `hostfwd=` and `hostfwd_add` take it.
  String rule() {
    return protocol + ":" + address + ":" + port + "-" + guest;
  }

  /// Whether it is one of [#open].
  boolean is(String open) {
    String destination = guest.startsWith(ALL) ? guest.substring(ALL.length()) : guest;
    return destination.startsWith(":")
        ? open.startsWith(place() + "-") && open.endsWith(destination)
        : open.equals(place() + "-" + destination);
  }

  /// Where it is listened for it, for people.
  String place() {
    return protocol + ":" + (address.equals(ALL) ? "" : address) + ":" + port;
  }

  /// Where a QEMU listens for its guest, and where that leads: as rules with all addresses but that
  /// of all addresses of the host.
  ///
  /// @throws Qmp.QmpException when it does not say
  static Set<String> open(MachineIdentity.Respondent qemu) {
    return open(MachineIdentity.monitor(qemu, "info usernet"));
  }

  static Set<String> open(String table) {
    return table
        .lines()
        .map(LISTENS::matcher)
        .filter(Matcher::matches)
        .map(line ->
            (line.group(1).equals("TCP") ? "tcp:" : "udp:")
                + line.group(2).replace("*", "")
                + ":"
                + line.group(3)
                + "-"
                + line.group(4)
                + ":"
                + line.group(5))
        .collect(Collectors.toCollection(TreeSet::new));
  }
}
