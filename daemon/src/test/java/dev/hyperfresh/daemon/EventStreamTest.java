package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class EventStreamTest {
  private static final Duration SOON = Duration.ofMillis(50);
  private static final Duration LONG = Duration.ofSeconds(20);

  private static Event event(int number) {
    return new Event.ReleaseChanged("qemu-" + number, true);
  }

  private static List<String> subjects(EventStream.Batch batch) {
    return batch.entries().stream()
        .map(entry -> Api.JSON.readTree(entry.json()).path("subject").asString())
        .toList();
  }

  @Test
  void eventsComeInTheirOrderAndOnce() throws Exception {
    EventStream stream = new EventStream();
    stream.accept(event(1));
    stream.accept(event(2));

    EventStream.Batch first = stream.after(0, SOON);
    stream.accept(event(3));
    EventStream.Batch second = stream.after(first.last(), SOON);

    assertThat(subjects(first)).containsExactly("qemu-1", "qemu-2");
    assertThat(first.missed()).isFalse();
    assertThat(subjects(second)).containsExactly("qemu-3");
    assertThat(second.missed()).isFalse();
    assertThat(stream.after(second.last(), SOON).entries()).isEmpty();
  }

  @Test
  void whoeverWaitsHearsOfItAtOnce() throws Exception {
    EventStream stream = new EventStream();
    Waiting waiting = new Waiting(stream);

    stream.accept(event(1));

    assertThat(subjects(waiting.heard())).containsExactly("qemu-1");
  }

  @Test
  void theEndOfTheStreamIsHeardAtOnce() throws Exception {
    EventStream stream = new EventStream();
    Waiting waiting = new Waiting(stream);

    stream.close();

    assertThat(waiting.heard().entries()).isEmpty();
    assertThat(stream.isClosed()).isTrue();
  }

  /// A client that waits for the first event.
  private static final class Waiting {
    private final CompletableFuture<EventStream.Batch> batch = new CompletableFuture<>();

    Waiting(EventStream stream) {
      Thread thread = Thread.ofPlatform().start(() -> batch.complete(first(stream)));
      while (thread.getState() != Thread.State.TIMED_WAITING) {
        Thread.onSpinWait();
      }
    }

    private static EventStream.Batch first(EventStream stream) {
      try {
        return stream.after(0, LONG);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }

    EventStream.Batch heard() throws Exception {
      return batch.get(LONG.toSeconds() / 2, TimeUnit.SECONDS);
    }
  }

  @Test
  void whoeverIsTooSlowIsToldAndGetsWhatThereIs() throws Exception {
    EventStream stream = new EventStream(3, 1 << 20);
    for (int i = 1; i <= 5; i++) {
      stream.accept(event(i));
    }

    EventStream.Batch late = stream.after(1, SOON);
    EventStream.Batch inTime = stream.after(2, SOON);

    assertThat(late.missed()).isTrue();
    assertThat(subjects(late)).containsExactly("qemu-3", "qemu-4", "qemu-5");
    assertThat(inTime.missed()).isFalse();
    assertThat(subjects(inTime)).containsExactly("qemu-3", "qemu-4", "qemu-5");
  }

  @Test
  void whatIsKeptIsBoundedInCharactersToo() throws Exception {
    EventStream stream = new EventStream(1000, 2000);
    for (int i = 1; i <= 500; i++) {
      stream.accept(event(i));
    }

    EventStream.Batch all = stream.after(-1, SOON);

    assertThat(all.entries().stream().mapToInt(entry -> entry.json().length()).sum())
        .isBetween(1000, 2000);
    assertThat(subjects(all)).last().isEqualTo("qemu-500");
  }

  @Test
  void manyComeInBatches() throws Exception {
    EventStream stream = new EventStream();
    for (int i = 1; i <= 500; i++) {
      stream.accept(event(i));
    }
    List<String> all = new ArrayList<>();
    long after = 0;
    for (int i = 0; i < 500 && after < 500; i++) {
      EventStream.Batch batch = stream.after(after, SOON);
      assertThat(batch.entries()).hasSizeBetween(1, 64);
      all.addAll(subjects(batch));
      after = batch.last();
    }

    assertThat(all).hasSize(500).doesNotHaveDuplicates();
  }

  @Test
  void anIdIsThatOfOneDaemon() {
    EventStream stream = new EventStream();
    stream.accept(event(1));

    assertThat(stream.number(stream.id(1))).contains(1L);
    assertThat(stream.number(stream.id(0))).contains(0L);
    assertThat(stream.number(stream.id(2))).as("not yet").isEmpty();
    assertThat(stream.number("0-1")).isEmpty();
    assertThat(stream.number("1")).isEmpty();
    assertThat(stream.number("")).isEmpty();
    assertThat(stream.number(stream.id(1) + "0".repeat(40))).isEmpty();
    assertThat(EventStream.isId(stream.id(1))).isTrue();
    assertThat(EventStream.isId("17")).isFalse();
  }
}
