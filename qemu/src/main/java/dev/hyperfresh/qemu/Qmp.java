package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import tools.jackson.databind.JsonNode;

/// A client of the QEMU Machine Protocol on one connected socket.
///
/// Commands may be sent from any thread; each waits for its own answer. Events are delivered in
/// order on the reader thread. The connection ends once, with one call of [Listener#ended].
final class Qmp implements AutoCloseable {
  static final Duration PATIENCE = Duration.ofSeconds(20);

  private static final int CHUNK_BYTES = 16 * 1024;
  private static final long DRAIN_NANOS = 200_000;
  private static final Duration FOR_EVER = Duration.ofSeconds(Long.MAX_VALUE);

  /// How soon the reader of a channel that is kept sees that it is to end: nothing wakes it.
  private static final Duration LOOK = Duration.ofMillis(100);

  /// No JSON has this byte, so it ends whatever was begun; the peer answers it with an error that
  /// has no identifier.
  private static final byte[] RESET = {(byte) 0xff, '\n'};

  /// Told of everything that is not an answer.
  interface Listener {
    void event(QmpMessage.Event event);

    /// The connection is over; the last call.
    ///
    /// @param heardAll whether everything that the peer wrote has been delivered
    void ended(String reason, boolean heardAll);
  }

  /// A command that the peer refused, or that it never answered.
  static final class QmpException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean unanswered;

    QmpException(String message) {
      this(message, false);
    }

    private QmpException(String message, boolean unanswered) {
      super(message);
      this.unanswered = unanswered;
    }

    /// Of a question that is not asked, since the answers take too long.
    static QmpException late(String message) {
      return new QmpException(message, true);
    }

    /// Whether no answer came in time, so that it may come later.
    boolean unanswered() {
      return unanswered;
    }
  }

  /// Whose a channel is.
  enum Channel {
    /// This client's own: the channel ends with it, and the peer sees that.
    OWN,
    /// Somebody else has the same end of it, and keeps it for the next client: the peer sees
    /// nothing of this client's end.
    KEPT,
    /// One that was kept. The peer does not greet again and has left the negotiation mode; the
    /// earlier client may have left half a command in it, and taken half a message out of it.
    FOUND
  }

  /// How a channel is used.
  ///
  /// @param watcher told of everything that passes
  /// @param peer what the watcher knows the other end by
  /// @param patience how long the answer to a command is awaited, more than zero
  record Use(
      ControlWatcher watcher, ControlWatcher.Party peer, Duration patience, Channel channel) {
    /// Unwatched, with a patience that no hypervisor needs that works.
    static final Use ORDINARY =
        new Use(ControlWatcher.NONE, new ControlWatcher.Party("", 0, 0), PATIENCE);

    /// For a channel of this client's own.
    Use(ControlWatcher watcher, ControlWatcher.Party peer, Duration patience) {
      this(watcher, peer, patience, Channel.OWN);
    }
  }

  private final UnixSocket socket;
  private final Use use;
  private final Listener listener;
  private final Transcript transcript;
  private final CompletableFuture<JsonNode> greeting = new CompletableFuture<>();
  private final Map<String, CompletableFuture<JsonNode>> pending = new ConcurrentHashMap<>();

  /// Held from before bytes are taken from the socket until they have been delivered.
  private final Object reading = new Object();

  private volatile Optional<QmpException> over = Optional.empty();
  private volatile boolean closed;

  /// Whether what comes next may be the rest of a message. For the reader alone.
  private boolean torn;

  /// Keeps answers to an earlier client of the same channel apart.
  private final String prefix;

  private final AtomicInteger nextId = new AtomicInteger();
  private final Thread reader;

  private Qmp(UnixSocket socket, Use use, String name, Transcript transcript, Listener listener) {
    this.socket = socket;
    this.use = use;
    this.listener = listener;
    this.transcript = transcript;
    this.torn = use.channel() == Channel.FOUND;
    this.prefix =
        torn
            ? Integer.toString(ThreadLocalRandom.current().nextInt(), Character.MAX_RADIX) + "."
            : "";
    this.reader = Thread.ofPlatform().name("hf-qmp-" + name).daemon().unstarted(this::readAll);
  }

  /// Takes over `socket`, waits for the greeting and leaves the negotiation mode; one that was
  /// found has left it already, and is only asked whether it answers.
  ///
  /// @throws QmpException when the peer does not greet and answer within `limit`
  static Qmp open(
      UnixSocket socket, String name, Transcript transcript, Listener listener, Duration limit) {
    return open(socket, Use.ORDINARY, name, transcript, listener, limit);
  }

  /// Like the other one, for a channel that is used in a way of its own.
  static Qmp open(
      UnixSocket socket,
      Use use,
      String name,
      Transcript transcript,
      Listener listener,
      Duration limit) {
    Qmp qmp = new Qmp(socket, use, name, transcript, listener);
    long deadline = Clock.monotonicNanos() + limit.toNanos();
    qmp.reader.start();
    try {
      if (use.channel() == Channel.FOUND) {
        qmp.post("reset", RESET);
        qmp.run(limit, "query-status", Map.of());
        return qmp;
      }
      await(qmp.greeting, "greeting", limit);
      Duration left = Duration.ofNanos(Math.max(0, deadline - Clock.monotonicNanos()));
      // A process that is starting is busy, so only the limit counts here.
      qmp.run(left, "qmp_capabilities", Map.of());
      return qmp;
    } catch (QmpException e) {
      qmp.close();
      throw e;
    }
  }

  /// Runs one command and returns its `return` member. Descriptors travel with the command.
  ///
  /// @throws QmpException when it fails or is not answered in time
  JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    return execute(use.patience(), command, arguments, descriptors);
  }

  /// As [#execute(String, Map, Fd...)], and waits for at most `limit` even with more patience.
  JsonNode execute(Duration limit, String command, Map<String, ?> arguments, Fd... descriptors) {
    Duration patience = limit.compareTo(use.patience()) < 0 ? limit : use.patience();
    return run(patience, command, arguments, descriptors);
  }

  private JsonNode run(
      Duration limit, String command, Map<String, ?> arguments, Fd... descriptors) {
    String id = prefix + nextId.incrementAndGet();
    CompletableFuture<JsonNode> answer = expectAnswer(id);
    try {
      use.watcher().sending(use.peer(), command);
      send(encode(command, arguments, id), descriptors);
      return await(answer, command, limit);
    } finally {
      pending.remove(id);
    }
  }

  /// A command ready to be sent by [#post] without any work.
  static byte[] encode(String command, Map<String, ?> arguments, String id) {
    Map<String, ?> message =
        arguments.isEmpty()
            ? Map.of("execute", command, "id", id)
            : Map.of("execute", command, "arguments", arguments, "id", id);
    return (QmpMessage.JSON.writeValueAsString(message) + "\n").getBytes(StandardCharsets.UTF_8);
  }

  /// Sends a prepared command and does not wait. A refusal arrives as the failure of the answer
  /// that [#expectAnswer] made beforehand.
  ///
  /// @param command the name of what is encoded
  /// @throws QmpException when the connection has ended
  void post(String command, byte[] encoded) {
    use.watcher().sending(use.peer(), command);
    try {
      socket.send(encoded);
    } catch (LinuxException | ClosedException e) {
      throw broken(e);
    }
  }

  /// Registers interest in the answer to a command that will be posted under `id`.
  CompletableFuture<JsonNode> expectAnswer(String id) {
    CompletableFuture<JsonNode> answer = new CompletableFuture<>();
    pending.put(id, answer);
    // The end may have come before the line above, and then nobody else would complete it.
    over.ifPresent(answer::completeExceptionally);
    return answer;
  }

  /// Whether the connection has not ended yet.
  boolean isOpen() {
    return over.isEmpty();
  }

  /// Waits until everything that the peer has written so far has been delivered. For a peer that
  /// writes no more, such as a stopped process.
  ///
  /// @return false when that did not happen within `limit`, or the connection is over
  boolean drain(Duration limit) {
    long deadline = Clock.monotonicNanos() + limit.toNanos();
    while (Clock.monotonicNanos() < deadline) {
      synchronized (reading) {
        if (!isOpen()) {
          return false;
        }
        if (!socket.fd().pollReadable(Duration.ZERO)) {
          return true;
        }
      }
      LockSupport.parkNanos(DRAIN_NANOS);
    }
    return false;
  }

  private synchronized void send(byte[] message, Fd... descriptors) {
    transcript.sent(new String(message, 0, message.length - 1, StandardCharsets.UTF_8));
    try {
      socket.send(message, descriptors);
    } catch (LinuxException | ClosedException e) {
      throw broken(e);
    }
  }

  private static QmpException broken(RuntimeException e) {
    return new QmpException("the hypervisor's control channel is broken: " + e.getMessage());
  }

  private static JsonNode await(CompletableFuture<JsonNode> answer, String what, Duration limit) {
    try {
      return answer.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException e) {
      throw new QmpException(
          what + ": " + (e.getCause() == null ? e.toString() : e.getCause().getMessage()));
    } catch (TimeoutException e) {
      throw new QmpException(what + ": no answer within " + limit.toMillis() + " ms", true);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new QmpException(what + ": interrupted");
    }
  }

  private void readAll() {
    String reason = "its control channel broke";
    boolean heardAll = false;
    try {
      LineBuffer lines = new LineBuffer();
      byte[] chunk = new byte[CHUNK_BYTES];
      List<Fd> strays = new ArrayList<>();
      Duration look = use.channel() == Channel.OWN ? FOR_EVER : LOOK;
      boolean more = true;
      while (more && !closed) {
        if (!socket.fd().pollReadable(look)) {
          continue;
        }
        synchronized (reading) {
          int count = socket.receive(chunk, strays);
          strays.forEach(Fd::close);
          strays.clear();
          more = count >= 0;
          lines.add(chunk, Math.max(0, count), this::dispatch);
        }
      }
      reason = "the hypervisor closed its control channel";
      heardAll = true;
    } catch (LinuxException | QmpMessage.MalformedException | ClosedException e) {
      reason = "the hypervisor's control channel broke: " + e.getMessage();
    } finally {
      end(reason, heardAll);
    }
  }

  private void dispatch(byte[] line, int length) {
    boolean mayBeRest = torn;
    torn = false;
    QmpMessage message;
    try {
      message = QmpMessage.decode(line, 0, length);
    } catch (QmpMessage.MalformedException e) {
      if (mayBeRest) {
        return;
      }
      throw e;
    }
    String status =
        message instanceof QmpMessage.Event event ? event.data().path("status").asString("") : "";
    if (use.watcher().received(use.peer(), message.name(), status)) {
      deliver(message);
    }
    int kept = Math.min(length, Transcript.MAX_LINE);
    transcript.received(new String(line, 0, kept, StandardCharsets.UTF_8).strip());
  }

  private void deliver(QmpMessage message) {
    switch (message) {
      case QmpMessage.Event event -> listener.event(event);
      case QmpMessage.Success success -> complete(success.id(), success.value());
      case QmpMessage.Failure failure -> fail(failure);
      case QmpMessage.Greeting _ -> greeting.complete(QmpMessage.JSON.nullNode());
    }
  }

  private void complete(String id, JsonNode value) {
    CompletableFuture<JsonNode> answer = pending.remove(id);
    if (answer != null) {
      answer.complete(value);
    }
  }

  private void fail(QmpMessage.Failure failure) {
    CompletableFuture<JsonNode> answer = pending.remove(failure.id());
    if (answer != null) {
      answer.completeExceptionally(new QmpException(failure.description()));
    }
  }

  private void end(String reason, boolean heardAll) {
    QmpException failure = new QmpException(reason);
    over = Optional.of(failure);
    greeting.completeExceptionally(failure);
    pending.values().forEach(answer -> answer.completeExceptionally(failure));
    pending.clear();
    socket.close();
    listener.ended(reason, heardAll);
  }

  /// Ends the connection; the reader thread reports it and releases the socket.
  @Override
  public void close() {
    // Shut down, a socket would be so for all who have it.
    closed = use.channel() != Channel.OWN;
    if (!closed && socket.fd().isOpen()) {
      try {
        socket.shutdown();
      } catch (LinuxException | ClosedException e) {
        transcript.sent("# shutdown: " + e.getMessage());
      }
    }
  }
}
