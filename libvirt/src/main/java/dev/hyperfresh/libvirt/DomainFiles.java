package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.Down.Between;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/// What libvirt knows of domains that are between, by the files that it has left and reads when it
/// starts.
///
/// @param host where they are
record DomainFiles(LibvirtHost host) {
  /// The program that it knows of a domain; empty when it has forgotten the domain.
  Optional<Path> emulator(String domain) {
    return Files.exists(host.statusFile(domain))
        ? Optional.of(LibvirtDomain.read(host, domain).emulator())
        : Optional.empty();
  }

  /// Has it know in which process a domain runs now.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_STARTED] when it has forgotten the domain;
  ///   [Problem#LIBVIRT_BETWEEN], [Problem#LIBVIRT_REFUSED] when the files cannot be written or
  ///   understood, which may be tried again
  void write(Between between, HandedBack back) {
    if (!isKnown(between, back.pid())) {
      throw Problem.LIBVIRT_STARTED.because(
          "libvirt has forgotten domain '"
              + between.domain()
              + "', or has another one of its name. Process "
              + back.pid()
              + " runs its guest on, and libvirt may have taken its network and its disks from it.");
    }
    LibvirtDomain known = LibvirtDomain.read(host, between.domain());
    // One that was not moved is what libvirt knows.
    if (known.pid() != back.pid()) {
      new StatusFile(host, known).write(back);
    }
  }

  /// A file that is gone, or is another domain's or process's by now, says that libvirt was there
  /// meanwhile: it has forgotten the domain, and may have started another one of its name.
  private boolean isKnown(Between between, int pid) {
    if (!Files.exists(host.statusFile(between.domain()))) {
      return false;
    }
    LibvirtDomain known = LibvirtDomain.read(host, between.domain());
    return known.uuid().equals(between.uuid())
        && (known.pid() == between.first().pid() || known.pid() == pid);
  }
}
