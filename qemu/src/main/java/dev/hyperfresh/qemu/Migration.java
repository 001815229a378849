package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/// QEMU's migration, which hands a guest over, in the words of QMP: how both sides are set up, how
/// they get the channel, and how far one is.
final class Migration {
  /// How long a side may take to say how far it is: it may be asked while its guest stands.
  static final Duration LIMIT = Duration.ofSeconds(2);

  /// QAPI `MigrationStatus`: neither not begun nor over.
  static final List<String> UNDER_WAY =
      List.of("setup", "active", "device", "pre-switchover", "cancelling", "wait-unplug");

  /// Arguments of `migrate-set-capabilities`, on both sides.
  static final Map<String, ?> CAPABILITIES =
      Map.of("capabilities", Qemu.NEEDED_CAPABILITIES.stream().map(Migration::capability).toList());

  /// Far more than any local channel carries: QEMU must never throttle itself.
  static final long MAX_BANDWIDTH = 1L << 40;

  /// Milliseconds; QEMU's own estimate decides when to stop the guest, and with the RAM left out
  /// nothing remains to be estimated.
  private static final long DOWNTIME_LIMIT = 2000;

  /// Arguments of `migrate-set-parameters`, on the source.
  static final Map<String, ?> PARAMETERS =
      Map.of("max-bandwidth", MAX_BANDWIDTH, "downtime-limit", DOWNTIME_LIMIT);

  /// The same as QEMU has them at its start.
  private static final Map<String, ?> DEFAULTS =
      Map.of("max-bandwidth", 128L << 20, "downtime-limit", 300L);

  /// The one of [Qemu#NEEDED_CAPABILITIES] that only hand-overs in one host need.
  private static final String IGNORE_SHARED = "x-ignore-shared";

  /// What QEMU calls the descriptor that the state goes through.
  static final String CHANNEL = "hf-channel";

  private Migration() {}

  private static Map<String, ?> capability(String name) {
    return Map.of("capability", name, "state", true);
  }

  /// Gives QEMU its own copy of the descriptor.
  ///
  /// @return where it finds it, as an argument of `migrate` and `migrate-incoming`
  /// @throws Qmp.QmpException when it refuses or does not answer
  static String give(Qmp qmp, Fd channel) {
    qmp.execute("getfd", Map.of("fdname", CHANNEL), channel);
    return "fd:" + CHANNEL;
  }

  /// Has QEMU close what it was given.
  ///
  /// @throws Qmp.QmpException when it refuses, because a hand-over has closed it, or does not
  ///   answer
  static void forget(Qmp qmp) {
    qmp.execute("closefd", Map.of("fdname", CHANNEL));
  }

  /// Has QEMU forget how it was set up. Whoever manages it next knows nothing of that, and a
  /// migration of theirs would leave the guest's memory behind.
  ///
  /// @throws Qmp.QmpException when it refuses or does not answer
  static void unprepare(MachineIdentity.Respondent qemu) {
    boolean leavesMemory =
        qemu.execute("query-migrate-capabilities", Map.of())
            .valueStream()
            .filter(item -> item.path("capability").asString("").equals(IGNORE_SHARED))
            .anyMatch(item -> item.path("state").asBoolean(false));
    if (leavesMemory) {
      Map<String, ?> off = Map.of("capability", IGNORE_SHARED, "state", false);
      qemu.execute("migrate-set-capabilities", Map.of("capabilities", List.of(off)));
    }
    long bandwidth =
        qemu.execute("query-migrate-parameters", Map.of()).path("max-bandwidth").asLong(0);
    if (bandwidth == MAX_BANDWIDTH) {
      qemu.execute("migrate-set-parameters", DEFAULTS);
    }
  }

  /// How far it is: a QAPI `MigrationStatus`.
  ///
  /// @throws Qmp.QmpException when QEMU does not say within `limit`
  static String status(Qmp qmp, Duration limit) {
    return qmp.execute(limit, "query-migrate", Map.of()).path("status").asString("none");
  }

  /// Sets one side up.
  ///
  /// @param release whose QEMU it is
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#REPLACE_PREPARE]
  static void prepare(String release, Runnable steps) {
    try {
      steps.run();
    } catch (Qmp.QmpException | QemuProcess.TroubleException e) {
      throw Problem.REPLACE_PREPARE.because(release + ": " + e.getMessage(), e);
    }
  }
}
