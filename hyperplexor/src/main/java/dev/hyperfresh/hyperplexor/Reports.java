package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/// What both hypervisors have reported of one switch, and through them the guest. It grows while
/// the switch is under way, so that whatever ends the switch, a fault too, finds what was heard
/// until then. For the guest's thread.
///
/// Times are wall clocks, microseconds since 1970: of the order this host's, of everything else
/// that of the hypervisor that reported it.
///
/// Its methods that take an event are called inside the blackout: they remember, and do nothing
/// else.
final class Reports {
  private final List<InstanceEvent> kept = new ArrayList<>();
  private Optional<InstanceEvent> asked = Optional.empty();
  private long orderedMicros;
  private OptionalLong stoppedMicros = OptionalLong.empty();
  private OptionalLong sentMicros = OptionalLong.empty();
  private boolean sourceGone;
  private boolean stoppedByOther;

  /// The order to hand over goes out.
  void ordered(long micros) {
    orderedMicros = micros;
  }

  /// The source has stopped the guest.
  void stopped(InstanceEvent.Stopped stop) {
    stoppedMicros = OptionalLong.of(stop.atMicros());
  }

  /// That stop was not the hand-over's.
  void stoppedByOther() {
    stoppedByOther = true;
    stoppedMicros = OptionalLong.empty();
  }

  /// Whether somebody has stopped the guest who wants it to stay so.
  boolean isStoppedByOther() {
    return stoppedByOther;
  }

  /// The source has sent all of the guest's state.
  void sent(InstanceEvent.HandOverSent sent) {
    sentMicros = OptionalLong.of(sent.atMicros());
  }

  /// The source has ended, and reports no more.
  void sourceIsGone() {
    sourceGone = true;
  }

  /// It is the guest's own affair: [Hosting] looks at it when the replacement is over.
  void keep(InstanceEvent event) {
    kept.add(event);
  }

  /// The guest asked its old hypervisor for it. One that has stopped the guest cannot do it any
  /// more where the guest goes on; before that it does it by itself. A power-off is not taken back
  /// by a reset.
  void ask(InstanceEvent event) {
    kept.add(event);
    if ((event instanceof InstanceEvent.PoweredOff || isStopped()) && !asksForPowerOff()) {
      asked = Optional.of(event);
    }
  }

  long orderedMicros() {
    return orderedMicros;
  }

  boolean isStopped() {
    return stoppedMicros.isPresent();
  }

  OptionalLong stoppedMicros() {
    return stoppedMicros;
  }

  OptionalLong sentMicros() {
    return sentMicros;
  }

  boolean isSourceGone() {
    return sourceGone;
  }

  /// What the guest asked of the source and the source cannot do any more.
  Optional<InstanceEvent> asked() {
    return asked;
  }

  boolean asksForPowerOff() {
    return asked.isPresent() && asked.get() instanceof InstanceEvent.PoweredOff;
  }

  /// Everything that the replacement had no use for, oldest first.
  List<InstanceEvent> kept() {
    return List.copyOf(kept);
  }
}
