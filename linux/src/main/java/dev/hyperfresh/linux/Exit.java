package dev.hyperfresh.linux;

import java.util.OptionalInt;

/// How a process ended: by itself with a code, or by a signal. Exactly one of the two is there.
///
/// @param code 0 to 255, where 0 says that all went well
/// @param signal the number of the signal, such as [Signals#KILL]
public record Exit(OptionalInt code, OptionalInt signal) {
  /// Checks that there is one of the two.
  public Exit {
    if (code.isPresent() == signal.isPresent()) {
      throw new IllegalArgumentException("a process ends with a code or by a signal");
    }
  }

  static Exit withCode(int code) {
    return new Exit(OptionalInt.of(code), OptionalInt.empty());
  }

  static Exit bySignal(int signal) {
    return new Exit(OptionalInt.empty(), OptionalInt.of(signal));
  }

  /// A few words for a message: `exit code 1` or `signal 9`.
  public String describe() {
    return code.isPresent() ? "exit code " + code.getAsInt() : "signal " + signal.getAsInt();
  }
}
