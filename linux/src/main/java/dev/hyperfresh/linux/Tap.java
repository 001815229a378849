package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
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
/// in [#switchToSpare], which then detaches the other queue; packets that wait in it are lost.
///
/// ```
/// spare() ─▶ joinSpare() ─▶ switchToSpare() ─▶ keepSpare()
///    │           │                │
///    └───────────┴──▶ dropSpare() ◀── switchBack()
/// ```
///
/// All methods may be called by any thread, one at a time; [#create] and [#spare] in the network
/// namespace of the port. The port lives until the last descriptor of it is closed in every
/// process.
public final class Tap implements AutoCloseable {
  private static final Path DEVICE = Path.of("/dev/net/tun");
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*");
  private static final String THROW_AWAY = "hfwait%d";
  private static final int FLAGS =
      Constants.IFF_TAP | Constants.IFF_NO_PI | Constants.IFF_VNET_HDR | Constants.IFF_MULTI_QUEUE;

  private final String name;
  private final NetworkNamespace namespace;
  private final Fd control;
  private final Optional<QueueSteering> steering;
  private Fd queue;
  private Optional<Fd> spare = Optional.empty();
  private boolean joined;

  private Tap(
      String name,
      Fd queue,
      NetworkNamespace namespace,
      Fd control,
      Optional<QueueSteering> steering) {
    this.name = name;
    this.namespace = namespace;
    this.queue = queue;
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
    return create(name, true);
  }

  static Tap create(String name, boolean mayUseEbpf) {
    requireName(name);
    Fd queue = open(name);
    try {
      attach(queue, name, FLAGS | Constants.IFF_TUN_EXCL);
      return own(name, queue, mayUseEbpf);
    } catch (LinuxException refused) {
      queue.close();
      throw refused;
    }
  }

  /// Takes ownership of the surviving queue of a tap whose owner has died. When this throws, the
  /// descriptor still belongs to the caller.
  ///
  /// Call it in the namespace of the tap, and only when no other process holds another queue of it.
  ///
  /// @throws LinuxException when the descriptor is not a queue of a tap
  public static Tap adopt(Fd survivor) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      ioctl(survivor, "TUNGETIFF", Constants.TUNGETIFF, request, survivor.label());
      return own(Ifreq.ifr_name.in(request).getString(0), survivor, true);
    }
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
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      ioctl(queue, "TUNGETIFF", Constants.TUNGETIFF, request, queue.label());
      String name = Ifreq.ifr_name.in(request).getString(0);
      boolean extensible = (Ifreq.ifr_flags.get(request) & FLAGS) == FLAGS;
      try (Fd socket = control(name)) {
        ioctl(socket, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, request, name);
        OptionalInt bridge = Links.bridge(Ifreq.ifr_ifindex.get(request), name);
        if (bridge.isEmpty()) {
          return new Facts(name, extensible, Optional.empty());
        }
        Ifreq.ifr_ifindex.set(request, bridge.getAsInt());
        ioctl(socket, "SIOCGIFNAME", Constants.SIOCGIFNAME, request, name);
        return new Facts(name, extensible, Optional.of(Ifreq.ifr_name.in(request).getString(0)));
      }
    }
  }

  private static Tap own(String name, Fd queue, boolean mayUseEbpf) {
    Optional<QueueSteering> steering = mayUseEbpf ? steering(queue) : Optional.empty();
    try {
      NetworkNamespace namespace = NetworkNamespace.ofThisThread();
      return new Tap(name, queue, namespace, control(name), steering);
    } catch (LinuxException refused) {
      steering.ifPresent(QueueSteering::close);
      throw refused;
    }
  }

  // Bound to the namespace of the tap, whichever thread asks later.
  private static Fd control(String name) {
    int socket =
        SocketCalls.socket(Constants.AF_INET, Constants.SOCK_DGRAM | Constants.SOCK_CLOEXEC);
    return Fd.adopt(check(socket, "socket AF_INET", name), name + " control");
  }

  private static Optional<QueueSteering> steering(Fd queue) {
    try {
      QueueSteering steering = QueueSteering.load();
      if (steer(queue, steering)) {
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

  /// The queue of the hypervisor that runs the guest; this object keeps owning it.
  public Fd queue() {
    return queue;
  }

  /// A descriptor for a hypervisor that waits; this object keeps owning it.
  ///
  /// @throws IllegalStateException when there is one already
  public Fd spare() {
    if (spare.isPresent()) {
      throw new IllegalStateException(name + " has a spare queue already");
    }
    Fd made = namespace.within(() -> throwAway(name + " spare"));
    spare = Optional.of(made);
    joined = false;
    return made;
  }

  /// A queue of a tap that nobody else uses, for a hypervisor that is only tried out; the caller
  /// owns it. The tap is in the network namespace of the calling thread, and is gone when the last
  /// descriptor of it is closed.
  ///
  /// @param label what errors call it
  /// @throws LinuxException without the right (`EPERM`) or without taps (`ENOENT`)
  public static Fd throwAway(String label) {
    Fd made = open(label);
    try {
      attach(made, THROW_AWAY, FLAGS);
      return made;
    } catch (LinuxException refused) {
      made.close();
      throw refused;
    }
  }

  /// Why no second queue can be attached to this port, or nothing when one can. Only asks.
  public Optional<String> refusesQueues() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      ioctl(queue, "TUNGETIFF", Constants.TUNGETIFF, request, queue.label());
      return (Ifreq.ifr_flags.get(request) & Constants.IFF_MULTI_QUEUE) == 0
          ? Optional.of(name + " was made for a single queue")
          : Optional.empty();
    } catch (LinuxException refused) {
      // EBADFD: the device was deleted under its queues.
      return Optional.of(name + " is no device any more: " + refused.getMessage());
    }
  }

  /// Makes the spare a queue of this port that gets no packets yet. Its hypervisor must have set it
  /// up. Takes up to some ten milliseconds, in which the port works.
  public void joinSpare() {
    if (steering.isPresent()) {
      join(spare.orElseThrow());
    }
  }

  private void join(Fd waiting) {
    if (!joined) {
      namespace.within(() -> removeDevice(waiting));
      attach(waiting, name, FLAGS);
      joined = true;
    }
  }

  /// From now on the spare gets every packet for the guest. With [#steered] this is one system call
  /// that, once compiled, allocates nothing.
  public void switchToSpare() {
    if (steering.isPresent()) {
      steering.get().choose(1);
    } else {
      join(spare.orElseThrow());
      setQueue(queue, Constants.IFF_DETACH_QUEUE);
    }
  }

  /// Undoes [#switchToSpare].
  public void switchBack() {
    if (steering.isPresent()) {
      steering.get().choose(0);
    } else {
      setQueue(queue, Constants.IFF_ATTACH_QUEUE);
    }
  }

  /// After a switch that holds: the spare is the queue, and the old one is closed. The old
  /// hypervisor must have ended.
  public void keepSpare() {
    queue.close();
    queue = spare.orElseThrow();
    spare = Optional.empty();
    // The kernel moved the last queue to the place of the one that was closed.
    steering.ifPresent(choice -> choice.choose(0));
  }

  /// Closes the spare, if there is one. Its hypervisor must have ended.
  public void dropSpare() {
    spare.ifPresent(Fd::close);
    spare = Optional.empty();
  }

  /// Whether an eBPF program chooses the queue, so that a switch loses no packet.
  public boolean steered() {
    return steering.isPresent();
  }

  /// Sets the interface to work (`IFF_UP`).
  public void up() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena, name);
      ioctl(control, "SIOCGIFFLAGS", Constants.SIOCGIFFLAGS, request, name);
      Ifreq.ifr_flags.set(request, Ifreq.ifr_flags.get(request) | Constants.IFF_UP);
      ioctl(control, "SIOCSIFFLAGS", Constants.SIOCSIFFLAGS, request, name);
    }
  }

  /// Makes the interface a port of a bridge of its namespace.
  ///
  /// @throws LinuxException when there is no such bridge (`ENODEV`) or the tap is in one (`EBUSY`)
  public void addToBridge(String bridge) {
    requireName(bridge);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment own = request(arena, name);
      ioctl(control, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, own, name);
      MemorySegment request = request(arena, bridge);
      Ifreq.ifr_ifindex.set(request, Ifreq.ifr_ifindex.get(own));
      ioctl(control, "SIOCBRADDIF", Constants.SIOCBRADDIF, request, name + " to " + bridge);
    }
  }

  /// Sets the largest packet, in bytes without the Ethernet header: 68 to 65521.
  public void mtu(int bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena, name);
      Ifreq.ifr_mtu.set(request, bytes);
      ioctl(control, "SIOCSIFMTU", Constants.SIOCSIFMTU, request, name + " " + bytes);
    }
  }

  /// Closes the queues; the interface is gone when no hypervisor holds one either.
  @Override
  public void close() {
    dropSpare();
    queue.close();
    control.close();
    namespace.close();
    steering.ifPresent(QueueSteering::close);
  }

  private static Fd open(String label) {
    return Fd.open(DEVICE, OpenFlags.READ_WRITE, label);
  }

  private static void attach(Fd queue, String name, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena, name);
      Ifreq.ifr_flags.set(request, flags);
      ioctl(queue, "TUNSETIFF", Constants.TUNSETIFF, request, name);
    }
  }

  private static void setQueue(Fd queue, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      Ifreq.ifr_flags.set(request, flags);
      ioctl(queue, "TUNSETQUEUE", Constants.TUNSETQUEUE, request, queue.label());
    }
  }

  /// Deletes the device that `queue` belongs to. The kernel then takes the open descriptor as one
  /// that was never attached, so that it can be attached elsewhere; no other call detaches it.
  private boolean removeDevice(Fd queue) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      ioctl(queue, "TUNGETIFF", Constants.TUNGETIFF, request, queue.label());
      ioctl(control, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, request, queue.label());
      Links.delete(Ifreq.ifr_ifindex.get(request), queue.label());
      return true;
    }
  }

  // An old kernel has eBPF but a tap that cannot be steered by it.
  private static boolean steer(Fd queue, QueueSteering steering) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment program = arena.allocateFrom(JAVA_INT, steering.program().number());
      int done = DeviceCalls.ioctl(queue.number(), Constants.TUNSETSTEERINGEBPF, program);
      if (done == -Constants.EINVAL || done == -Constants.ENOTTY || done == -Constants.EPERM) {
        return false;
      }
      check(done, "ioctl TUNSETSTEERINGEBPF", queue.label());
      return true;
    }
  }

  private static void ioctl(
      Fd fd, String call, long request, MemorySegment argument, String object) {
    int held = fd.acquire();
    try {
      check(DeviceCalls.ioctl(held, request, argument), "ioctl " + call, object);
    } finally {
      fd.release();
    }
  }

  private static MemorySegment request(Arena arena, String name) {
    MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    byte[] bytes = name.getBytes(StandardCharsets.US_ASCII);
    Ifreq.ifr_name.in(request).copyFrom(MemorySegment.ofArray(bytes));
    return request;
  }

  private static void requireName(String name) {
    if (name.length() >= Constants.IFNAMSIZ || !NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "\"%s\" cannot name a network interface: use 1 to %d letters, digits, '_', '.' or '-'"
              .formatted(name, Constants.IFNAMSIZ - 1));
    }
  }
}
