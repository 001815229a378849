package dev.hyperfresh.host;

import java.util.Locale;

/// One setting of the host that makes a machine's nested guests cheaper, as it was found.
///
/// @param name the stable name, such as `halt-polling`
/// @param purpose one sentence: what it does, and why that matters when guests are nested
/// @param found what the host says, one or two sentences
/// @param action what applying it would do, or what an administrator has to do; empty when nothing
///   needs doing
/// @param settable whether [NestingProfile#apply] can set it here, with the rights of this process
public record Knob(
    String name, String purpose, State state, String found, String action, boolean settable) {
  /// Whether the host is set for nesting in this respect.
  public enum State {
    /// As it should be.
    SET,
    /// The host could, and does not.
    NOT_SET,
    /// The host cannot.
    ABSENT,
    /// The host does not say, or nobody but its administrator can judge it.
    UNKNOWN;

    /// As users read it: `set`, `not set`, `absent`, `unknown`.
    public String word() {
      return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }
  }
}
