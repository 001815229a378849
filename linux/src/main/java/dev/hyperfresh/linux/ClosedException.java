package dev.hyperfresh.linux;

/// A descriptor was used after its owner had closed it. Where several threads share one, that is
/// how a thread learns that another has ended what both were at; it is not a failure of a call, so
/// it is no [LinuxException].
public final class ClosedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /// @param label what errors call the descriptor
  ClosedException(String label) {
    super(label + " is closed");
  }
}
