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
