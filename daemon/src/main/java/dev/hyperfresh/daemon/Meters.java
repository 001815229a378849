package dev.hyperfresh.daemon;

import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MultiGauge;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// The counters and timers behind [Metrics]. Making it loads some hundred classes. Thread-safe.
///
/// Labels are kinds, outcomes and states alone: no name of a guest or container makes a series of
/// its own, so their number is bounded.
final class Meters implements Consumer<Event> {
  private static final Duration[] BUCKETS = {
    Duration.ofMillis(1),
    Duration.ofMillis(2),
    Duration.ofMillis(3),
    Duration.ofMillis(5),
    Duration.ofMillis(10),
    Duration.ofMillis(20),
    Duration.ofMillis(50),
    Duration.ofMillis(100),
    Duration.ofMillis(200),
    Duration.ofMillis(500),
    Duration.ofSeconds(1),
    Duration.ofSeconds(2),
    Duration.ofSeconds(5)
  };

  private final PrometheusMeterRegistry registry =
      new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);

  /// Each looks how many there are of something.
  private final List<Runnable> looks = new CopyOnWriteArrayList<>();

  Meters() {
    Gauge.builder("hyperfresh.daemon.heap.used", Meters::heapBytes)
        .description("Bytes of the daemon's heap that are in use.")
        .baseUnit("bytes")
        .register(registry);
    Gauge.builder("hyperfresh.daemon.started", Meters::startedSeconds)
        .description("When the daemon started, in seconds since 1970.")
        .baseUnit("seconds")
        .register(registry);
  }

  private static double heapBytes() {
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
  }

  private static double startedSeconds() {
    return ManagementFactory.getRuntimeMXBean().getStartTime() / 1e3;
  }

  /// Shows how many of something there are in each of its states.
  ///
  /// @param thing such as `guests`
  /// @param states all states that there are
  /// @param counts how many are in which, looked at once whenever [#text] is asked for; those that
  ///   are in none are left out
  void count(String thing, List<String> states, Supplier<Map<String, Long>> counts) {
    MultiGauge gauge =
        MultiGauge.builder("hyperfresh." + thing)
            .description("How many " + thing + " there are, by state.")
            .register(registry);
    looks.add(() -> {
      Map<String, Long> now = counts.get();
      gauge.register(
          states.stream()
              .<MultiGauge.Row<?>>map(
                  state -> MultiGauge.Row.of(Tags.of("state", state), now.getOrDefault(state, 0L)))
              .toList(),
          true);
    });
  }

  @Override
  public void accept(Event event) {
    counter("hyperfresh.events", "Events that were published.", "type", event.type()).increment();
    switch (event) {
      case Event.GuestReplaced(var record) -> {
        counter(
                "hyperfresh.replacements",
                "Replacements that have ended.",
                "kind",
                record.kind(),
                "outcome",
                record.outcome().label())
            .increment();
        time(
            "hyperfresh.blackout",
            "From the stop of the source's vCPUs to the start of the target's.",
            record.blackoutMs(),
            "kind",
            record.kind());
      }
      case Event.ContainerMoved(var record) -> {
        counter(
                "hyperfresh.relocations",
                "Moves of containers that have ended.",
                "outcome",
                record.outcome())
            .increment();
        time(
            "hyperfresh.frozen",
            "How long containers were paused to be moved.",
            record.frozenMs(),
            "transport",
            record.transport());
      }
      default -> {}
    }
  }

  private Counter counter(String name, String description, String... tags) {
    return Counter.builder(name).description(description).tags(tags).register(registry);
  }

  private void time(String name, String description, OptionalDouble millis, String... tags) {
    millis.ifPresent(ms ->
        Timer.builder(name)
            .description(description)
            .tags(tags)
            .serviceLevelObjectives(BUCKETS)
            .register(registry)
            .record(Duration.ofNanos(Math.round(ms * 1e6))));
  }

  /// All of them, as text.
  synchronized String text() {
    looks.forEach(Runnable::run);
    return registry.scrape();
  }
}
