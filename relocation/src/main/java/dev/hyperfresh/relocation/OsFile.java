package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.linux.Host;
import java.nio.file.Path;
import java.util.Optional;

/// What a daemon writes down of an OS, so that the next one can take it back with the containers in
/// it. Immutable.
///
/// @param hardwareProcess the QEMU that is its hardware
/// @param fileServer the process that serves the folders of all containers to it, when an older
///   daemon has started it; none otherwise
/// @param booted whether it ever could take containers
/// @param release by name, as is the hardware
record OsFile(
    Identity hardwareProcess,
    Identity fileServer,
    boolean booted,
    String release,
    String hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes,
    double bootMs) {
  private static final String NAME = "os.json";

  /// A process of this host that is meant for ever, since numbers are used again.
  ///
  /// @param pid 0 when there is none yet
  /// @param start as [Host#processStart] has it
  /// @param boot as [Host#bootId] has it: process numbers and start times begin anew with each;
  ///   empty in files that an older daemon wrote
  record Identity(int pid, long start, Optional<String> boot) {
    static final Identity NONE = new Identity(0, 0, Optional.empty());

    static Identity of(int pid) {
      return new Identity(pid, Host.processStart(pid).orElse(0), Optional.of(Host.bootId()));
    }

    /// Whether this very process is there.
    boolean lives() {
      return pid > 0
          && boot.filter(written -> !written.equals(Host.bootId())).isEmpty()
          && Host.processStart(pid).orElse(-1) == start;
    }
  }

  /// An OS whose hardware is about to be started.
  static OsFile of(OsSettings settings) {
    return new OsFile(
        Identity.NONE,
        Identity.NONE,
        false,
        settings.release().name(),
        settings.hardware().name(),
        settings.accelerator(),
        settings.vcpus(),
        settings.memoryBytes(),
        0);
  }

  OsFile on(Identity process) {
    return new OsFile(
        process, fileServer, booted, release, hardware, accelerator, vcpus, memoryBytes, bootMs);
  }

  OsFile asBooted(double millis) {
    return new OsFile(
        hardwareProcess,
        fileServer,
        true,
        release,
        hardware,
        accelerator,
        vcpus,
        memoryBytes,
        millis);
  }

  /// @param folder of the OS
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  void write(Path folder) {
    StateFile.write(folder.resolve(NAME), this);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  static Optional<OsFile> read(Path folder) {
    return StateFile.read(folder.resolve(NAME), OsFile.class);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  static void remove(Path folder) {
    StateFile.remove(folder.resolve(NAME));
  }
}
