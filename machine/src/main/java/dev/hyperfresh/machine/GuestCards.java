package dev.hyperfresh.machine;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.VirtualMachine;
import java.util.ArrayList;
import java.util.List;

/// A guest's cards in a machine: each is a tap in the machine, in a bridge with a card of the
/// machine that is a queue of the guest's port on this host. For one thread at a time.
///
/// @param fittings of the guest's place
record GuestCards(Fittings fittings) {
  private String card(int index) {
    return fittings.id() + ".n" + index;
  }

  private String tap(int index) {
    return fittings.id() + "n" + index;
  }

  /// Of the machine's own card, which never sends with it. Locally administered.
  private String mac(int card) {
    int number = Integer.parseInt(fittings.id().substring(1));
    return "02:68:66:%02x:%02x:%02x".formatted(number >> 8 & 0xff, number & 0xff, card);
  }

  /// @return what the guest's QEMU is started with to have them
  List<Agent.Opening> plug(List<Fd> queues) {
    List<Agent.Opening> openings = new ArrayList<>();
    for (int i = 0; i < queues.size(); i++) {
      String mac = mac(i);
      String tap = tap(i);
      fittings.vm().cards().add(card(i), mac, queues.get(i));
      cardIsThere(i);
      fittings.vm().tell(a -> a.link(mac, tap, VirtualMachine.PLUG_LIMIT));
      tapIsThere(i);
      openings.add(new Agent.Opening(QemuInside.FIRST_NIC + i, Agent.Mode.TAP, tap));
    }
    return openings;
  }

  private void cardIsThere(int index) {
    fittings.undoneBy(() -> fittings.vm().cards().remove(card(index)));
  }

  private void tapIsThere(int index) {
    fittings.undoneBy(() -> fittings.vm().tell(a -> a.unlink(tap(index))));
  }

  /// Those that an earlier daemon has plugged in.
  void found(int count) {
    for (int i = 0; i < count; i++) {
      cardIsThere(i);
      tapIsThere(i);
    }
  }
}
