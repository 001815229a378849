package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import java.util.function.Supplier;

/// What a guest has of the host while something runs it. Made anew for every start. For the guest's
/// thread.
///
/// @param memory its memory
/// @param endpoints its network ports
/// @param pulse watches its heartbeat
/// @param confinement with which rights its instances run
record GuestBody(GuestMemory memory, Endpoints endpoints, Pulse pulse, Confinement confinement) {
  /// All of it belongs to this object now.
  GuestBody(GuestMemory memory, Endpoints endpoints, Confinement confinement) {
    this(memory, endpoints, new Pulse(memory), confinement);
  }

  /// All of it belongs to the new object. When this throws, memory and confinement are as before,
  /// and of the ports none is left.
  ///
  /// @param ports takes them, in the network of `confinement`
  static GuestBody of(GuestMemory memory, Supplier<Endpoints> ports, Confinement confinement) {
    Pulse pulse = new Pulse(memory);
    try {
      return new GuestBody(memory, confinement.within(ports), pulse, confinement);
    } catch (RuntimeException | Error e) {
      pulse.close();
      throw e;
    }
  }

  /// Returns memory and ports to the host: nothing runs the guest any more.
  ///
  /// @param guest its name, for the log
  void giveBack(String guest) {
    Contained.run("deleting the ports of " + guest, endpoints::giveUp);
    letGo(guest);
  }

  /// Lets go of memory and ports, which go on with the hypervisor that runs the guest.
  void letGo(String guest) {
    Contained.run("unmapping the memory of " + guest, pulse::close);
    Contained.run("releasing the memory of " + guest, memory::close);
    Contained.run("releasing the ports of " + guest, endpoints::close);
    Contained.run("leaving the network of " + guest, confinement::letGo);
  }
}
