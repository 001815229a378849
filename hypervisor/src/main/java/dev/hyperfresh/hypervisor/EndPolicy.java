package dev.hyperfresh.hypervisor;

import java.util.Locale;

/// What becomes of a guest that comes to its end by itself. One that somebody stopped stays
/// stopped.
///
/// @param onCrash when its hypervisor ended and the guest had not asked for that
/// @param onReboot when the guest resets itself: it boots again where it is, or it is stopped
/// @param onPoweroff when the guest powered itself off
public record EndPolicy(Then onCrash, Then onReboot, Then onPoweroff) {
  /// What a machine does: it boots again after a reset, and is off otherwise.
  public static final EndPolicy DEFAULT = new EndPolicy(Then.STOP, Then.RESTART, Then.STOP);

  /// What is done then.
  public enum Then {
    /// It is stopped until somebody starts it.
    STOP,
    /// It boots again.
    RESTART;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// Whether a reset of the guest ends its hypervisor.
  public boolean endsAtReboot() {
    return onReboot == Then.STOP;
  }
}
