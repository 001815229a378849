package dev.hyperfresh.daemon;

import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// The newest events, for clients that follow them. Thread-safe.
///
/// Clients read from here at their own pace, and none has a queue of its own: one that is too slow
/// is told that it has missed something, and costs nothing. What is kept is bounded in number and
/// in characters.
final class EventStream implements Consumer<Event>, AutoCloseable {
  private static final int MOST = 4096;
  private static final int MOST_CHARACTERS = 8 << 20;
  private static final int MOST_OF_A_BATCH = 64;

  /// `DAEMON-NUMBER`: numbers begin again with each daemon.
  private static final Pattern ID = Pattern.compile("([0-9a-z]{1,13})-([0-9]{1,18})");

  private final int most;
  private final int mostCharacters;
  private final String daemon = Long.toString(System.currentTimeMillis(), 36);
  private final NavigableMap<Long, Entry> kept = new TreeMap<>();
  private int characters;
  private long last;
  private boolean closed;

  EventStream() {
    this(MOST, MOST_CHARACTERS);
  }

  /// @param most how many events are kept
  /// @param mostCharacters how many characters they have
  EventStream(int most, int mostCharacters) {
    this.most = most;
    this.mostCharacters = mostCharacters;
  }

  /// One event.
  ///
  /// @param json as it is sent
  record Entry(long number, String type, String json) {}

  /// What a client gets next.
  ///
  /// @param missed whether there were events in between that it cannot get any more
  /// @param last the number after which to go on
  record Batch(boolean missed, List<Entry> entries, long last) {}

  @Override
  public void accept(Event event) {
    add(event.type(), json(event.type(), event.subject(), event.data()));
  }

  private static String json(
      String type, String subject, Map<String, ? extends @Nullable Object> data) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("at", Instant.now().toString());
    json.put("type", type);
    json.put("subject", subject);
    json.put("data", data);
    return Api.JSON.writeValueAsString(json);
  }

  /// What a client is told that has missed something.
  Entry missed(Batch batch) {
    long before =
        batch.entries().isEmpty() ? batch.last() : batch.entries().getFirst().number() - 1;
    return new Entry(before, "missed", json("missed", "", Map.of()));
  }

  private synchronized void add(String type, String json) {
    last++;
    kept.put(last, new Entry(last, type, json));
    characters += json.length();
    while (kept.size() > most || (characters > mostCharacters && kept.size() > 1)) {
      characters -= kept.pollFirstEntry().getValue().json().length();
    }
    notifyAll();
  }

  /// Whether a text is the id of an event of some daemon.
  static boolean isId(String text) {
    return ID.matcher(text).matches();
  }

  /// How events are named for clients.
  String id(long number) {
    return daemon + "-" + number;
  }

  /// The number of the newest event, after which a client begins that knows none.
  synchronized long newest() {
    return last;
  }

  /// The number that a client names as the last that it has seen; empty when that is none of this
  /// daemon, so that it has missed something.
  synchronized Optional<Long> number(String id) {
    Matcher parts = ID.matcher(id);
    if (!parts.matches() || !parts.group(1).equals(daemon)) {
      return Optional.empty();
    }
    return Optional.of(Long.parseLong(parts.group(2))).filter(number -> number <= last);
  }

  /// The events after one, as soon as there is one.
  ///
  /// @param after a number, or -1 for a client that has missed something, which gets all that there
  ///   are
  /// @return none when none came in time, and when the stream ends
  /// @throws InterruptedException when the client has gone
  synchronized Batch after(long after, Duration patience) throws InterruptedException {
    long deadline = System.nanoTime() + patience.toNanos();
    for (long left = patience.toNanos();
        left > 0 && !closed && after == last;
        left = deadline - System.nanoTime()) {
      TimeUnit.NANOSECONDS.timedWait(this, left);
    }
    long oldest = kept.isEmpty() ? last + 1 : kept.firstKey();
    List<Entry> entries =
        kept.tailMap(after, false).values().stream().limit(MOST_OF_A_BATCH).toList();
    return new Batch(
        after < oldest - 1, entries, entries.isEmpty() ? last : entries.getLast().number());
  }

  synchronized boolean isClosed() {
    return closed;
  }

  /// Ends what clients follow; the next daemon tells them that they may have missed something.
  @Override
  public synchronized void close() {
    closed = true;
    notifyAll();
  }
}
