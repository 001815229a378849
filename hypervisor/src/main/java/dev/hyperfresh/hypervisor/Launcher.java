package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.List;

/// Starts instances of one kind of hypervisor. Thread-safe.
public interface Launcher {
  /// What a guest that is made on `release` is to be executed by.
  ///
  /// @param host what `/dev/kvm` was seen to do on this host
  /// @throws HyperFreshException [Problem#HOST_MISSING] when what the guest insists on is not there
  AcceleratorChoice accelerator(
      GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host);

  /// Whether this guest can run on this release, as far as spec and release tell. Touches neither
  /// guest nor host.
  List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator);

  /// Notes, in the folder `files`, by what later starts know that what `spec` names of the host is
  /// still the same. Called whenever a guest is made or edited, before anything else of that is
  /// written down; a process may still run what the guest was before.
  ///
  /// @throws HyperFreshException [Problem#GUEST_DISK] when it is not, [Problem#SPEC_FILE_MISSING]
  ///   or [Problem#DAEMON_STATE]
  void remember(GuestSpec spec, Path files);

  /// Fixes, in the folder `launch.files()`, whatever later instances need to be the same machine on
  /// another release. Called once, before the first start.
  void pin(Launch launch);

  /// Starts an instance that boots the guest.
  ///
  /// @throws HyperFreshException [Problem#GUEST_START] or [Problem#GUEST_DISK]
  Instance start(Launch launch);

  /// Starts an instance that waits for the guest's state and does not touch its memory.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  Instance startWaiting(Launch launch);
}
