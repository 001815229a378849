package dev.hyperfresh.hyperplexor;

import java.util.Locale;

/// Why a guest is started.
public enum StartReason {
  /// Somebody asked for it.
  REQUEST,
  /// The host has booted, and the guest is to be started then.
  AUTOSTART,
  /// Its hypervisor ended, and its policy is to start it again.
  ON_CRASH,
  /// It powered itself off, and its policy is to start it again.
  ON_POWEROFF,
  /// It ended while no daemon ran, and its policy is to start it again however it ended.
  UNSEEN_END;

  /// The word in events and logs.
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /// Whether nobody asked for it.
  boolean isAutomatic() {
    return this != REQUEST;
  }
}
