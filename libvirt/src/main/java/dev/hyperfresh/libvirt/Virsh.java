package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// libvirt asked over its own program.
///
/// @param host where that is
record Virsh(LibvirtHost host) {
  /// Far more than a libvirt needs that has just been started.
  private static final Duration LIMIT = Duration.ofSeconds(30);

  /// What libvirt says of a domain, such as `running`. Waits for one that is being taken back.
  ///
  /// @param uuid of the domain: no name is a part of a command line
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when libvirt does not answer, or not of
  ///   this domain
  String state(String uuid) {
    // Needs the domain's monitor, and so comes after all that is done to take it back.
    var _ = ask("dommemstat", uuid);
    HostCommand said = ask("domstate", uuid);
    if (said.status() != 0) {
      throw Problem.LIBVIRT_SERVICE.because("libvirt does not know it: " + said.lastLine() + ".");
    }
    return said.output().strip();
  }

  /// Waits until libvirt answers.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when it does not
  void requireAnswer() {
    HostCommand said = ask("list", "--uuid");
    if (said.status() != 0) {
      throw Problem.LIBVIRT_SERVICE.because(
          "libvirt was started and does not answer: " + said.lastLine() + ".");
    }
  }

  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when the program is not there
  void requireThere() {
    if (!Files.isExecutable(host.virsh())) {
      throw Problem.LIBVIRT_SERVICE.because(
          host.virsh() + " is not there; install the package with libvirt's command.");
    }
  }

  private HostCommand ask(String... words) {
    requireThere();
    List<String> command = new ArrayList<>();
    command.addAll(List.of(host.virsh().toString(), "-q", "-c", "qemu:///system"));
    command.addAll(List.of(words));
    return HostCommand.of(command, LIMIT);
  }
}
