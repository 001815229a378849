package dev.hyperfresh.linux;

import dev.hyperfresh.linux.Layouts.Ifreq;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/// The places of queues among those of their device. The kernel counts only attached queues, gives
/// a new one the last place, and puts the last one in the place of one that is detached.
///
/// All that is needed is made beforehand, so that a call allocates nothing once compiled. For one
/// thread at a time.
final class QueueSeats {
  private final MemorySegment asked;
  private final MemorySegment attach;
  private final MemorySegment detach;

  /// Which of the queues that move are attached.
  private final boolean[] seated;

  /// @param most how many queues move at once
  QueueSeats(int most) {
    Arena arena = Arena.ofAuto();
    this.asked = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    this.attach = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    this.detach = arena.allocate(Ifreq.TYPE.bytes(), Long.BYTES);
    Ifreq.ifr_flags.set(attach, Constants.IFF_ATTACH_QUEUE);
    Ifreq.ifr_flags.set(detach, Constants.IFF_DETACH_QUEUE);
    this.seated = new boolean[most];
  }

  /// Puts those of `last` that are attached behind all others. They get no packets meanwhile, and
  /// lose those that wait in them.
  ///
  /// @param others all others of the device
  /// @return the place of the first one
  int behind(List<Fd> others, List<Fd> last) {
    for (int i = 0; i < last.size(); i++) {
      seated[i] = isAttached(last.get(i));
      if (seated[i]) {
        TapQueues.order(last.get(i), detach);
      }
    }
    int place = 0;
    for (int i = 0; i < others.size(); i++) {
      place += isAttached(others.get(i)) ? 1 : 0;
    }
    for (int i = 0; i < last.size(); i++) {
      if (seated[i]) {
        TapQueues.order(last.get(i), attach);
      }
    }
    return place;
  }

  private boolean isAttached(Fd queue) {
    TapQueues.ask(queue, asked);
    return (Ifreq.ifr_flags.get(asked) & Constants.IFF_DETACH_QUEUE) == 0;
  }
}
