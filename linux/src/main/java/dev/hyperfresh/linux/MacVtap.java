package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// A network port of a guest on a macvtap: an address of its own on a network interface of the
/// host. Somebody else has made it, and it stays when its last queue is closed.
///
/// Each opening of its device makes a queue, and the kernel spreads the packets for the guest over
/// all queues that are attached. So a hypervisor that waits gets a **spare**, which is detached as
/// soon as it is open; what comes in between waits in it. A queue has headers of its own, so the
/// hypervisor may set it up. Only the offloads are those of the whole device: from then on the
/// guest gets its packets in small pieces, until it runs on the spare or sets its card up again.
///
/// The switch attaches the spare and then detaches the old queue, whose packets its hypervisor can
/// still take. Packets from the guest are taken from either.
///
/// ```
/// spares() ─▶ switchToSpare() ─▶ keepSpare()
///    │                │
///    └────────────────┴──▶ switchBack() ─▶ dropSpare()
/// ```
///
/// It has one queue: a hypervisor with several detaches them itself, and ends when somebody else
/// has done it. All methods may be called by any thread, one at a time.
public final class MacVtap implements AutoCloseable {
  private static final Path DEVICES = Path.of("/proc/devices");
  private static final String DRIVER = " macvtap";

  /// An address of Ethernet, behind what says of which kind it is.
  private static final int FAMILY_BYTES = Short.BYTES;

  private static final int OCTETS = 6;

  // linux/stat.h S_IFMT, S_IFCHR
  private static final int KIND = 0170000;
  private static final int CHARACTERS = 0020000;

  private final String name;
  private final String address;

  // Made beforehand, so that a switch allocates nothing once compiled.
  private final MemorySegment attach = order(Constants.IFF_ATTACH_QUEUE);
  private final MemorySegment detach = order(Constants.IFF_DETACH_QUEUE);

  private Queue queue;
  private @Nullable Queue spare;

  /// A queue, and whether it gets packets, which the kernel does not tell.
  private final class Queue {
    private final Fd file;
    private boolean attached = true;

    Queue(Fd file) {
      this.file = file;
    }

    void attach() {
      if (!attached) {
        TapQueues.order(file, attach);
        attached = true;
      }
    }

    void detach() {
      if (attached) {
        TapQueues.order(file, detach);
        attached = false;
      }
    }
  }

  private MacVtap(String name, Fd file) {
    this.name = name;
    this.queue = new Queue(file);
    this.address = address(file, name);
  }

  private static MemorySegment order(int flag) {
    MemorySegment order = Arena.ofAuto().allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    Ifreq.ifr_flags.set(order, flag);
    return order;
  }

  /// Whether a file is the device of a macvtap, or the link in proc(5) to an open queue of one.
  public static boolean isOne(Path file) {
    try {
      if (((int) Files.getAttribute(file, "unix:mode") & KIND) != CHARACTERS) {
        return false;
      }
      String number = ProcessMemory.device((long) Files.getAttribute(file, "unix:rdev"));
      int major = Integer.parseInt(number.substring(0, number.indexOf(':')), 16);
      try (Stream<String> drivers = Files.lines(DEVICES)) {
        return drivers.anyMatch(line -> line.strip().equals(major + DRIVER));
      }
    } catch (IOException unreadable) {
      return false;
    }
  }

  /// The name of the macvtap that `queue` is of.
  ///
  /// @throws LinuxException when it is of none, or of one that is not in the network namespace of
  ///   the calling thread (`EXDEV`)
  public static String name(Fd queue) {
    requireOne(queue);
    String name = TapQueues.device(queue);
    if (!isHere(name, address(queue, name))) {
      throw LinuxException.of(
          "ioctl SIOCGIFHWADDR",
          queue.label() + ", whose macvtap is in another network namespace",
          Constants.EXDEV);
    }
    return name;
  }

  /// An interface of another namespace may have the same name, and hardly the same address.
  private static boolean isHere(String name, String address) {
    try (Fd socket = TapQueues.socket(name)) {
      return address(socket, name).equals(address);
    } catch (LinuxException none) {
      if (none.errno() == Constants.ENODEV) {
        return false;
      }
      throw none;
    }
  }

  /// @param asked a queue, or a socket for the interface of that name here
  private static String address(Fd asked, String name) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = TapQueues.request(arena, name);
      TapQueues.ioctl(asked, "SIOCGIFHWADDR", Constants.SIOCGIFHWADDR, request, name);
      MemorySegment address = Ifreq.ifr_hwaddr.in(request).asSlice(FAMILY_BYTES, OCTETS);
      byte[] octets = address.toArray(ValueLayout.JAVA_BYTE);
      return HexFormat.ofDelimiter(":").formatHex(octets);
    }
  }

  private static void requireOne(Fd queue) {
    if (!isOne(link(queue))) {
      throw LinuxException.of(
          "stat", queue.label() + ", which is no queue of a macvtap", Constants.ENODEV);
    }
  }

  /// By which the file of a descriptor is opened anew.
  private static Path link(Fd queue) {
    return Path.of("/proc/self/fd", Integer.toString(queue.number()));
  }

  /// Opens a macvtap of the network namespace of the calling thread, by its device in `/dev`.
  ///
  /// @throws LinuxException when there is none of that name
  public static MacVtap of(String name) {
    Fd queue = Fd.open(Path.of("/dev", "tap" + index(name)), OpenFlags.READ_WRITE, name);
    try {
      requireOne(queue);
      if (!name(queue).equals(name)) {
        throw LinuxException.of("ioctl TUNGETIFF", name, Constants.ENODEV);
      }
      return new MacVtap(name, queue);
    } catch (LinuxException refused) {
      queue.close();
      throw refused;
    }
  }

  private static int index(String name) {
    try (Arena arena = Arena.ofConfined();
        Fd socket = TapQueues.socket(name)) {
      MemorySegment request = TapQueues.request(arena, name);
      TapQueues.ioctl(socket, "SIOCGIFINDEX", Constants.SIOCGIFINDEX, request, name);
      return Ifreq.ifr_ifindex.get(request);
    }
  }

  /// Takes ownership of the queue of the hypervisor that runs the guest, and has it get the
  /// packets. When this throws, the descriptor still belongs to the caller.
  ///
  /// Call it only when no other process holds another queue of it that is to have them.
  ///
  /// @param name the macvtap that it must be of: whoever held it may have put another file in its
  ///   place
  /// @throws LinuxException when it is not a queue of that macvtap
  public static MacVtap adopt(Fd survivor, String name) {
    requireOne(survivor);
    String device = TapQueues.device(survivor);
    if (!device.equals(name)) {
      throw LinuxException.of(
          "ioctl TUNGETIFF",
          survivor.label() + ", a queue of " + device + " and not of " + name,
          Constants.ENODEV);
    }
    MacVtap port = new MacVtap(name, survivor);
    port.attachSurvivor();
    return port;
  }

  private void attachSurvivor() {
    int held = queue.file.acquire();
    try {
      int done = DeviceCalls.ioctl(held, Constants.TUNSETQUEUE, attach);
      // EINVAL: it is attached, as it is unless a daemon died between two orders.
      if (done != -Constants.EINVAL) {
        check(done, "ioctl TUNSETQUEUE", name);
      }
    } finally {
      queue.file.release();
    }
  }

  /// The name of the network interface.
  public String name() {
    return name;
  }

  /// Its address when it was opened: six octets in lower case. What is for another one does not
  /// come through.
  public String address() {
    return address;
  }

  /// The queue of the hypervisor that runs the guest; this object keeps owning it.
  public Fd queue() {
    return queue.file;
  }

  /// Why no hypervisor that waits can have a queue, or nothing when one can. Only asks.
  public Optional<String> refusesQueues() {
    try {
      TapQueues.device(queue.file);
    } catch (LinuxException gone) {
      return Optional.of(name + " is no device any more: " + gone.getMessage());
    }
    return Files.isReadable(link(queue.file)) && Files.isWritable(link(queue.file))
        ? Optional.empty()
        : Optional.of("the daemon may not open the device of " + name);
  }

  /// A queue for a hypervisor that waits; this object keeps owning it.
  ///
  /// @throws IllegalStateException when there is one already
  /// @throws LinuxException when it cannot be made
  public Fd spare() {
    if (spare != null) {
      throw new IllegalStateException(name + " has a spare already");
    }
    Fd file = Fd.open(link(queue.file), OpenFlags.READ_WRITE, name + " spare");
    try {
      Queue made = new Queue(file);
      made.detach();
      setLikeFirst(file);
      spare = made;
      return file;
    } catch (LinuxException refused) {
      file.close();
      throw refused;
    }
  }

  /// Whether packets have headers may not change under a guest.
  private void setLikeFirst(Fd file) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment flags = TapQueues.ask(queue.file, arena);
      TapQueues.ioctl(file, "TUNSETIFF", Constants.TUNSETIFF, flags, name);
    }
  }

  /// From now on the spare gets every packet for the guest. These are two system calls, which
  /// allocate nothing once compiled.
  ///
  /// @throws IllegalStateException when there is none
  public void switchToSpare() {
    Queue next = spare;
    if (next == null) {
      throw new IllegalStateException(name + " has no spare");
    }
    next.attach();
    queue.detach();
  }

  /// Undoes [#switchToSpare], also one that has failed.
  public void switchBack() {
    queue.attach();
    if (spare != null) {
      spare.detach();
    }
  }

  /// After a switch that holds: the spare is the queue, and the old one is closed. The old
  /// hypervisor must have ended.
  ///
  /// @throws IllegalStateException when there is none
  public void keepSpare() {
    Queue next = spare;
    if (next == null) {
      throw new IllegalStateException(name + " has no spare");
    }
    queue.file.close();
    queue = next;
    spare = null;
  }

  /// Closes the spare, if there is one. Its hypervisor must have ended.
  public void dropSpare() {
    if (spare != null) {
      spare.file.close();
      spare = null;
    }
  }

  /// Closes the queues. The interface stays.
  @Override
  public void close() {
    dropSpare();
    queue.file.close();
  }
}
