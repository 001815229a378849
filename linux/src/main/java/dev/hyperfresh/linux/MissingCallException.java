package dev.hyperfresh.linux;

/// A call that this host does not have: its C library has no such function, or its kernel answered
/// `ENOSYS`. Nothing was done. [SystemCalls#missing] says beforehand which calls those are.
public final class MissingCallException extends LinuxException {
  private static final long serialVersionUID = 1L;

  private MissingCallException(String message, String call, String object) {
    super(message, call, object, Constants.ENOSYS);
  }

  /// The kernel does not know the call, or was built without it.
  static MissingCallException inKernel(String call, String object) {
    return new MissingCallException(
        call + " " + object + ": ENOSYS (38), the kernel of this host has no such call",
        call,
        object);
  }

  /// The C library has no function of this name.
  public static MissingCallException inLibrary(String function) {
    return new MissingCallException(
        function + ": the C library of this host has no such function", function, "the C library");
  }
}
