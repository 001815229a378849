package dev.hyperfresh.hypervisor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;

/// How a guest sees a network card, beside its address.
///
/// @param mtu the largest packet, bytes, of card and port; empty for the kernel's 1500
/// @param queues how many pairs of queues it has
/// @param vhost whether the host's kernel moves its packets
public record Card(Model model, OptionalInt mtu, int queues, boolean vhost) {
  /// A virtio card of which nothing more is said.
  public static final Card PLAIN = new Card(Model.VIRTIO, OptionalInt.empty(), 1, false);

  private static final int LEAST_MTU = 68;
  private static final int MOST_MTU = 65_521;
  private static final int MOST_QUEUES = 16;

  /// What it is to the guest.
  public enum Model {
    /// A virtio card.
    VIRTIO,
    /// An Intel 82574L.
    E1000E,
    /// An Intel 82540EM, which old systems know.
    E1000,
    /// A Realtek 8139, which very old systems know.
    RTL8139;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// What is not as in [#PLAIN], as a spec says it.
  List<String> words() {
    List<String> words = new ArrayList<>();
    if (model != Model.VIRTIO) {
      words.add("model: " + model.label());
    }
    mtu.ifPresent(bytes -> words.add("mtu: " + bytes));
    if (queues != 1) {
      words.add("queues: " + queues);
    }
    if (vhost) {
      words.add("vhost: true");
    }
    return words;
  }

  /// Every fault, without the card that it is about.
  List<String> faults(boolean user) {
    List<String> faults = new ArrayList<>();
    if (mtu.isPresent() && (mtu.getAsInt() < LEAST_MTU || mtu.getAsInt() > MOST_MTU)) {
      faults.add("mtu: " + mtu.getAsInt() + " is not between " + LEAST_MTU + " and " + MOST_MTU);
    }
    if (queues < 1 || queues > MOST_QUEUES) {
      faults.add("queues: " + queues + " is not between 1 and " + MOST_QUEUES);
    }
    boolean more = mtu.isPresent() || queues != 1 || vhost;
    if (more && model != Model.VIRTIO) {
      faults.add("model: only virtio has mtu, queues and vhost");
    }
    if (more && user) {
      faults.add("user: a card on a user-mode network has no mtu, queues or vhost");
    }
    return faults;
  }
}
