package dev.hyperfresh.linux;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;

/// A network port of a guest: a tap whose queue is handed from hypervisor to hypervisor, so that
/// the port never goes away.
///
/// A hypervisor that opens a queue sets up the whole device anew: header length and offloads go
/// back to their defaults, and a guest that runs on another queue is cut off. It also takes the
/// first packet that comes. So a hypervisor that only waits gets a **spare**: a descriptor of a
/// throw-away tap of its own, where it can do no harm. When it is set up, [#joinSpare] removes the
/// throw-away device and attaches the same descriptor to this port, as a second queue that stays
/// silent until [#switchToSpare].
///
/// Which queue gets the packets for the guest is decided by an eBPF program ([#steered]); packets
/// from the guest are taken from either. Where the kernel does not allow eBPF, the spare joins only
/// in [#switchToSpare], which then detaches the other queue; packets that wait in it are lost. A
/// port with several queues is not to be switched there ([#refusesQueues]).
///
/// A port may have several queues, and its spare then as many. The kernel spreads the packets over
/// them; only from [#joinSpare] until the spare is kept or dropped does the program give all to one
/// queue of whoever is to have them. A hypervisor detaches those queues that its guest does not use
/// (`TUNSETQUEUE`) and relies on what it has done, so a queue of a spare joins as it was left. What
/// the guest uses may change at any time, and with it which queue is which ([QueueSeats]).
///
/// ```
/// spares() ─▶ joinSpare() ─▶ switchToSpare() ─▶ keepSpare()
///    │           │                │
///    └───────────┴──▶ dropSpare() ◀── switchBack()
/// ```
///
/// All methods may be called by any thread, one at a time; [#create] and [#spare] in the network
/// namespace of the port. The port lives until the last descriptor of it is closed in every
/// process, or until [#delete].
public final class Tap implements AutoCloseable {
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*");
  private static final String THROW_AWAY = "hfwait%d";

  private final String name;
  private final NetworkNamespace namespace;
  private final Fd control;
  private final Optional<QueueSteering> steering;
  private List<Fd> queues;
  private List<Fd> spares = List.of();
  private boolean joined;

  /// Whether the spares are still queues of a device of their own.
  private boolean throwAway;

  /// Whether the program chooses the queue, of a port with several.
  private boolean steers;

  private final QueueSeats seats;

  /// Those which a switch without eBPF has detached.
  private final List<Fd> detached = new ArrayList<>();

  private Tap(
      String name,
      List<Fd> queues,
      NetworkNamespace namespace,
      Fd control,
      Optional<QueueSteering> steering) {
    this.name = name;
    this.namespace = namespace;
    this.queues = List.copyOf(queues);
    this.seats = new QueueSeats(this.queues.size());
    this.control = control;
    this.steering = steering;
  }

  /// Makes a tap in the network namespace of the calling thread.
  ///
  /// @param name 1 to 15 letters, digits, `_`, `.` or `-`
  /// @throws IllegalArgumentException when the name is not one
  /// @throws LinuxException when a network interface has that name (`EBUSY`) or without the right
  ///   (`EPERM`)
  public static Tap create(String name) {
    return create(name, 1);
  }

  /// As [#create(String)], with several queues.
  ///
  /// @throws IllegalArgumentException also when there are less than one
  public static Tap create(String name, int queues) {
    return create(name, queues, true);
  }

  static Tap create(String name, int queues, boolean mayUseEbpf) {
    requireName(name);
    if (queues < 1) {
      throw new IllegalArgumentException(name + " cannot have " + queues + " queues");
    }
    List<Fd> made = TapQueues.make(name, Constants.IFF_TUN_EXCL, queues, name);
    try {
      return own(name, made, mayUseEbpf);
    } catch (LinuxException refused) {
      made.forEach(Fd::close);
      throw refused;
    }
  }

  /// Takes ownership of the surviving queues of a tap whose owner has died. When this throws, the
  /// descriptors still belong to the caller.
  ///
  /// Call it in the namespace of the tap, and only when no other process holds another queue of it.
  ///
  /// @param survivors all its queues, at least one
  /// @param name the network interface that they must be queues of: whoever held them may have put
  ///   others in their place
  /// @throws LinuxException when one is not a queue of that tap of this namespace
  public static Tap adopt(List<Fd> survivors, String name) {
    for (Fd queue : survivors) {
      String device = TapQueues.device(queue);
      if (!device.equals(name)) {
        throw LinuxException.of(
            "ioctl TUNGETIFF",
            queue.label() + ", a queue of " + device + " and not of " + name,
            Constants.ENODEV);
      }
      TapQueues.requireHere(queue);
    }
    return own(name, survivors, true);
  }

  /// What the kernel knows of a tap.
  ///
  /// @param name of the network interface
  /// @param extensible whether it can have a second queue, and has the headers that all queues of
  ///   this class have: then [#adopt] takes it
  /// @param bridge the bridge that it is a port of
  public record Facts(String name, boolean extensible, Optional<String> bridge) {}

  /// Looks at the tap that `queue` is a queue of, in the namespace of the calling thread, and
  /// changes nothing.
  ///
  /// @throws LinuxException when the descriptor is not a queue of a tap of this namespace
  public static Facts facts(Fd queue) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = TapQueues.ask(queue, arena);
      TapQueues.requireHere(queue);
      String name = Ifreq.ifr_name.in(request).getString(0);
      int ours = TapQueues.FLAGS;
      boolean extensible = (Ifreq.ifr_flags.get(request) & ours) == ours;
      try (Fd socket = TapQueues.socket(name)) {
        TapQueues.ioctl(socket, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, request, name);
        OptionalInt bridge = Links.bridge(Ifreq.ifr_ifindex.get(request), name);
        if (bridge.isEmpty()) {
          return new Facts(name, extensible, Optional.empty());
        }
        Ifreq.ifr_ifindex.set(request, bridge.getAsInt());
        TapQueues.ioctl(socket, "SIOCGIFNAME", Constants.SIOCGIFNAME, request, name);
        return new Facts(name, extensible, Optional.of(Ifreq.ifr_name.in(request).getString(0)));
      }
    }
  }

  private static Tap own(String name, List<Fd> queues, boolean mayUseEbpf) {
    Fd first = queues.getFirst();
    Optional<QueueSteering> steering = mayUseEbpf ? steering(first) : Optional.empty();
    try {
      if (steering.isPresent() && queues.size() > 1) {
        TapQueues.spread(first);
      }
      NetworkNamespace namespace = NetworkNamespace.ofThisThread();
      return new Tap(name, queues, namespace, TapQueues.socket(name), steering);
    } catch (LinuxException refused) {
      steering.ifPresent(QueueSteering::close);
      throw refused;
    }
  }

  private static Optional<QueueSteering> steering(Fd queue) {
    try {
      QueueSteering steering = QueueSteering.load();
      if (TapQueues.steer(queue, steering)) {
        return Optional.of(steering);
      }
      steering.close();
      return Optional.empty();
    } catch (LinuxException refused) {
      if (QueueSteering.unavailable(refused)) {
        return Optional.empty();
      }
      throw refused;
    }
  }

  /// The name of the network interface.
  public String name() {
    return name;
  }

  /// The queue of the hypervisor that runs the guest, of a port with one; this object keeps owning
  /// it.
  public Fd queue() {
    return queues.getFirst();
  }

  /// All queues of the hypervisor that runs the guest; this object keeps owning them.
  public List<Fd> queues() {
    return queues;
  }

  /// A descriptor for a hypervisor that waits, of a port with one queue; this object keeps owning
  /// it.
  ///
  /// @throws IllegalStateException as [#spares]
  public Fd spare() {
    return spares().getFirst();
  }

  /// As many descriptors for a hypervisor that waits as the port has queues; this object keeps
  /// owning them.
  ///
  /// @throws IllegalStateException when there are some already
  public List<Fd> spares() {
    if (!spares.isEmpty()) {
      throw new IllegalStateException(name + " has a spare already");
    }
    spares =
        List.copyOf(
            namespace.within(() -> TapQueues.make(THROW_AWAY, 0, queues.size(), name + " spare")));
    joined = false;
    throwAway = true;
    return spares;
  }

  /// A queue of a tap that nobody else uses, for a hypervisor that is only tried out; the caller
  /// owns it, and gives it to [#deleteThrowAway] at last. The tap is in the network namespace of
  /// the calling thread.
  ///
  /// @param label what errors call it
  /// @throws LinuxException without the right (`EPERM`) or without taps (`ENOENT`)
  public static Fd throwAway(String label) {
    return TapQueues.make(THROW_AWAY, 0, 1, label).getFirst();
  }

  /// Deletes the tap of [#throwAway], in the same network namespace, and closes the queue: whoever
  /// was given it may have passed it on.
  public static void deleteThrowAway(Fd queue) {
    try (queue) {
      TapQueues.deleteIfThere(queue);
    }
  }

  /// Why no hypervisor that waits can have queues of this port, or nothing when one can. Only asks.
  ///
  /// A hypervisor with several queues detaches and attaches them itself, and ends when that fails:
  /// nobody else must have done it. So such a port is switched by eBPF or not at all.
  public Optional<String> refusesQueues() {
    if (queues.size() > 1 && steering.isEmpty()) {
      return Optional.of(
          name
              + " has "
              + queues.size()
              + " queues, and this host does not let the daemon use eBPF to choose among them");
    }
    try {
      return TapQueues.has(queue(), Constants.IFF_MULTI_QUEUE)
          ? Optional.empty()
          : Optional.of(name + " was made for a single queue");
    } catch (LinuxException refused) {
      // EBADFD: the device was deleted under its queues.
      return Optional.of(name + " is no device any more: " + refused.getMessage());
    }
  }

  /// Makes the spare a queue of this port that gets no packets yet. Its hypervisor must have set it
  /// up. Takes up to some ten milliseconds, in which the port works.
  ///
  /// @throws IllegalStateException when there is none
  public void joinSpare() {
    if (steering.isPresent()) {
      if (queues.size() > 1) {
        steering.get().choose(0);
        steers = true;
        if (!TapQueues.steer(queue(), steering.get())) {
          throw LinuxException.of("ioctl TUNSETSTEERINGEBPF", name, Constants.EPERM);
        }
      }
      join();
    }
  }

  private void join() {
    if (spares.isEmpty()) {
      throw new IllegalStateException(name + " has no spare");
    }
    if (!joined) {
      List<Fd> idle = spares.stream().filter(TapQueues::isDetached).toList();
      namespace.within(() -> {
        TapQueues.delete(spares.getFirst());
        return true;
      });
      throwAway = false;
      for (Fd spare : spares) {
        TapQueues.attach(spare, name, 0);
        if (idle.contains(spare)) {
          TapQueues.set(spare, Constants.IFF_DETACH_QUEUE);
        }
      }
      joined = true;
    }
  }

  /// The queues of the hypervisor that runs the guest, without those that its guest does not use.
  private List<Fd> attached() {
    return queues.stream().filter(queue -> !TapQueues.isDetached(queue)).toList();
  }

  /// From now on the spare gets every packet for the guest. With [#steered] this is one system
  /// call, or some for each queue of several, and allocates nothing once compiled.
  public void switchToSpare() {
    if (steering.isPresent()) {
      // The guest may have taken queues into use or given them up since the spare joined.
      steering.get().choose(queues.size() > 1 ? seats.behind(queues, spares) : 1);
    } else {
      join();
      for (Fd queue : attached()) {
        TapQueues.set(queue, Constants.IFF_DETACH_QUEUE);
        detached.add(queue);
      }
    }
  }

  /// Undoes [#switchToSpare].
  public void switchBack() {
    if (steering.isPresent()) {
      steering.get().choose(0);
    } else {
      detached.forEach(queue -> TapQueues.set(queue, Constants.IFF_ATTACH_QUEUE));
      detached.clear();
    }
  }

  /// After a switch that holds: the spare is the queue, and the old one is closed. The old
  /// hypervisor must have ended.
  public void keepSpare() {
    queues.forEach(Fd::close);
    queues = spares;
    spares = List.of();
    joined = false;
    detached.clear();
    if (queues.size() > 1) {
      spreadAgain();
    } else {
      // The kernel moved the last queue to the place of the one that was closed.
      steering.ifPresent(choice -> choice.choose(0));
    }
  }

  /// Closes the spare, if there is one. Its hypervisor must have ended.
  public void dropSpare() {
    try {
      deleteThrowAway();
    } finally {
      forgetSpares();
    }
  }

  private void forgetSpares() {
    spares.forEach(Fd::close);
    spares = List.of();
    joined = false;
    spreadAgain();
  }

  /// Also when the spare could not join.
  private void spreadAgain() {
    if (steers) {
      TapQueues.spread(queue());
      steers = false;
    }
  }

  /// Whether an eBPF program chooses the queue, so that a switch loses no packet.
  public boolean steered() {
    return steering.isPresent();
  }

  /// Sets the interface to work (`IFF_UP`).
  public void up() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = TapQueues.request(arena, name);
      TapQueues.ioctl(control, "SIOCGIFFLAGS", Constants.SIOCGIFFLAGS, request, name);
      Ifreq.ifr_flags.set(request, Ifreq.ifr_flags.get(request) | Constants.IFF_UP);
      TapQueues.ioctl(control, "SIOCSIFFLAGS", Constants.SIOCSIFFLAGS, request, name);
    }
  }

  /// Whether the interface is set to work.
  public boolean isUp() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = TapQueues.request(arena, name);
      TapQueues.ioctl(control, "SIOCGIFFLAGS", Constants.SIOCGIFFLAGS, request, name);
      return (Ifreq.ifr_flags.get(request) & Constants.IFF_UP) != 0;
    }
  }

  /// Makes the interface a port of a bridge of its namespace.
  ///
  /// @throws LinuxException when there is no such bridge (`ENODEV`) or the tap is in one (`EBUSY`)
  public void addToBridge(String bridge) {
    requireName(bridge);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment own = TapQueues.request(arena, name);
      TapQueues.ioctl(control, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, own, name);
      MemorySegment request = TapQueues.request(arena, bridge);
      Ifreq.ifr_ifindex.set(request, Ifreq.ifr_ifindex.get(own));
      TapQueues.ioctl(
          control, "SIOCBRADDIF", Constants.SIOCBRADDIF, request, name + " to " + bridge);
    }
  }

  /// Sets the largest packet, in bytes without the Ethernet header: 68 to 65521.
  public void mtu(int bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = TapQueues.request(arena, name);
      Ifreq.ifr_mtu.set(request, bytes);
      TapQueues.ioctl(control, "SIOCSIFMTU", Constants.SIOCSIFMTU, request, name + " " + bytes);
    }
  }

  /// What [#mtu] would set for a network interface of that name in the network namespace of the
  /// calling thread; empty when there is none.
  public static OptionalInt mtuOf(String name) {
    requireName(name);
    try (Arena arena = Arena.ofConfined();
        Fd socket = TapQueues.socket(name)) {
      MemorySegment request = TapQueues.request(arena, name);
      TapQueues.ioctl(socket, "SIOCGIFMTU", Constants.SIOCGIFMTU, request, name);
      return OptionalInt.of(Ifreq.ifr_mtu.get(request));
    } catch (LinuxException refused) {
      if (refused.errno() == Constants.ENODEV) {
        return OptionalInt.empty();
      }
      throw refused;
    }
  }

  /// Deletes the interface, whoever else holds a queue of it or has made it outlive them, and
  /// closes the queues. For a port of [#create] whose guest has ended: a hypervisor may have passed
  /// a queue on to another process.
  public void delete() {
    try {
      deleteThrowAway();
      delete(queue());
    } finally {
      close();
    }
  }

  private void deleteThrowAway() {
    if (throwAway) {
      throwAway = false;
      delete(spares.getFirst());
    }
  }

  private void delete(Fd queue) {
    namespace.within(() -> {
      TapQueues.deleteIfThere(queue);
      return true;
    });
  }

  /// Closes the queues; the interface is gone when no hypervisor holds one either.
  @Override
  public void close() {
    spares.forEach(Fd::close);
    queues.forEach(Fd::close);
    control.close();
    namespace.close();
    steering.ifPresent(QueueSteering::close);
  }

  private static void requireName(String name) {
    if (name.length() >= Constants.IFNAMSIZ || !NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "\"%s\" cannot name a network interface: use 1 to %d letters, digits, '_', '.' or '-'"
              .formatted(name, Constants.IFNAMSIZ - 1));
    }
  }
}
