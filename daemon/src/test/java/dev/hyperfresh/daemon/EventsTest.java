package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class EventsTest {
  @Test
  void aSinkThatFailsKeepsNoOtherFromBeingTold() {
    Events events = new Events();
    List<Event> told = new ArrayList<>();
    events.add(told::add);
    events.add(_ -> {
      throw new IllegalStateException("it cannot");
    });
    events.add(told::add);
    Event event = new Event.GuestDeleted("web1");

    events.publish(event);

    assertThat(told).containsExactly(event, event);
  }
}
