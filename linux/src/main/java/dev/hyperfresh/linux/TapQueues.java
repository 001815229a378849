package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// What the kernel is told and asked of the queues of taps, and of network interfaces, by ioctl(2).
final class TapQueues {
  private static final Path DEVICE = Path.of("/dev/net/tun");

  /// What every queue of [Tap] has.
  static final int FLAGS =
      Constants.IFF_TAP | Constants.IFF_NO_PI | Constants.IFF_VNET_HDR | Constants.IFF_MULTI_QUEUE;

  private TapQueues() {}

  /// New queues of one device, in the network namespace of the calling thread.
  ///
  /// @param device its name; the kernel puts a number in the place of `%d`
  /// @param more flags for the first queue, which makes the device
  /// @param label what errors call them
  static List<Fd> make(String device, int more, int count, String label) {
    List<Fd> made = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        Fd queue = Fd.open(DEVICE, OpenFlags.READ_WRITE, label);
        made.add(queue);
        attach(queue, i == 0 ? device : device(made.getFirst()), i == 0 ? more : 0);
      }
      return made;
    } catch (LinuxException refused) {
      made.forEach(Fd::close);
      throw refused;
    }
  }

  /// Makes a descriptor that is of no device a queue of one.
  static void attach(Fd queue, String device, int more) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena, device);
      Ifreq.ifr_flags.set(request, FLAGS | more);
      ioctl(queue, "TUNSETIFF", Constants.TUNSETIFF, request, device);
    }
  }

  /// Attaches or detaches a queue of a device. A detached one stays the device's and gets no
  /// packets.
  static void set(Fd queue, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
      Ifreq.ifr_flags.set(request, flags);
      ioctl(queue, "TUNSETQUEUE", Constants.TUNSETQUEUE, request, queue.label());
    }
  }

  /// As [#set], by a request that was made before.
  static void order(Fd queue, MemorySegment request) {
    int held = queue.acquire();
    try {
      check(
          DeviceCalls.ioctl(held, Constants.TUNSETQUEUE, request),
          "ioctl TUNSETQUEUE",
          queue.label());
    } finally {
      queue.release();
    }
  }

  /// As [#ask(Fd, Arena)], into a request that was made before.
  static void ask(Fd queue, MemorySegment request) {
    int held = queue.acquire();
    try {
      check(
          DeviceCalls.ioctl(held, Constants.TUNGETIFF, request), "ioctl TUNGETIFF", queue.label());
    } finally {
      queue.release();
    }
  }

  /// The name of the device of a queue.
  static String device(Fd queue) {
    try (Arena arena = Arena.ofConfined()) {
      return Ifreq.ifr_name.in(ask(queue, arena)).getString(0);
    }
  }

  /// A device is found by its name, which one of another network namespace may have as well:
  /// whoever has a namespace of its own can make a tap there of any name.
  ///
  /// @throws LinuxException with `EXDEV` when the device is not in the namespace of the calling
  ///   thread
  static void requireHere(Fd queue) {
    int held = queue.acquire();
    try {
      int its = DeviceCalls.ioctl(held, Constants.TUNGETDEVNETNS, MemorySegment.NULL);
      check(its, "ioctl TUNGETDEVNETNS", queue.label());
      try (NetworkNamespace namespace = new NetworkNamespace(Fd.adopt(its, queue.label()))) {
        if (!namespace.isMine()) {
          throw LinuxException.of(
              "ioctl TUNGETDEVNETNS",
              queue.label() + ", whose tap is in another network namespace",
              Constants.EXDEV);
        }
      }
    } finally {
      queue.release();
    }
  }

  /// Deletes the device that `queue` belongs to, whoever else holds a queue of it, in the network
  /// namespace of the calling thread. The kernel then takes the open descriptors as some that were
  /// never attached, so that they can be attached elsewhere; no other call detaches them.
  static void delete(Fd queue) {
    try (Arena arena = Arena.ofConfined();
        Fd socket = socket(queue.label())) {
      MemorySegment request = ask(queue, arena);
      requireHere(queue);
      ioctl(socket, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, request, queue.label());
      Links.delete(Ifreq.ifr_ifindex.get(request), queue.label());
    }
  }

  /// As [#delete], of a device that may be gone already.
  static void deleteIfThere(Fd queue) {
    try {
      delete(queue);
    } catch (LinuxException refused) {
      if (refused.errno() != Constants.EBADFD && refused.errno() != Constants.ENODEV) {
        throw refused;
      }
    }
  }

  /// For requests about network interfaces of the namespace of the calling thread, whichever thread
  /// asks later.
  static Fd socket(String label) {
    int socket =
        SocketCalls.socket(Constants.AF_INET, Constants.SOCK_DGRAM | Constants.SOCK_CLOEXEC);
    return Fd.adopt(check(socket, "socket AF_INET", label), label + " control");
  }

  static boolean isDetached(Fd queue) {
    return has(queue, Constants.IFF_DETACH_QUEUE);
  }

  /// Whether a queue or its device has a flag.
  static boolean has(Fd queue, int flag) {
    try (Arena arena = Arena.ofConfined()) {
      return (Ifreq.ifr_flags.get(ask(queue, arena)) & flag) != 0;
    }
  }

  /// Name and flags of a queue's device.
  static MemorySegment ask(Fd queue, Arena arena) {
    MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    ioctl(queue, "TUNGETIFF", Constants.TUNGETIFF, request, queue.label());
    return request;
  }

  /// Has a program choose for every packet which queue of the device gets it.
  ///
  /// @return false where the kernel is too old: it has eBPF but a tap that cannot be steered by it
  static boolean steer(Fd queue, QueueSteering steering) {
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

  /// No program chooses any more: the kernel spreads the packets over all queues.
  static void spread(Fd queue) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment none = arena.allocateFrom(JAVA_INT, -1);
      ioctl(queue, "TUNSETSTEERINGEBPF", Constants.TUNSETSTEERINGEBPF, none, queue.label());
    }
  }

  static void ioctl(Fd fd, String call, long request, MemorySegment argument, String object) {
    int held = fd.acquire();
    try {
      check(DeviceCalls.ioctl(held, request, argument), "ioctl " + call, object);
    } finally {
      fd.release();
    }
  }

  /// A request about the network interface of that name.
  static MemorySegment request(Arena arena, String name) {
    MemorySegment request = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    byte[] bytes = name.getBytes(StandardCharsets.US_ASCII);
    Ifreq.ifr_name.in(request).copyFrom(MemorySegment.ofArray(bytes));
    return request;
  }
}
