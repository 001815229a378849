package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ProcessFacts;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Gives a guest back to the manager that it was borrowed from. Everything that may fail comes
/// first; the guest is the manager's when its folder has gone from those of guests, and its process
/// notices nothing of all that.
///
/// @param folders where what the process still needs is kept
record HandBack(HandedFolders folders) {
  /// The names of those of `guests` that were borrowed, in their order.
  static List<String> borrowed(Collection<Guest> guests) {
    return guests.stream()
        .filter(guest -> borrowed(guest).isPresent())
        .map(guest -> guest.spec().name())
        .sorted()
        .toList();
  }

  /// The machine of a guest that was borrowed.
  static Optional<AdoptedMachine> borrowed(Guest guest) {
    return guest
        .laterStarts()
        .facts()
        .identity()
        .adopted()
        .filter(machine -> machine.borrowed().isPresent());
  }

  /// Any thread: hands a guest back, which is gone from here then.
  ///
  /// @param before takes what the manager has to know, and writes it down, on the guest's thread
  ///   and while the guest is still here: whoever dies right after leaves that to the next one
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it is not certain who runs it, when it
  ///   was not borrowed, or when its manager would not find it; [Problem#REPLACE_BUSY],
  ///   [Problem#DAEMON_STATE], and what `before` throws; then it stays
  HandedBack of(Guest guest, Consumer<HandedBack> before) {
    String name = guest.spec().name();
    AdoptedMachine machine =
        borrowed(guest)
            .orElseThrow(() ->
                Problem.GUEST_STATE.because(
                    "Guest " + name + " has no manager that it was borrowed from."));
    if (guest.isReplacing()) {
      throw Problem.REPLACE_BUSY.because("Guest " + name + " is being moved.");
    }
    AtomicReference<@Nullable HandedBack> done = new AtomicReference<>();
    guest.letGo(() -> done.set(prepared(guest, machine, before)), Instance::leave);
    HandedBack back = done.get();
    if (back == null) {
      throw Problem.GUEST_UNKNOWN.because("Guest " + name + " was deleted.");
    }
    Contained.run("removing what was handed back", folders::sweep);
    return back;
  }

  /// Guest's thread.
  private HandedBack prepared(Guest guest, AdoptedMachine machine, Consumer<HandedBack> before) {
    String name = guest.spec().name();
    Instance running = guest.running();
    guest
        .hosting()
        .unsettled()
        .ifPresent(why -> {
          throw Problem.GUEST_STATE.because("Guest " + name + " " + why + ".");
        });
    running
        .takeAddresses()
        .ifPresent(amiss -> {
          throw Problem.GUEST_STATE.because(
              "The manager of guest " + name + " would not find all of it: " + amiss);
        });
    ProcessFacts facts = running.handBack();
    // What is kept says whose it is.
    guest.writeDown(Optional.empty());
    HandedBack back =
        new HandedBack(
            name,
            running.pid(),
            facts.vcpus(),
            facts.terminals(),
            AdoptedMachine.isFirst(running.generation())
                ? Map.of()
                : taps(guest.spec().nics(), machine.ports()),
            facts.program());
    before.accept(back);
    folders.keep(guest.files(), running, machine.borrowed().orElseThrow());
    return back;
  }

  /// Which interfaces of a process that was adopted later instances have others for.
  static Map<String, String> taps(List<Nic> nics, List<Port> ports) {
    Map<String, String> taps = new HashMap<>();
    for (int i = 0; i < ports.size(); i++) {
      if (ports.get(i) instanceof Port.Bridged old) {
        taps.put(old.tap(), nics.get(i).tap());
      }
    }
    return taps;
  }
}
