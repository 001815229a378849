package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/// The daemon of libvirt that looks after QEMU (libvirtd or virtqemud), as it runs on this host. It
/// is asked to end and never killed; guests do not end with it. For one thread.
public sealed interface LibvirtService permits PlainService, SystemdService {
  /// How long it may take to end. It gives its own clients half a minute.
  Duration PATIENCE = Duration.ofSeconds(60);

  /// How it runs, to find it again.
  Down.How how();

  /// For people, such as `libvirtd.service`.
  String words();

  /// Ends it, and whatever would start it at the next request. Returns when it has ended; does
  /// nothing when it does not run. Until [#start], systemd does not start it either, whoever asks.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when it does not end in time; it may end
  ///   at any time then, and this may be tried again
  void stop();

  /// Whether the very process that was found runs on, which was asked to end, or was to be.
  boolean isStillThere();

  /// Starts it as it was found, unless it runs.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE], also when it [#isStillThere]
  void start();

  /// That of this host.
  ///
  /// @param log where a plain process writes what it has to say
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when there is none, or none that could
  ///   be ended and started without harm
  static LibvirtService find(LibvirtHost host, Path log) {
    return Files.isDirectory(host.systemd())
        ? SystemdService.find(host)
        : PlainService.find(host, log);
  }

  /// One that was found by an earlier daemon.
  static LibvirtService of(LibvirtHost host, Down.How how, Path log) {
    return how.units().isEmpty()
        ? new PlainService(host, how, log)
        : new SystemdService(host, how.units());
  }
}
