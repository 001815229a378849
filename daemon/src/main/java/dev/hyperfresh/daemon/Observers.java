package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What is told of all that happens in a daemon, from before it takes anything back.
///
/// @param events where everything is published
/// @param stream the newest, for clients that follow them
/// @param metrics what is counted of them
/// @param service who started the daemon, and hears how it stands
record Observers(Events events, EventStream stream, Metrics metrics, ServiceNotices service) {
  private static final List<String> GUESTS =
      Arrays.stream(GuestView.State.values()).map(Observers::word).toList();
  private static final List<String> CONTAINERS =
      List.of("running", "moving", "draining", "ended", "lost");
  private static final List<String> VMS = List.of("running", "ended");

  Observers(ServiceNotices service) {
    this(new Events(), new EventStream(), new Metrics(), service);
    events.add(Events::log);
    events.add(Events::record);
    events.add(stream);
    events.add(metrics);
  }

  private static String word(GuestView.State state) {
    return state.name().toLowerCase(Locale.ROOT);
  }

  /// Shows how many there are of everything.
  void count(Hyperplexor guests, MachineRoom machines, OsRoom systems) {
    metrics.count("guests", GUESTS, () -> by(guests.list().stream(), guest -> word(guest.state())));
    metrics.count("machines", VMS, () -> by(machines.list().stream(), vm -> word(vm.ended())));
    metrics.count("os", VMS, () -> by(systems.systems().list().stream(), vm -> word(vm.ended())));
    metrics.count(
        "containers",
        CONTAINERS,
        () -> by(systems.systems().views().stream(), container -> container.state().word()));
  }

  private static String word(boolean ended) {
    return ended ? "ended" : "running";
  }

  private static <T> Map<String, Long> by(Stream<T> all, Function<T, String> state) {
    return all.collect(Collectors.groupingBy(state, Collectors.counting()));
  }
}
