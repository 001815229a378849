package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// A QEMU's VNC server as `-vnc` gives it. Two processes cannot listen at one address, so the
/// target of a replacement starts without any ([#silent]) and takes them when its source is gone
/// ([#listen]).
///
/// @param addresses none when it does not listen
/// @param options how it serves, in the order in which they stand
record VncServer(List<Address> addresses, Suboptions options) {
  static final String OPTION = "-vnc";

  private static final String ADDRESS = "vnc";
  private static final String NONE = "none";

  /// What stands between single commas: a doubled one stands for a comma.
  private static final Pattern PIECE = Pattern.compile("(?:[^,]|,,)+");

  private static final Pattern DISPLAY = Pattern.compile("[0-9]{1,5}");
  private static final int FIRST_PORT = 5900;
  private static final int LAST_PORT = 65_535;

  /// Options that are about addresses, and mean nothing without one.
  private static final Set<String> OF_ADDRESSES = Set.of("ipv4", "ipv6", "to");

  private static final Duration PATIENCE = Duration.ofSeconds(1);

  /// Where it listens.
  sealed interface Address {
    /// By what the running QEMU names it.
    String service();

    /// As a command line has it.
    String text();

    /// A unix socket.
    record Socket(String path) implements Address {
      private static final String MARK = "unix:";

      @Override
      public String service() {
        return path;
      }

      @Override
      public String text() {
        return MARK + path;
      }
    }

    /// A TCP port.
    ///
    /// @param host in brackets if it is of IPv6; empty for all addresses of this host
    record Port(String host, int port) implements Address {
      @Override
      public String service() {
        return Integer.toString(port);
      }

      @Override
      public String text() {
        return host + ":" + (port - FIRST_PORT);
      }
    }
  }

  VncServer {
    addresses = List.copyOf(addresses);
  }

  /// Reads what stands behind `-vnc`, where `vnc=` may stand several times.
  static VncServer parse(String text) throws Suboptions.MalformedException {
    List<Address> addresses = new ArrayList<>();
    List<String> rest = new ArrayList<>();
    Matcher pieces = PIECE.matcher(text);
    for (boolean first = true; pieces.find(); first = false) {
      String piece = pieces.group();
      boolean implied = first && !piece.contains("=");
      if (implied || piece.startsWith(ADDRESS + "=")) {
        String value = implied ? piece : piece.substring(ADDRESS.length() + 1);
        if (!value.equals(NONE)) {
          addresses.add(address(value.replace(",,", ",")));
        }
      } else {
        rest.add(piece);
      }
    }
    return new VncServer(addresses, Suboptions.parse(String.join(",", rest), ""));
  }

  private static Address address(String text) throws Suboptions.MalformedException {
    if (text.startsWith(Address.Socket.MARK)) {
      return new Address.Socket(text.substring(Address.Socket.MARK.length()));
    }
    int colon = text.lastIndexOf(':');
    String display = text.substring(colon + 1);
    if (colon < 0 || !DISPLAY.matcher(display).matches()) {
      throw new Suboptions.MalformedException("its address cannot be understood");
    }
    int port = FIRST_PORT + Integer.parseInt(display);
    if (port > LAST_PORT) {
      throw new Suboptions.MalformedException("there is no port " + port);
    }
    return new Address.Port(text.substring(0, colon), port);
  }

  /// The same at other addresses.
  VncServer at(List<Address> others) {
    return new VncServer(others, options);
  }

  /// The same, listening nowhere.
  VncServer silent() {
    Suboptions left = options;
    for (String key : OF_ADDRESSES) {
      left = left.without(key);
    }
    return new VncServer(List.of(), left);
  }

  /// As it stands behind `-vnc`.
  String text() {
    Stream<String> where =
        addresses.isEmpty() ? Stream.of(NONE) : addresses.stream().map(Address::text);
    return Stream.concat(
            where.map(address -> ADDRESS + "=" + address.replace(",", ",,")),
            Stream.of(options.text()).filter(text -> !text.isEmpty()))
        .collect(Collectors.joining(","));
  }

  /// Its addresses, for people.
  String where() {
    return addresses.stream().map(Address::text).collect(Collectors.joining(" and "));
  }

  /// What names the addresses at which a QEMU's VNC servers listen.
  ///
  /// @throws Qmp.QmpException when it does not say
  static Set<String> services(MachineIdentity.Respondent qemu) {
    Set<String> services = new TreeSet<>();
    qemu.execute("query-vnc-servers", Map.of())
        .forEach(server ->
            server
                .path("server")
                .forEach(listener -> services.add(listener.path("service").asString(""))));
    return services;
  }

  /// Has a QEMU that was started with [#silent] listen, unless it does so already.
  ///
  /// @throws Qmp.QmpException when it cannot, or not at all addresses
  void listen(MachineIdentity.Respondent qemu) {
    Set<String> now = services(qemu);
    List<Address> missing =
        addresses.stream().filter(address -> !now.contains(address.service())).toList();
    if (missing.isEmpty()) {
      return;
    }
    List<Address> taken = missing.stream().filter(VncServer::isServed).toList();
    // It gives up those that it has.
    List<Map<String, Object>> free =
        addresses.stream().filter(address -> !taken.contains(address)).map(this::inQmp).toList();
    if (taken.size() < missing.size()) {
      qemu.execute("display-update", Map.of("type", "vnc", "addresses", free));
    }
    if (!taken.isEmpty()) {
      throw new Qmp.QmpException("another process listens at " + at(taken).where());
    }
  }

  /// QEMU takes the path of a socket away from whoever listens there.
  private static boolean isServed(Address address) {
    if (!(address instanceof Address.Socket socket)) {
      return false;
    }
    try (UnixSocket _ = UnixSocket.connect(Path.of(socket.path()), PATIENCE)) {
      return true;
    } catch (LinuxException e) {
      return !Set.of("ECONNREFUSED", "ENOENT").contains(e.errnoName());
    }
  }

  private Map<String, Object> inQmp(Address address) {
    return switch (address) {
      case Address.Socket socket -> Map.of("type", "unix", "path", socket.path());
      case Address.Port port -> {
        Map<String, Object> inet = new LinkedHashMap<>();
        inet.put("type", "inet");
        inet.put("host", port.host().replaceAll("^\\[(.*)]$", "$1"));
        inet.put("port", port.service());
        for (String family : List.of("ipv4", "ipv6")) {
          options.get(family).ifPresent(_ -> inet.put(family, options.isOn(family)));
        }
        yield inet;
      }
    };
  }
}
