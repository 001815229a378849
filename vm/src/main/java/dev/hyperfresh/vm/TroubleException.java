package dev.hyperfresh.vm;

import dev.hyperfresh.qemu.QemuProcess;

/// A virtual machine of ours cannot be reached, or does not do what it is asked for; its own words
/// are in the message. What its agent says of a single request is an [AgentException].
///
/// The trouble of a machine is the trouble of every QEMU inside it, so whoever has a [QemuProcess]
/// there need not tell one from the other.
public final class TroubleException extends QemuProcess.TroubleException {
  private static final long serialVersionUID = 1;

  /// With one sentence, without a full stop.
  public TroubleException(String message, Throwable cause) {
    super(message, cause);
  }

  /// With one sentence, without a full stop.
  public TroubleException(String message) {
    super(message);
  }
}
