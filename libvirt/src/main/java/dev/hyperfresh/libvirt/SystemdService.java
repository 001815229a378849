package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// libvirt as units of systemd: a service, and sockets that start it at the next request.
///
/// @param units those that were active, the service last
record SystemdService(LibvirtHost host, List<String> units) implements LibvirtService {
  private static final System.Logger LOG = System.getLogger(SystemdService.class.getName());

  private static final Duration LOOK = Duration.ofSeconds(20);

  /// More than systemd itself waits before it kills, or gives up to read its units.
  private static final Duration STOP = Duration.ofMinutes(2);

  private static final String SERVICE = ".service";

  /// The monolithic daemon, and the modular one for QEMU.
  private static final List<String> NAMES = List.of("virtqemud", "libvirtd");

  private static final List<String> SOCKETS =
      List.of("-tls.socket", "-tcp.socket", "-admin.socket", "-ro.socket", ".socket");

  /// Whatever is bound to a unit in one of these ways ends with it.
  private static final List<String> BONDS = List.of("RequiredBy", "BoundBy", "ConsistsOf");

  SystemdService {
    units = List.copyOf(units);
  }

  @Override
  public Down.How how() {
    return Down.How.of(units);
  }

  @Override
  public String words() {
    return units.getLast();
  }

  /// systemd itself starts what it is ending once that has ended.
  @Override
  public boolean isStillThere() {
    return false;
  }

  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE]
  static SystemdService find(LibvirtHost host) {
    Map<String, Map<String, String>> all = show(host, all());
    List<String> names =
        NAMES.stream()
            .filter(name -> unitsOf(name).anyMatch(unit -> isActive(all.get(unit))))
            .toList();
    if (names.size() != 1) {
      throw Problem.LIBVIRT_SERVICE.because(
          names.isEmpty()
              ? "Neither libvirtd nor virtqemud is active on this host, with its sockets."
              : "Both libvirtd and virtqemud are active on this host.");
    }
    String name = names.getFirst();
    requireHarmless(all, name);
    return new SystemdService(host, unitsOf(name).filter(unit -> isActive(all.get(unit))).toList());
  }

  private static List<String> all() {
    return NAMES.stream().flatMap(SystemdService::unitsOf).toList();
  }

  private static Stream<String> unitsOf(String name) {
    return Stream.concat(SOCKETS.stream().map(name::concat), Stream.of(name + SERVICE));
  }

  private static boolean isActive(@Nullable Map<String, String> unit) {
    return unit != null
        && Set.of("active", "activating", "reloading")
            .contains(unit.getOrDefault("ActiveState", ""));
  }

  /// Guests must not end with the service, and nothing else may.
  private static void requireHarmless(Map<String, Map<String, String>> all, String name) {
    Map<String, String> service = all.getOrDefault(name + SERVICE, Map.of());
    String kills = service.getOrDefault("KillMode", "");
    if (!kills.equals("process") && !kills.equals("none")) {
      throw Problem.LIBVIRT_SERVICE.because(
          "%s has KillMode=%s: what it has started could end with it."
              .formatted(name + SERVICE, kills));
    }
    List<String> own = unitsOf(name).toList();
    for (String unit : own) {
      Map<String, String> properties = all.getOrDefault(unit, Map.of());
      BONDS.stream()
          .flatMap(bond -> Arrays.stream(properties.getOrDefault(bond, "").split(" ")))
          .filter(bound -> !bound.isEmpty() && !own.contains(bound))
          .findFirst()
          .ifPresent(bound -> {
            throw Problem.LIBVIRT_SERVICE.because(
                "systemd would end " + bound + " together with " + unit + ".");
          });
    }
  }

  private Barrier barrier() {
    return new Barrier(host, all());
  }

  /// A socket may have started the service since it was looked for, and somebody else any unit.
  @Override
  public void stop() {
    try {
      barrier().raise();
    } catch (IOException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          "systemd cannot be kept from starting it meanwhile: " + e.getMessage() + ".", e);
    }
    run(STOP, "daemon-reload", List.of());
    run(STOP, "stop", units);
    List<String> others = active(all());
    if (!others.isEmpty()) {
      run(STOP, "stop", others);
    }
    active(all()).stream()
        .findFirst()
        .ifPresent(unit -> {
          throw Problem.LIBVIRT_SERVICE.because(unit + " is still active.");
        });
  }

  private List<String> active(List<String> some) {
    Map<String, Map<String, String>> all = show(host, some);
    return some.stream().filter(unit -> isActive(all.get(unit))).toList();
  }

  /// A socket cannot be started beside its service.
  @Override
  public void start() {
    try {
      barrier().open();
    } catch (IOException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          "systemd is still kept from starting it: " + e.getMessage() + ".", e);
    }
    try {
      List<String> up = active(units);
      List<String> down = units.stream().filter(unit -> !up.contains(unit)).toList();
      for (boolean service : new boolean[] {false, true}) {
        List<String> some =
            down.stream().filter(unit -> unit.endsWith(SERVICE) == service).toList();
        if (!some.isEmpty()) {
          run(STOP, "start", some);
        }
      }
    } finally {
      clear();
    }
  }

  /// What is left has no effect any more.
  private void clear() {
    try {
      if (barrier().clear()) {
        run(STOP, "daemon-reload", List.of());
      }
    } catch (IOException | HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, "conditions without effect stay with " + words(), e);
    }
  }

  private void run(Duration limit, String verb, List<String> what) {
    HostCommand ended = HostCommand.of(command(host, verb, what), limit);
    if (ended.status() != 0) {
      throw Problem.LIBVIRT_SERVICE.because(
          "systemd does not %s: %s."
              .formatted(
                  Stream.concat(Stream.of(verb), what.stream()).collect(Collectors.joining(" ")),
                  ended.lastLine()));
    }
  }

  private static List<String> command(LibvirtHost host, String verb, List<String> words) {
    List<String> command =
        new ArrayList<>(List.of(host.systemctl().toString(), "--no-ask-password", verb));
    command.addAll(words);
    return command;
  }

  /// What systemd says of units, by their names. One that it does not know is not active.
  private static Map<String, Map<String, String>> show(LibvirtHost host, List<String> units) {
    List<String> words =
        new ArrayList<>(List.of("--property=Id,ActiveState,KillMode," + String.join(",", BONDS)));
    words.addAll(units);
    HostCommand ended = HostCommand.of(command(host, "show", words), LOOK);
    if (ended.status() != 0) {
      throw Problem.LIBVIRT_SERVICE.because(
          "systemd does not say how libvirt runs: " + ended.lastLine() + ".");
    }
    Map<String, Map<String, String>> all = new LinkedHashMap<>();
    for (String block : ended.output().split("\n\n")) {
      Map<String, String> properties = new HashMap<>();
      block
          .lines()
          .map(line -> line.split("=", 2))
          .filter(pair -> pair.length == 2)
          .forEach(pair -> properties.put(pair[0], pair[1]));
      all.put(properties.getOrDefault("Id", ""), properties);
    }
    return all;
  }
}
