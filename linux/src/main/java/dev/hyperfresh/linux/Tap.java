package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Pattern;

/// A network port of a guest: a tap with two queues that stay attached for its whole life, so that
/// two hypervisors can hold one each. Every packet for the guest goes to the active queue; packets
/// from the guest are taken from either.
///
/// Where the kernel does not allow eBPF the tap has one queue, both numbers are descriptors of it,
/// and whoever reads first gets the packet: then only one hypervisor may read at a time.
///
/// All methods may be called by any thread. The port lives until the last descriptor of it is
/// closed in every process.
public final class Tap implements AutoCloseable {
  private static final Path DEVICE = Path.of("/dev/net/tun");
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*");
  private static final int ONE_QUEUE =
      Constants.IFF_TAP | Constants.IFF_NO_PI | Constants.IFF_VNET_HDR;
  private static final int TWO_QUEUES = ONE_QUEUE | Constants.IFF_MULTI_QUEUE;

  private final String name;
  private final Fd queue0;
  private final Fd queue1;
  private final Fd control;
  private final Optional<QueueSteering> steering;
  private volatile int active;

  private Tap(String name, Fd queue0, Fd queue1, Fd control, Optional<QueueSteering> steering) {
    this.name = name;
    this.queue0 = queue0;
    this.queue1 = queue1;
    this.control = control;
    this.steering = steering;
  }

  /// Makes a tap in the network namespace of the calling thread. Queue 0 is active.
  ///
  /// @param name 1 to 15 letters, digits, `_`, `.` or `-`
  /// @throws IllegalArgumentException when the name is not one
  /// @throws LinuxException when a network interface has that name (`EBUSY`) or without the right
  ///   (`EPERM`)
  public static Tap create(String name) {
    requireName(name);
    try (Owned owned = new Owned()) {
      Optional<QueueSteering> steering = owned.steering();
      if (steering.isPresent()) {
        Fd first = owned.add(attach(name, TWO_QUEUES | Constants.IFF_TUN_EXCL, 0));
        if (steer(first, steering.get())) {
          return owned.handOver(name, first, attach(name, TWO_QUEUES, 1), steering);
        }
        owned.drop();
      }
      return createWithOneQueue(name);
    }
  }

  /// What [#create] falls back to without eBPF.
  static Tap createWithOneQueue(String name) {
    try (Owned owned = new Owned()) {
      Fd only = owned.add(attach(name, ONE_QUEUE | Constants.IFF_TUN_EXCL, 0));
      return owned.handOver(name, only, only.duplicate(), Optional.empty());
    }
  }

  /// Takes ownership of the surviving queue of a tap whose owner has died, and attaches the missing
  /// one anew. The survivor becomes queue 0 and active, without losing a packet. When this throws,
  /// the descriptor still belongs to the caller.
  ///
  /// Call it in the namespace of the tap, and only when no other process holds another queue of it;
  /// otherwise the numbers of the queues are not what this object thinks.
  ///
  /// @throws LinuxException when the descriptor is not a queue of a tap
  public static Tap adopt(Fd survivor) {
    try (Arena arena = Arena.ofConfined();
        Owned owned = new Owned()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      ioctl(survivor, "TUNGETIFF", Constants.TUNGETIFF, request, survivor.label());
      String name = Ifreq.ifr_name.in(request).getString(0);
      if ((Ifreq.ifr_flags.get(request) & Constants.IFF_MULTI_QUEUE) == 0) {
        return owned.handOver(name, survivor, survivor.duplicate(), Optional.empty());
      }
      Optional<QueueSteering> steering = owned.steering();
      if (steering.isEmpty() || !steer(survivor, steering.get())) {
        return owned.handOver(name, survivor, survivor.duplicate(), Optional.empty());
      }
      return owned.handOver(name, survivor, attach(name, TWO_QUEUES, 1), steering);
    }
  }

  /// The name of the network interface.
  public String name() {
    return name;
  }

  /// A queue to hand to a hypervisor; this object keeps owning it.
  ///
  /// @param index 0 or 1
  public Fd queue(int index) {
    return requireIndex(index) == 0 ? queue0 : queue1;
  }

  /// The queue that gets the packets for the guest, 0 or 1.
  public int activeQueue() {
    return active;
  }

  /// Makes a queue the one that gets every packet from now on. Packets that wait in the other queue
  /// stay there. One system call that, once compiled, allocates nothing; it does nothing but
  /// remember when the tap is not [#steered].
  ///
  /// @param index 0 or 1
  public synchronized void activate(int index) {
    requireIndex(index);
    if (steering.isPresent()) {
      steering.get().choose(index);
    }
    active = index;
  }

  /// Whether there are two queues and [#activate] chooses between them.
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

  /// Closes both queues; the interface is gone when no hypervisor holds one either.
  @Override
  public void close() {
    queue0.close();
    queue1.close();
    control.close();
    steering.ifPresent(QueueSteering::close);
  }

  /// What a tap under construction owns, closed in one place when construction fails.
  private static final class Owned implements AutoCloseable {
    private Optional<Fd> queue = Optional.empty();
    private Optional<QueueSteering> steering = Optional.empty();

    Fd add(Fd first) {
      queue = Optional.of(first);
      return first;
    }

    Optional<QueueSteering> steering() {
      try {
        steering = Optional.of(QueueSteering.load());
      } catch (LinuxException refused) {
        if (!QueueSteering.unavailable(refused)) {
          throw refused;
        }
      }
      return steering;
    }

    Tap handOver(String name, Fd first, Fd second, Optional<QueueSteering> used) {
      try {
        int socket =
            SocketCalls.socket(Constants.AF_INET, Constants.SOCK_DGRAM | Constants.SOCK_CLOEXEC);
        // Bound to the namespace of the tap, whichever thread asks later.
        Fd control = Fd.adopt(check(socket, "socket AF_INET", name), name + " control");
        Tap tap = new Tap(name, first, second, control, used);
        queue = Optional.empty();
        if (used.isPresent()) {
          steering = Optional.empty();
        }
        return tap;
      } catch (LinuxException refused) {
        second.close();
        throw refused;
      }
    }

    @Override
    public void close() {
      drop();
    }

    void drop() {
      queue.ifPresent(Fd::close);
      steering.ifPresent(QueueSteering::close);
      queue = Optional.empty();
      steering = Optional.empty();
    }
  }

  private static Fd attach(String name, int flags, int index) {
    Fd queue = Fd.open(DEVICE, OpenFlags.READ_WRITE, name + " queue " + index);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena, name);
      Ifreq.ifr_flags.set(request, flags);
      ioctl(queue, "TUNSETIFF", Constants.TUNSETIFF, request, name);
      return queue;
    } catch (LinuxException refused) {
      queue.close();
      throw refused;
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

  private static int requireIndex(int index) {
    if (index != 0 && index != 1) {
      throw new IllegalArgumentException("a tap has the queues 0 and 1, not " + index);
    }
    return index;
  }
}
