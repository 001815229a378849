package dev.hyperfresh.testkit;

import java.util.List;
import java.util.Map;

/// How a guest gets from one QEMU to the next on the same host without HyperFresh.
enum RivalWay {
  /// Both map the same memory, as a person with two QEMUs and their manual would do it. No way that
  /// uses these two QEMUs as they are can do with less.
  BY_HAND("two QEMUs by hand, memory shared", Route.PIPE, "x-ignore-shared"),

  /// QEMU's migration as it is if nothing is set.
  PRE_COPY("QEMU's migration, as found", Route.PIPE, ""),

  /// The same without its cap on bandwidth.
  PRE_COPY_NO_CAP("QEMU's migration, no cap", Route.PIPE, ""),

  /// The same with a channel for each processor.
  MULTIFD("QEMU's migration, multifd, no cap", Route.SOCKET, "multifd"),

  /// The guest goes on in the new one at once, and its memory follows, page by page where it is
  /// touched. Needs `userfaultfd`.
  POST_COPY("QEMU's post-copy", Route.SOCKET, "postcopy-ram"),

  /// Saved to a file and restored from there.
  FILE("saved to a file and restored", Route.FILE, ""),

  /// QEMU's own way to restart itself, from 8.2 on: the memory stays, and the state goes to a file.
  CPR_REBOOT("QEMU's cpr-reboot", Route.FILE, "x-ignore-shared"),

  /// QEMU's own way into another QEMU on the same host, from 10.0 on: the memory stays, and
  /// descriptors go through a channel of their own.
  CPR_TRANSFER("QEMU's cpr-transfer", Route.CPR, "");

  /// Where the state goes.
  enum Route {
    /// One way, one connection.
    PIPE,

    /// Both ways, and as many connections as QEMU likes.
    SOCKET,

    /// The new one begins to read when the old one has written all.
    FILE,

    /// A socket, and another one on which the new QEMU waits before it builds its machine.
    CPR
  }

  /// More than any of them writes in a second.
  private static final long NO_CAP = 1L << 40;

  private final String label;
  private final Route route;
  private final String capability;

  RivalWay(String label, Route route, String capability) {
    this.label = label;
    this.route = route;
    this.capability = capability;
  }

  /// In a few words, for people.
  String label() {
    return label;
  }

  Route route() {
    return route;
  }

  /// Whether old and new map the same memory.
  boolean sharesMemory() {
    return this == BY_HAND || this == CPR_REBOOT || this == CPR_TRANSFER;
  }

  /// Whether QEMU 7.2 lacks it.
  boolean needsNewer() {
    return this == CPR_REBOOT || this == CPR_TRANSFER;
  }

  /// Whether it sends again what the guest writes meanwhile, until little is left: a guest that
  /// writes fast enough keeps it from its end.
  boolean chasesWrites() {
    return this == PRE_COPY || this == PRE_COPY_NO_CAP || this == MULTIFD;
  }

  /// What is switched on in both, beside the events that tell how far they are.
  List<String> capabilities() {
    return capability.isEmpty() ? List.of() : List.of(capability);
  }

  /// What is set.
  ///
  /// @param waiting whether it is for the new one
  Map<String, Object> parameters(boolean waiting) {
    return switch (this) {
      case PRE_COPY -> Map.of();
      case BY_HAND -> Map.of("max-bandwidth", NO_CAP, "downtime-limit", 2000);
      case PRE_COPY_NO_CAP, POST_COPY, FILE -> Map.of("max-bandwidth", NO_CAP);
      case MULTIFD -> Map.of("max-bandwidth", NO_CAP, "multifd-channels", channels());
      case CPR_REBOOT -> Map.of("max-bandwidth", NO_CAP, "mode", "cpr-reboot");
      // The new one knows its mode from its channel.
      case CPR_TRANSFER ->
          waiting ? Map.of() : Map.of("max-bandwidth", NO_CAP, "mode", "cpr-transfer");
    };
  }

  private static int channels() {
    return Math.max(2, Runtime.getRuntime().availableProcessors());
  }
}
