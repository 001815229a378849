package dev.hyperfresh.libvirt;

import dev.hyperfresh.linux.ProcFs;
import java.nio.file.Path;

/// Where a host has what belongs to libvirt. Immutable.
///
/// @param run its folder of what is lost with a boot
/// @param systemd is there where systemd has started the host
/// @param systemctl systemd's program
/// @param virsh libvirt's program
/// @param proc the processes of the host
public record LibvirtHost(Path run, Path systemd, Path systemctl, Path virsh, ProcFs proc) {
  /// This one.
  public static final LibvirtHost THIS =
      new LibvirtHost(
          Path.of("/run/libvirt"),
          Path.of("/run/systemd/system"),
          Path.of("/usr/bin/systemctl"),
          Path.of("/usr/bin/virsh"),
          ProcFs.HOST);

  /// The folder of the files in which libvirt keeps what it knows of domains that run.
  Path domains() {
    return run.resolve("qemu");
  }

  /// The file of a domain.
  Path statusFile(String domain) {
    return domains().resolve(domain + ".xml");
  }

  /// The file with the number of a domain's process.
  Path pidFile(String domain) {
    return domains().resolve(domain + ".pid");
  }
}
