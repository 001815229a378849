package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.NetworkNamespace;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Tap;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;

/// The taps of a process that is to be adopted, and what comes in their place where they cannot go
/// on without it. For one thread.
final class ForeignPorts {
  private static final int LONGEST_INTERFACE = 15;

  private final ForeignProcess process;
  private final String guest;
  private final List<Nic> nics = new ArrayList<>();
  private final List<Port> ports = new ArrayList<>();
  private final List<Fd> queues = new ArrayList<>();
  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();

  /// @param guest what it is to be called
  ForeignPorts(ForeignProcess process, String guest) {
    this.process = process;
    this.guest = guest;
  }

  /// Finds the taps of `cards` and takes those which go on. To be called in the network namespace
  /// of the process, unless this process is root.
  void take(PidFd pidFd, List<ForeignNetwork.Card> cards) throws IOException {
    Map<String, List<Integer>> taps = process.taps();
    for (ForeignNetwork.Card card : cards) {
      if (card.descriptors().stream().anyMatch(process::isMacvtap)) {
        macvtap(pidFd, card);
        continue;
      }
      List<Integer> numbers = numbers(card, cards.size(), taps);
      if (numbers.isEmpty()) {
        reasons.add("Its network card " + card.id() + " has no tap that can be found.");
      } else {
        nics.add(nic(pidFd, card, numbers));
      }
    }
  }

  /// The descriptors of a card's queues; none where they cannot be found.
  private static List<Integer> numbers(
      ForeignNetwork.Card card, int cards, Map<String, List<Integer>> taps) {
    List<Integer> given = card.descriptors();
    if (!given.isEmpty()) {
      return taps.values().stream().anyMatch(tap -> tap.containsAll(given)) ? given : List.of();
    }
    List<Integer> found = List.of();
    if (card.tap().isPresent()) {
      found = taps.getOrDefault(card.tap().get(), List.of());
    } else if (cards == 1 && taps.size() == 1) {
      found = taps.values().iterator().next();
    }
    return found.size() < card.queues() ? List.of() : found.subList(0, card.queues());
  }

  private Nic nic(PidFd pidFd, ForeignNetwork.Card card, List<Integer> numbers) {
    List<Fd> taken = new ArrayList<>();
    try {
      numbers.forEach(number -> taken.add(pidFd.takeFd(number)));
      Tap.Facts facts = facts(pidFd.pid(), taken.getFirst());
      if (facts.extensible() && !card.leavesBridge()) {
        queues.addAll(taken);
        taken.clear();
        ports.add(new Port.Kept(numbers));
        return new Nic(facts.name(), facts.bridge(), card.mac());
      }
      return another(facts, card);
    } finally {
      taken.forEach(Fd::close);
    }
  }

  private static Tap.Facts facts(int pid, Fd queue) {
    return within(pid, () -> Tap.facts(queue));
  }

  private static <T> T within(int pid, Supplier<T> question) {
    if (Host.effectiveUid() != 0) {
      return question.get();
    }
    try (NetworkNamespace network = NetworkNamespace.of(pid)) {
      return network.within(question);
    }
  }

  private void macvtap(PidFd pidFd, ForeignNetwork.Card card) {
    if (card.queues() > 1) {
      reasons.add(
          "Its network card "
              + card.id()
              + " is on several queues of a macvtap, which cannot be taken over; give it one.");
      return;
    }
    int number = card.descriptors().getFirst();
    Fd queue = pidFd.takeFd(number);
    try {
      String name = within(pidFd.pid(), () -> MacVtap.name(queue));
      nics.add(Nic.ofMacvtap(name, card.mac()));
      ports.add(new Port.Kept(List.of(number)));
      queues.add(queue);
    } catch (RuntimeException e) {
      queue.close();
      throw e;
    }
  }

  private Nic another(Tap.Facts facts, ForeignNetwork.Card card) {
    if (facts.bridge().isEmpty()) {
      reasons.add(
          "Its tap "
              + facts.name()
              + (facts.extensible() ? " has a downscript" : " cannot have a second queue")
              + " and is in no bridge; put it into a bridge, where another tap can replace it.");
      return new Nic(facts.name(), Optional.empty(), card.mac());
    }
    String bridge = facts.bridge().get();
    ports.add(new Port.Bridged(facts.name(), bridge, card.queues()));
    String ours = portName(guest, nics.size());
    remarks.add(
        "With its first replacement, its tap "
            + facts.name()
            + " is replaced by "
            + ours
            + " in the bridge "
            + bridge
            + "; what was set for the old port there, such as VLANs, is to be set again.");
    return new Nic(ours, Optional.of(bridge), card.mac());
  }

  /// An interface has a short name, and two guests with long names must not share one.
  private static String portName(String guest, int index) {
    String plain = guest + "-" + index;
    return plain.length() <= LONGEST_INTERFACE
        ? plain
        : "hfa" + Integer.toHexString(guest.hashCode()) + "-" + index;
  }

  /// The cards, as the guest's description has them.
  List<Nic> nics() {
    return nics;
  }

  /// How they are attached, in the same order.
  List<Port> ports() {
    return ports;
  }

  /// The queues of those that go on, one port after the other.
  List<Fd> queues() {
    return queues;
  }

  /// What keeps a port from being taken over, one sentence each.
  List<String> reasons() {
    return reasons;
  }

  /// What their owner should know, one sentence each.
  List<String> remarks() {
    return remarks;
  }
}
