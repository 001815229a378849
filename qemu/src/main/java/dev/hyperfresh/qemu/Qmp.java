package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import tools.jackson.databind.JsonNode;

/// A client of the QEMU Machine Protocol on one connected socket.
///
/// Commands may be sent from any thread; each waits for its own answer. Events are delivered in
/// order on the reader thread. The connection ends once, with one call of [Listener#ended].
final class Qmp implements AutoCloseable {
  static final Duration PATIENCE = Duration.ofSeconds(20);

  private static final int CHUNK_BYTES = 16 * 1024;

  /// Told of everything that is not an answer.
  interface Listener {
    void event(QmpMessage.Event event);

    void ended(String reason);
  }

  /// A command that the peer refused, or that it never answered.
  static final class QmpException extends RuntimeException {
    private static final long serialVersionUID = 1;

    QmpException(String message) {
      super(message);
    }
  }

  private final UnixSocket socket;
  private final Listener listener;
  private final Transcript transcript;
  private final CompletableFuture<JsonNode> greeting = new CompletableFuture<>();
  private final Map<String, CompletableFuture<JsonNode>> pending = new ConcurrentHashMap<>();
  private final AtomicInteger nextId = new AtomicInteger();
  private final Thread reader;

  private Qmp(UnixSocket socket, String name, Transcript transcript, Listener listener) {
    this.socket = socket;
    this.listener = listener;
    this.transcript = transcript;
    this.reader = Thread.ofPlatform().name("hf-qmp-" + name).daemon().unstarted(this::readAll);
  }

  /// Takes over `socket`, waits for the greeting and leaves the negotiation mode.
  ///
  /// @throws QmpException when the peer does not greet within `limit`
  static Qmp open(
      UnixSocket socket, String name, Transcript transcript, Listener listener, Duration limit) {
    Qmp qmp = new Qmp(socket, name, transcript, listener);
    qmp.reader.start();
    try {
      await(qmp.greeting, "greeting", limit);
      qmp.execute("qmp_capabilities", Map.of());
      return qmp;
    } catch (QmpException e) {
      qmp.close();
      throw e;
    }
  }

  /// Runs one command and returns its `return` member. Descriptors travel with the command.
  ///
  /// @throws QmpException when it fails or is not answered in [#PATIENCE]
  JsonNode execute(String command, Map<String, ?> arguments, Fd... descriptors) {
    String id = Integer.toString(nextId.incrementAndGet());
    CompletableFuture<JsonNode> answer = new CompletableFuture<>();
    pending.put(id, answer);
    try {
      send(encode(command, arguments, id), descriptors);
      return await(answer, command, PATIENCE);
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

  /// Sends a prepared command and does not wait. A refusal arrives as the failure of `refused`,
  /// which was made by [#expectAnswer] beforehand.
  void post(byte[] encoded) {
    socket.send(encoded);
  }

  /// Registers interest in the answer to a command that will be posted under `id`.
  CompletableFuture<JsonNode> expectAnswer(String id) {
    CompletableFuture<JsonNode> answer = new CompletableFuture<>();
    pending.put(id, answer);
    return answer;
  }

  private synchronized void send(byte[] message, Fd... descriptors) {
    transcript.sent(new String(message, 0, message.length - 1, StandardCharsets.UTF_8));
    try {
      socket.send(message, descriptors);
    } catch (LinuxException e) {
      throw new QmpException("the hypervisor's control channel is broken: " + e.getMessage());
    }
  }

  private static JsonNode await(CompletableFuture<JsonNode> answer, String what, Duration limit) {
    try {
      return answer.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException e) {
      throw new QmpException(
          what + ": " + (e.getCause() == null ? e.toString() : e.getCause().getMessage()));
    } catch (TimeoutException e) {
      throw new QmpException(what + ": no answer within " + limit.toMillis() + " ms");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new QmpException(what + ": interrupted");
    }
  }

  private void readAll() {
    String reason = "the hypervisor closed its control channel";
    byte[] chunk = new byte[CHUNK_BYTES];
    byte[] buffer = new byte[2 * CHUNK_BYTES];
    int filled = 0;
    List<Fd> strays = new ArrayList<>();
    try {
      for (int count = socket.receive(chunk, strays);
          count >= 0;
          count = socket.receive(chunk, strays)) {
        strays.forEach(Fd::close);
        strays.clear();
        if (filled + count > buffer.length) {
          if (filled > QmpMessage.MAX_LINE_BYTES) {
            throw new QmpMessage.MalformedException("a line of more than 4 MiB");
          }
          buffer = Arrays.copyOf(buffer, buffer.length * 2);
        }
        System.arraycopy(chunk, 0, buffer, filled, count);
        filled = dispatchLines(buffer, filled + count);
      }
    } catch (LinuxException | QmpMessage.MalformedException | IllegalStateException e) {
      reason = "the hypervisor's control channel broke: " + e.getMessage();
    } finally {
      end(reason);
    }
  }

  /// Dispatches every complete line and moves the rest to the front; returns the rest's length.
  private int dispatchLines(byte[] buffer, int filled) {
    int start = 0;
    for (int i = 0; i < filled; i++) {
      if (buffer[i] == '\n') {
        if (i > start + 1) {
          dispatch(buffer, start, i - start);
        }
        start = i + 1;
      }
    }
    System.arraycopy(buffer, start, buffer, 0, filled - start);
    return filled - start;
  }

  private void dispatch(byte[] buffer, int offset, int length) {
    QmpMessage message = QmpMessage.decode(buffer, offset, length);
    switch (message) {
      case QmpMessage.Event event -> listener.event(event);
      case QmpMessage.Success success -> complete(success.id(), success.value());
      case QmpMessage.Failure failure -> fail(failure);
      case QmpMessage.Greeting _ -> greeting.complete(QmpMessage.JSON.nullNode());
    }
    transcript.received(new String(buffer, offset, length, StandardCharsets.UTF_8).strip());
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

  private void end(String reason) {
    QmpException failure = new QmpException(reason);
    greeting.completeExceptionally(failure);
    pending.values().forEach(answer -> answer.completeExceptionally(failure));
    pending.clear();
    socket.close();
    listener.ended(reason);
  }

  /// Ends the connection; the reader thread reports it and releases the socket.
  @Override
  public void close() {
    if (socket.fd().isOpen()) {
      try {
        socket.shutdown();
      } catch (LinuxException | IllegalStateException e) {
        transcript.sent("# shutdown: " + e.getMessage());
      }
    }
  }
}
