package dev.hyperfresh.linux;

/// A system call failed. The message names the call, its object and the error: `mmap guest-ram 1
/// GiB: ENOMEM (12)`. A call that this host does not have is a [MissingCallException].
public sealed class LinuxException extends RuntimeException permits MissingCallException {
  private static final long serialVersionUID = 1L;

  private final String call;
  private final String object;
  private final int errno;

  LinuxException(String message, String call, String object, int errno) {
    super(message);
    this.call = call;
    this.object = object;
    this.errno = errno;
  }

  /// The failure of a call with this error number.
  static LinuxException of(String call, String object, int errno) {
    return errno == Constants.ENOSYS
        ? MissingCallException.inKernel(call, object)
        : new LinuxException(
            call + " " + object + ": " + Errno.name(errno) + " (" + errno + ")",
            call,
            object,
            errno);
  }

  /// The name of the C function, such as `mmap`; an ioctl adds its request, as `ioctl TUNSETIFF`.
  public String call() {
    return call;
  }

  /// What the call was about, such as a path or the label of a descriptor.
  public String object() {
    return object;
  }

  /// The error number, positive.
  public int errno() {
    return errno;
  }

  /// The name of the error number in `errno.h`, such as `ENOMEM`.
  public String errnoName() {
    return Errno.name(errno);
  }

  /// Passes a result on, or throws when it is `-errno`.
  static int check(int result, String call, String object) {
    if (result < 0) {
      throw of(call, object, -result);
    }
    return result;
  }

  /// Passes a result on, or throws when it is `-errno`.
  static long check(long result, String call, String object) {
    if (result < 0) {
      throw of(call, object, (int) -result);
    }
    return result;
  }
}
