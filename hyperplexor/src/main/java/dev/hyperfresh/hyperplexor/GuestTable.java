package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/// Which guests there are: those that are managed, whether something runs them or not, and those
/// that are being taken back. Thread-safe.
final class GuestTable {
  private final Map<String, Guest> guests = new ConcurrentHashMap<>();

  /// Guests that are not taken back yet; [Recovery] changes it.
  private final Map<String, GuestView> recovering = new ConcurrentHashMap<>();

  /// Names in use, from before a guest's folder is made until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  /// Why nothing is known of guests that an earlier daemon left.
  private final Map<String, String> unreadable = new ConcurrentHashMap<>();

  /// Takes a name for a new guest.
  ///
  /// @throws HyperFreshException [Problem#GUEST_EXISTS]
  void reserve(String name) {
    if (!names.add(name)) {
      throw Problem.GUEST_EXISTS.because("Guest " + name + " exists already.");
    }
  }

  /// Takes the name of a guest that an earlier daemon left.
  void reserveAgain(String name) {
    names.add(name);
  }

  /// Takes the name of a guest that an earlier daemon left, and of which nothing can be read.
  void unreadable(String name, String why) {
    names.add(name);
    unreadable.put(name, why);
  }

  /// Whether nothing can be read of it.
  boolean isUnreadable(String name) {
    return unreadable.containsKey(name);
  }

  /// Gives a name back.
  void free(String name) {
    unreadable.remove(name);
    names.remove(name);
  }

  /// Adds a guest whose name is taken.
  ///
  /// @return false when there is one of that name
  boolean add(Guest guest) {
    return guests.putIfAbsent(guest.spec().name(), guest) == null;
  }

  /// Removes a guest, whose name stays taken.
  ///
  /// @return whether it was here
  boolean remove(Guest guest) {
    return guests.remove(guest.spec().name(), guest);
  }

  /// Those that are managed.
  Collection<Guest> managed() {
    return guests.values();
  }

  /// The managed guest called `name`.
  Optional<Guest> find(String name) {
    return Optional.ofNullable(guests.get(name));
  }

  /// The guests that are not taken back yet, by name; may be changed by any thread.
  Map<String, GuestView> recovering() {
    return recovering;
  }

  /// All guests, by name.
  List<GuestView> list() {
    return Stream.of(
            // A guest is managed before it is not recovering any more, so none is overlooked.
            List.copyOf(recovering.values()).stream(), guests.values().stream().map(Guest::view))
        .flatMap(views -> views)
        .sorted(Comparator.comparing(view -> view.spec().name()))
        .toList();
  }

  /// What is known of the guest called `name`.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]
  GuestView show(String name) {
    return Optional.ofNullable(recovering.get(name)).orElseGet(() -> get(name).view());
  }

  /// The managed guest called `name`.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]; [Problem#GUEST_STATE] when it is not
  ///   reattached yet
  Guest get(String name) {
    // A guest is added before it is no longer recovering: in this order it is found in one of them.
    GuestView before = recovering.get(name);
    Guest guest = guests.get(name);
    if (guest == null && before != null) {
      throw Problem.GUEST_STATE.because(
          "Guest " + name + " is being reattached: " + before.detail());
    }
    if (guest == null && isUnreadable(name)) {
      throw Problem.GUEST_STATE.because(
          "Guest "
              + name
              + " cannot be reattached: "
              + unreadable.get(name)
              + " `hyperfresh guest delete "
              + name
              + " --force` ends what is left of it and removes its folder.");
    }
    if (guest == null) {
      throw Problem.GUEST_UNKNOWN.because("No guest is called '" + name + "'.");
    }
    return guest;
  }

  /// Forgets all of them.
  void clear() {
    guests.clear();
    recovering.clear();
    unreadable.clear();
    names.clear();
  }
}
