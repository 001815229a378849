package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// A user-mode network as `-netdev`, `-nic` and `-net` give it: QEMU itself passes the guest's
/// connections on. Two processes cannot have one port of the host, so the target of a replacement
/// starts without any ([#silent]) and takes them when its source is gone ([#listen]).
///
/// @param pairs in the order in which they stand, without the rules
/// @param ports what the rules make of the host
record UserNetwork(List<Map.Entry<String, String>> pairs, List<HostPort> ports) {
  private static final String TYPE = "user";
  private static final String RULE = "hostfwd";
  private static final int MAX_PAIRS = 200;

  /// What JSON has a list of texts for and anything else has the key again and again for.
  private static final Pattern LISTED =
      Pattern.compile("(hostfwd|guestfwd|dnssearch)\\.[0-9]{1,3}\\.str");

  private static final Pattern ID = Pattern.compile("[A-Za-z][A-Za-z0-9._-]{0,99}");

  UserNetwork {
    pairs = List.copyOf(pairs);
    ports = List.copyOf(ports);
  }

  /// Whether what stands behind an option is a user-mode network.
  static boolean is(Suboptions network) {
    return network.get("type", "").equals(TYPE);
  }

  /// Reads what stands behind an option.
  static UserNetwork parse(String text) throws Suboptions.MalformedException {
    List<Map.Entry<String, String>> pairs = new ArrayList<>();
    List<HostPort> ports = new ArrayList<>();
    for (Map.Entry<String, String> pair : Suboptions.all(text, "type")) {
      String key = LISTED.matcher(pair.getKey()).replaceFirst("$1");
      if (key.equals(RULE)) {
        ports.add(HostPort.parse(pair.getValue()));
      } else {
        pairs.add(Map.entry(key, pair.getValue()));
      }
    }
    UserNetwork network = new UserNetwork(pairs, ports);
    // It is read again when it has got a name.
    int nameless = network.get("id").isEmpty() ? 1 : 0;
    if (pairs.size() + ports.size() + nameless > MAX_PAIRS) {
      throw new Suboptions.MalformedException("more than " + MAX_PAIRS + " keys");
    }
    return network;
  }

  /// Of a word that was made here.
  static Optional<UserNetwork> of(String word) {
    try {
      return is(Suboptions.parse(word, "type")) ? Optional.of(parse(word)) : Optional.empty();
    } catch (Suboptions.MalformedException e) {
      throw new IllegalStateException("these words were made here", e);
    }
  }

  Set<String> keys() {
    return pairs.stream().map(Map.Entry::getKey).collect(Collectors.toSet());
  }

  /// The value of a key, of which the last one counts.
  Optional<String> get(String key) {
    return pairs.reversed().stream()
        .filter(pair -> pair.getKey().equals(key))
        .map(Map.Entry::getValue)
        .findFirst();
  }

  /// The name by which the monitor knows it; empty when that could not be said to the monitor.
  Optional<String> id() {
    return get("id").filter(id -> ID.matcher(id).matches());
  }

  /// The same with another value of a key.
  UserNetwork with(String key, String value) {
    List<Map.Entry<String, String>> others = new ArrayList<>(pairs);
    others.removeIf(pair -> pair.getKey().equals(key));
    others.add(Map.entry(key, value));
    return new UserNetwork(others, ports);
  }

  /// The same without ports of the host.
  UserNetwork silent() {
    return new UserNetwork(pairs, List.of());
  }

  /// As it stands behind an option.
  String text() {
    List<Map.Entry<String, String>> all = new ArrayList<>(pairs);
    ports.forEach(port -> all.add(Map.entry(RULE, port.rule())));
    return Suboptions.text(all);
  }

  /// Its ports of the host, for people.
  String where() {
    return ports.stream().map(HostPort::place).collect(Collectors.joining(" and "));
  }

  /// Has a QEMU that was started with [#silent] listen, where it does not do so already.
  ///
  /// @throws Qmp.QmpException when it cannot, or not at all ports
  void listen(MachineIdentity.Respondent qemu) {
    Set<String> open = HostPort.open(qemu);
    List<String> faults = new ArrayList<>();
    for (HostPort port : ports) {
      if (open.stream().noneMatch(port::is)) {
        // It answers nothing when all went well.
        String line = "hostfwd_add " + id().orElse("") + " " + port.rule();
        String said = MachineIdentity.monitor(qemu, line).strip();
        if (!said.isEmpty()) {
          faults.add(ForeignPiece.excerpt(said));
        }
      }
    }
    if (!faults.isEmpty()) {
      throw new Qmp.QmpException(String.join("; ", faults));
    }
  }
}
