package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import java.util.Optional;

/// How it came that no process runs a guest.
enum GuestEnd {
  /// Somebody stopped it.
  REQUEST,
  /// It powered itself off.
  POWER_OFF,
  /// It reset itself, and its policy is to stop then.
  REBOOT,
  /// Its hypervisor ended, and it had not asked for that.
  CRASH,
  /// No daemon was there to see it.
  UNSEEN,
  /// The host ended under it.
  HOST,
  /// It was never started.
  NEW,
  /// Its policy is not to start it again, or has done so too often.
  GIVEN_UP,
  /// It ended while it stood because another hypervisor might have run it. Only a request starts
  /// it.
  DOUBT;

  /// What is added to why a guest has ended that stood in doubt.
  static final String IN_DOUBT =
      " when another hypervisor might have run it, and is not started by itself";

  /// Why it is started again, if its policy says so. An end that nobody saw may have been any, so
  /// that every part of the policy has to agree.
  Optional<StartReason> restart(EndPolicy policy) {
    boolean crash = policy.onCrash() == Then.RESTART;
    boolean powerOff = policy.onPoweroff() == Then.RESTART;
    return switch (this) {
      case POWER_OFF -> Optional.of(StartReason.ON_POWEROFF).filter(_ -> powerOff);
      case CRASH -> Optional.of(StartReason.ON_CRASH).filter(_ -> crash);
      case UNSEEN ->
          Optional.of(StartReason.UNSEEN_END)
              .filter(_ -> crash && powerOff && !policy.endsAtReboot());
      case REQUEST, REBOOT, HOST, NEW, GIVEN_UP, DOUBT -> Optional.empty();
    };
  }

  /// Whether somebody wanted it: whoever stopped the guest, or the guest itself where its policy
  /// leaves it off then. A reset may be that of a system that crashed.
  boolean isWanted(EndPolicy policy) {
    return this == REQUEST || (this == POWER_OFF && policy.onPoweroff() == Then.STOP);
  }

  /// The same end, for a guest whose policy is another one from now on.
  GuestEnd settled() {
    return switch (this) {
      case POWER_OFF, REBOOT, CRASH, UNSEEN, GIVEN_UP -> GIVEN_UP;
      case REQUEST, HOST, NEW, DOUBT -> this;
    };
  }

  /// Whether a boot of the host may be followed by a start.
  boolean startsWithHost() {
    return this != DOUBT;
  }
}
