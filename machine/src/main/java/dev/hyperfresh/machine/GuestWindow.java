package dev.hyperfresh.machine;

import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.VmWindows;

/// A guest's memory as a piece of hardware of the machine, at an address that the hardware chooses.
/// For one thread at a time.
///
/// @param fittings of the guest's place
record GuestWindow(Fittings fittings) {
  private String memory() {
    return fittings.id() + ".memory";
  }

  private String dimm() {
    return fittings.id() + ".window";
  }

  private VmWindows windows() {
    return fittings.vm().windows();
  }

  /// @return where the machine finds the memory in its own physical memory
  /// @throws TroubleException when the hardware refuses it
  long plug(MemFd guest) {
    windows().addMemory(memory(), guest.fd(), guest.bytes());
    memoryIsThere();
    windows().plug(dimm(), memory());
    dimmIsThere();
    return windows().address(dimm());
  }

  /// One that an earlier daemon has plugged in.
  void found() {
    memoryIsThere();
    dimmIsThere();
  }

  private void memoryIsThere() {
    fittings.undoneBy(() -> windows().removeMemory(memory()));
  }

  private void dimmIsThere() {
    fittings.undoneBy(() -> windows().eject(dimm()));
  }
}
