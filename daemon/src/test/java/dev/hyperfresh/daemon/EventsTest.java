package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.HandedBack;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
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

  @Test
  void whatIsKeptIsThereBeforeAnybodyElseHearsOfIt() {
    Events events = new Events();
    List<String> told = new ArrayList<>();
    events.add(_ -> told.add("a client"));
    events.addFirst(_ -> told.add("the history"));

    events.publish(new Event.GuestDeleted("web1"));

    assertThat(told).containsExactly("the history", "a client");
  }

  @Test
  void aGuestThatIsAsItWasIsNotToldOfAgain() {
    Events events = new Events();
    List<String> told = new ArrayList<>();
    events.add(event -> told.add(event.type()));

    events.guests().changed(ContractTest.guest(GuestView.State.RUNNING));
    events.guests().changed(ContractTest.guest(GuestView.State.RUNNING));
    events.guests().changed(ContractTest.guest(GuestView.State.STOPPED));
    events.guests().deleted("web1");
    events.guests().changed(ContractTest.guest(GuestView.State.STOPPED));
    events
        .guests()
        .handedBack(new HandedBack("web1", 7, Map.of(), Map.of(), Map.of(), Path.of("/q")));
    events.guests().changed(ContractTest.guest(GuestView.State.STOPPED));

    assertThat(told)
        .containsExactly(
            "guest.changed",
            "guest.changed",
            "guest.deleted",
            "guest.changed",
            "guest.handed-back",
            "guest.changed");
  }
}
