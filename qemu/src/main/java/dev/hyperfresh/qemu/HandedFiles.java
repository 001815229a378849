package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.OpenFlags;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// The files of a guest that one instance gets as open descriptors, because it may open no path of
/// them. This process closes its own copies once the instance has started: a disk's lock must go
/// with the instance.
record HandedFiles(Map<Integer, Fd> descriptors) implements AutoCloseable {
  /// Opens the files of `launch`.
  ///
  /// @param waiting whether for an instance that waits for the guest's state
  /// @throws dev.hyperfresh.linux.LinuxException when one cannot be opened; none is left open then
  /// @throws DiskImages.DiskChanged when a disk is not the one that it was; likewise
  /// @throws java.io.UncheckedIOException when the socket of a monitor cannot be made like the old
  ///   one; likewise
  static HandedFiles open(Launch launch, boolean waiting) {
    HandedFiles files = new HandedFiles(new HashMap<>());
    if (launch.adopted().isPresent()) {
      // Its command line names its files, as it did when something else started it.
      try {
        files.addLent(launch);
        files.addMonitors(launch);
        return files;
      } catch (RuntimeException e) {
        files.close();
        throw e;
      }
    }
    try {
      files.add(
          Descriptors.CONSOLE_LOG,
          launch.files().resolve("console.log"),
          OpenFlags.WRITE_ONLY | OpenFlags.CREATE | OpenFlags.APPEND);
      files.addBoot(launch);
      DiskImages images = DiskImages.of(launch);
      images.openInto(files.descriptors(), Seed.disks(launch), waiting);
      if (!waiting) {
        images.begin(launch, files.descriptors());
      }
      UefiFiles.of(launch).ifPresent(firmware -> firmware.openInto(files.descriptors()));
      VhostNet.openInto(files.descriptors(), launch.spec());
      return files;
    } catch (RuntimeException e) {
      files.close();
      throw e;
    }
  }

  /// Opens only what `launch` boots from, for an instance that is not to touch the rest.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException as [#open]
  static HandedFiles openBoot(Launch launch) {
    HandedFiles files = new HandedFiles(new HashMap<>());
    try {
      files.addLent(launch);
      files.addBoot(launch);
      return files;
    } catch (RuntimeException e) {
      files.close();
      throw e;
    }
  }

  private void addLent(Launch launch) {
    LentFolder.open(launch).ifPresent(folder -> descriptors.put(Descriptors.LENT, folder));
  }

  private void addMonitors(Launch launch) {
    List<BesideSocket> monitors = BesideSocket.of(launch);
    for (int i = 0; i < monitors.size(); i++) {
      descriptors.put(Descriptors.monitor(i), monitors.get(i).listen(LocalQemu.user(launch)).fd());
    }
  }

  private void addBoot(Launch launch) {
    if (launch.spec().boot().isPresent()) {
      KernelBoot boot = launch.spec().boot().get();
      Path folder = launch.files();
      add(Descriptors.KERNEL, folder.resolve(Qemu.PINNED_KERNEL), OpenFlags.READ_ONLY);
      if (boot.initrd().isPresent()) {
        add(Descriptors.INITRD, folder.resolve(Qemu.PINNED_INITRD), OpenFlags.READ_ONLY);
      }
    }
  }

  private void add(int number, Path path, int flags) {
    descriptors.put(number, Fd.open(path, flags));
  }

  @Override
  public void close() {
    descriptors.values().forEach(Fd::close);
  }
}
