package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// Under which number a process of QEMU finds each of its descriptors. The next daemon takes them
/// back by these numbers, so they are the same for every release and stay the same.
final class Descriptors {
  /// Of the guest's UEFI firmware, and of its variables.
  static final int FIRMWARE = 5;

  static final int VARIABLES = 6;

  /// Of the [LentFolder], of instances that run as another user or of a guest that was borrowed.
  static final int LENT = 7;

  /// Of the control channel of the guest's TPM, if it has one.
  static final int TPM = 8;

  /// Of the channel to the agent in the guest, if it has one.
  static final int AGENT = 9;

  /// The first file of the guest's memory, and for most guests the only one.
  static final int MEMORY = 10;

  static final int QMP = 11;
  static final int CONSOLE = 12;

  /// The first queue of the first card.
  static final int FIRST_NIC = 13;

  /// How many queues have numbers from [#FIRST_NIC] on, and where the others begin.
  private static final int FIRST_QUEUES = 8;

  private static final int MORE_QUEUES = 400;

  /// How many queues all cards of a guest may have together.
  static final int MOST_QUEUES = 48;

  static final int CONSOLE_LOG = 21;
  static final int KERNEL = 22;
  static final int INITRD = 23;

  /// The first image of the first disk; every image of every disk has the next number.
  static final int FIRST_IMAGE = 24;

  /// The second file of the guest's memory; the others follow.
  private static final int MORE_MEMORY = 500;

  /// How many files a guest's memory may be at most: with the most queues, no more descriptors than
  /// go from one daemon to the next in one message.
  static final int MOST_MEMORIES = 8;

  /// The kernel's vhost for the first queue; those for the others follow.
  private static final int VHOST = 700;

  /// The socket of the first monitor of a guest that was borrowed; the others follow.
  private static final int MONITORS = 600;

  /// How many monitors a guest that was borrowed may have.
  static final int MOST_MONITORS = 8;

  private Descriptors() {}

  /// The number of the socket of a monitor, of which the first is 0.
  static int monitor(int index) {
    return MONITORS + index;
  }

  /// The number of a queue; those of all cards are counted through, from 0 on.
  static int queue(int index) {
    return index < FIRST_QUEUES ? FIRST_NIC + index : MORE_QUEUES + index - FIRST_QUEUES;
  }

  /// The number of the kernel's vhost for a queue, which are counted likewise.
  static int vhost(int index) {
    return VHOST + index;
  }

  /// The number of a file of the guest's memory, of which the first is 0.
  static int memory(int index) {
    return index == 0 ? MEMORY : MORE_MEMORY + index - 1;
  }

  /// Under its number, each file of a guest's memory and each queue of its cards.
  static Map<Integer, Fd> of(Launch launch) {
    Map<Integer, Fd> descriptors = new HashMap<>();
    List<Fd> memory = launch.memory().descriptors();
    for (int i = 0; i < memory.size(); i++) {
      descriptors.put(memory(i), memory.get(i));
    }
    for (int i = 0; i < launch.nicQueues().size(); i++) {
      descriptors.put(queue(i), launch.nicQueues().get(i));
    }
    return descriptors;
  }

  /// The path by which QEMU opens a descriptor as its set of that number: it then duplicates the
  /// descriptor instead of opening anything.
  static String inSet(int number) {
    return "/dev/fdset/" + number;
  }

  /// The path by which anything else opens the file of a descriptor anew.
  static String own(int number) {
    return "/proc/self/fd/" + number;
  }
}
