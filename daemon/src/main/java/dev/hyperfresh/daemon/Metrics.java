package dev.hyperfresh.daemon;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// Counters and timers of a daemon, in the text format of Prometheus. Thread-safe.
///
/// What counts is made when somebody asks for it, or when many events have come: it takes a third
/// of the start of a daemon, whose clients and guests wait for it. Until then events are kept.
final class Metrics implements Consumer<Event> {
  private static final int MANY = 256;

  /// Of events that are kept, should it be impossible to make what counts them.
  private static final int MOST = 4096;

  /// What there is to be counted whenever somebody asks.
  private record Thing(String name, List<String> states, Supplier<Map<String, Long>> counts) {}

  private final List<Thing> things = new ArrayList<>();
  private final List<Event> early = new ArrayList<>();
  private volatile Optional<Meters> meters = Optional.empty();

  /// As [Meters#count].
  synchronized void count(String name, List<String> states, Supplier<Map<String, Long>> counts) {
    things.add(new Thing(name, states, counts));
  }

  @Override
  public synchronized void accept(Event event) {
    if (meters.isPresent()) {
      meters.get().accept(event);
      return;
    }
    if (early.size() < MOST) {
      early.add(event);
    }
    if (early.size() == MANY) {
      // Whoever publishes must not wait for it.
      Thread.ofPlatform().name("hf-metrics").daemon().start(this::meters);
    }
  }

  /// All of them, as text.
  String text() {
    return meters().text();
  }

  private Meters meters() {
    return meters.orElseGet(() -> counted(new Meters()));
  }

  /// Two may have made one at a time; the first counts.
  private synchronized Meters counted(Meters made) {
    if (meters.isEmpty()) {
      things.forEach(thing -> made.count(thing.name(), thing.states(), thing.counts()));
      early.forEach(made);
      early.clear();
      meters = Optional.of(made);
    }
    return meters.get();
  }
}
