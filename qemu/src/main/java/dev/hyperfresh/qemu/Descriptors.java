package dev.hyperfresh.qemu;

/// Under which number a process of QEMU finds each of its descriptors. The next daemon takes them
/// back by these numbers, so they are the same for every release and stay the same.
final class Descriptors {
  /// Of the channel to the agent in the guest, if it has one.
  static final int AGENT = 9;

  static final int MEMORY = 10;
  static final int QMP = 11;
  static final int CONSOLE = 12;

  /// The first of at most 8 cards.
  static final int FIRST_NIC = 13;

  static final int CONSOLE_LOG = 21;
  static final int KERNEL = 22;
  static final int INITRD = 23;

  /// The first image of the first disk; every image of every disk has the next number.
  static final int FIRST_IMAGE = 24;

  private Descriptors() {}

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
