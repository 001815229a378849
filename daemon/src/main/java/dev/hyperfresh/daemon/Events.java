package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.GuestWatch;
import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.SystemsWatch;
import dev.hyperfresh.vm.VmWatch;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Where all that happens in a daemon is published, once, and from where it goes to every sink: the
/// log, the history, flight recordings, the stream of the API, the metrics. Thread-safe.
///
/// Sinks run on the thread that publishes, one after the other; none is told inside a guest's
/// blackout. They hold up whoever did what they are told of, so they must not wait for anybody.
final class Events {
  private static final Logger LOG = LoggerFactory.getLogger(Events.class);

  private final List<Consumer<Event>> sinks = new CopyOnWriteArrayList<>();

  /// How each guest was when that was told last.
  private final Map<String, GuestView> guests = new ConcurrentHashMap<>();

  /// The sink that is the daemon's log. What happens to containers is written there by those who do
  /// it, with more words.
  static void log(Event event) {
    switch (event) {
      case Event.GuestChanged(var guest) ->
          LOG.info(
              "guest {} is {} on {} {}",
              guest.spec().name(),
              guest.state(),
              guest.release(),
              guest.detail());
      case Event.GuestStarted(var guest, var why) ->
          LOG.info(
              "guest {} was started on {}: {}", guest.spec().name(), guest.release(), why.label());
      case Event.VmChanged changed ->
          LOG.info(
              "{} {} {}",
              changed.kind(),
              changed.subject(),
              changed.runs() ? "is running" : "has ended");
      default -> LOG.debug("{} {}", event.type(), event.subject());
    }
  }

  /// The sink that writes flight recordings.
  static void record(Event event) {
    switch (event) {
      case Event.GuestReplaced(var record) -> ReplacementJfr.write(record);
      case Event.ContainerMoved(var record) -> RelocationJfr.write(record);
      default -> {}
    }
  }

  /// Events that come later go to `sink`, too, after all others.
  void add(Consumer<Event> sink) {
    sinks.add(sink);
  }

  /// Events that come later go to `sink`, too, before all others: what it keeps can be asked for
  /// when anybody else hears of it.
  void addFirst(Consumer<Event> sink) {
    sinks.addFirst(sink);
  }

  /// What happened has happened, whether a sink can take it or not.
  void publish(Event event) {
    for (Consumer<Event> sink : sinks) {
      try {
        sink.accept(event);
      } catch (RuntimeException | Error e) {
        LOG.warn("{} of {} could not be published everywhere", event.type(), event.subject(), e);
      }
    }
  }

  /// Publishes what happens to guests. How one is, is published unless that is how it was.
  GuestWatch guests() {
    return new GuestWatch() {
      @Override
      public void changed(GuestView guest) {
        if (!guest.equals(guests.put(guest.spec().name(), guest))) {
          publish(new Event.GuestChanged(guest));
        }
      }

      @Override
      public void started(GuestView guest, StartReason why) {
        publish(new Event.GuestStarted(guest, why));
      }

      @Override
      public void deleted(String guest) {
        guests.remove(guest);
        publish(new Event.GuestDeleted(guest));
      }

      @Override
      public void handedBack(HandedBack guest) {
        guests.remove(guest.name());
        publish(new Event.GuestHandedBack(guest.name()));
      }
    };
  }

  /// Publishes what happens to machines.
  VmWatch<Machine> machines() {
    return new VmWatch<>() {
      @Override
      public void came(Machine machine) {
        publish(new Event.VmChanged("machine", machine, true));
      }

      @Override
      public void went(Machine machine) {
        publish(new Event.VmChanged("machine", machine, false));
      }

      @Override
      public void altered(String machine) {
        publish(new Event.VmAltered("machine", machine));
      }
    };
  }

  /// Publishes what happens to operating systems and containers.
  SystemsWatch systems() {
    return new SystemsWatch() {
      @Override
      public void came(OsVm os) {
        publish(new Event.VmChanged("os", os, true));
      }

      @Override
      public void went(OsVm os) {
        publish(new Event.VmChanged("os", os, false));
      }

      @Override
      public void altered(String os) {
        publish(new Event.VmAltered("os", os));
      }

      @Override
      public void moved(RelocationRecord record) {
        publish(new Event.ContainerMoved(record));
      }

      @Override
      public void changed(ContainerView container) {
        publish(new Event.ContainerChanged(container));
      }

      @Override
      public void removed(String container) {
        publish(new Event.ContainerRemoved(container));
      }
    };
  }
}
