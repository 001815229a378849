package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.qemu.SocketFile.Holder;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
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

  /// What stands between single commas: a doubled one stands for a comma. Possessive, since a group
  /// that may give back takes a frame of the stack for each of its repetitions.
  private static final Pattern PIECE = Pattern.compile("(?:[^,]++|,,)++");

  private static final Pattern DISPLAY = Pattern.compile("[0-9]{1,5}");
  private static final int FIRST_PORT = 5900;
  private static final int LAST_PORT = 65_535;

  /// Options that are about addresses, and mean nothing without one.
  private static final Set<String> OF_ADDRESSES = Set.of("ipv4", "ipv6", "to");

  /// Where it listens.
  sealed interface Address {
    /// By what the running QEMU names it.
    String service();

    /// Whether a QEMU listens here with `listener`, as it says itself.
    boolean is(Listener listener);

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
      public boolean is(Listener listener) {
        return path.equals(listener.service());
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

      /// A name, or all addresses of the host, stands for several of which QEMU says one.
      @Override
      public boolean is(Listener listener) {
        Optional<InetAddress> wanted = literal(host);
        Optional<InetAddress> found = literal(listener.host());
        return service().equals(listener.service())
            && (wanted.isEmpty() || found.isEmpty() || wanted.equals(found));
      }

      private static Optional<InetAddress> literal(String host) {
        try {
          return Optional.of(InetAddress.ofLiteral(unbracketed(host)));
        } catch (IllegalArgumentException e) {
          return Optional.empty();
        }
      }

      @Override
      public String text() {
        return host + ":" + (port - FIRST_PORT);
      }
    }
  }

  /// Where a running QEMU says that it listens.
  ///
  /// @param host empty of a unix socket
  /// @param service the path or the port
  record Listener(String host, String service) {}

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

  /// What keeps another process of this host from listening at the same addresses, in sentences.
  ///
  /// @param here whether the process that listens is in this network namespace
  /// @param sees whether a folder is the same one for that process
  List<String> unreachable(boolean here, Predicate<Path> sees) {
    List<String> reasons = new ArrayList<>();
    for (Address address : addresses) {
      switch (address) {
        case Address.Port port when !here ->
            reasons.add(
                "Its VNC server listens at "
                    + port.text()
                    + " in another network namespace; run the daemon there.");
        case Address.Socket socket when !sees.test(new SocketFile(socket.path()).folder()) ->
            reasons.add(
                "The folder of its VNC server's socket "
                    + socket.path()
                    + " is missing, or is a different folder for this daemon.");
        case Address.Port _, Address.Socket _ -> {}
      }
    }
    return reasons;
  }

  /// What names the addresses at which a QEMU's VNC servers listen.
  ///
  /// @throws Qmp.QmpException when it does not say
  static Set<String> services(MachineIdentity.Respondent qemu) {
    return listeners(qemu).stream()
        .map(Listener::service)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static List<Listener> listeners(MachineIdentity.Respondent qemu) {
    List<Listener> listeners = new ArrayList<>();
    qemu.execute("query-vnc-servers", Map.of())
        .forEach(server ->
            server
                .path("server")
                .forEach(listener ->
                    listeners.add(
                        new Listener(
                            listener.path("host").asString(""),
                            listener.path("service").asString("")))));
    return listeners;
  }

  /// Has a QEMU that was started with [#silent] listen, unless it does so already. Told of
  /// addresses, it gives up all that it has and removes their files, whoever has put others in
  /// their place: so it is told nothing then.
  ///
  /// @param pid of its process
  /// @param user who looks whether somebody listens at the socket of another user's QEMU
  /// @throws Qmp.QmpException when it cannot, or not at all addresses
  void listen(MachineIdentity.Respondent qemu, int pid, FileUser user) {
    List<Listener> now = listeners(qemu);
    List<String> faults = new ArrayList<>();
    List<Address> free = new ArrayList<>();
    boolean missing = false;
    boolean lost = false;
    for (Address address : addresses) {
      boolean reported = now.stream().anyMatch(address::is);
      Holder holder =
          address instanceof Address.Socket socket
              ? new SocketFile(socket.path())
                  .holder(reported ? OptionalInt.of(pid) : OptionalInt.empty(), user)
              : reported ? Holder.QEMU : Holder.NOBODY;
      Optional<String> fault = holder.fault(address.text());
      missing |= holder == Holder.NOBODY;
      lost |= reported && fault.isPresent();
      fault.ifPresentOrElse(faults::add, () -> free.add(address));
    }
    if (missing && lost) {
      faults.add("the others cannot be taken, since that would remove what is there");
    } else if (missing) {
      faults.addAll(take(free, qemu));
    }
    if (!faults.isEmpty()) {
      throw new Qmp.QmpException(String.join("; ", faults));
    }
  }

  /// QEMU gives up the addresses that it has, takes the new ones one after the other, and stops at
  /// the first that it cannot have. It does not say which one that is, so after a failure it is
  /// told of one more each time.
  ///
  /// @return why it does not have some of them
  private List<String> take(List<Address> wanted, MachineIdentity.Respondent qemu) {
    try {
      update(wanted, qemu);
      return List.of();
    } catch (Qmp.QmpException e) {
      if (e.unanswered()) {
        throw e;
      }
      if (wanted.size() == 1) {
        return List.of(fault(wanted.getFirst(), e));
      }
    }
    List<String> faults = new ArrayList<>();
    List<Address> had = new ArrayList<>();
    for (Address address : wanted) {
      had.add(address);
      try {
        update(had, qemu);
      } catch (Qmp.QmpException e) {
        if (e.unanswered()) {
          throw e;
        }
        // Those before it stay.
        had.removeLast();
        faults.add(fault(address, e));
      }
    }
    return faults;
  }

  private static String fault(Address address, Qmp.QmpException why) {
    return address.text() + ": " + why.getMessage();
  }

  private void update(List<Address> all, MachineIdentity.Respondent qemu) {
    List<Map<String, Object>> inQmp = all.stream().map(this::inQmp).toList();
    qemu.execute("display-update", Map.of("type", "vnc", "addresses", inQmp));
  }

  private static String unbracketed(String host) {
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }

  private Map<String, Object> inQmp(Address address) {
    return switch (address) {
      case Address.Socket socket -> Map.of("type", "unix", "path", socket.path());
      case Address.Port port -> {
        Map<String, Object> inet = new LinkedHashMap<>();
        inet.put("type", "inet");
        inet.put("host", unbracketed(port.host()));
        inet.put("port", port.service());
        for (String family : List.of("ipv4", "ipv6")) {
          options.get(family).ifPresent(_ -> inet.put(family, options.isOn(family)));
        }
        yield inet;
      }
    };
  }
}
