package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.TroubleException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// A program in an OS that has done all but what counts, and waits for a word of this host by a
/// port of its own: so that no time is lost when it is given. For one thread.
final class Line implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofMinutes(5);
  private static final Duration GIVE_UP = Duration.ofSeconds(2);

  private final OsVm os;
  private final String id;
  private final UnixSocket socket;
  private final List<String> command;
  private final CompletableFuture<Agent.Exited> end;
  private final byte[] buffer = new byte[256];

  private Line(
      OsVm os,
      String id,
      UnixSocket socket,
      List<String> command,
      CompletableFuture<Agent.Exited> end) {
    this.os = os;
    this.id = id;
    this.socket = socket;
    this.command = command;
    this.end = end;
  }

  /// Starts a program and waits until it is ready.
  ///
  /// @param id of the port, new in this OS
  /// @param program and its arguments; the port's path is added to them
  /// @param ready the word by which the program says so; empty when it says nothing
  /// @throws TroubleException when it ends instead
  static Line open(OsVm os, String id, List<String> program, String ready) {
    UnixSocket socket = os.vm().channels().addSocket(id);
    Line line = null;
    try {
      List<String> command = new ArrayList<>(program);
      command.add(os.vm().channels().addPort(id));
      CompletableFuture<Agent.Exited> end = os.vm().programs().begin(command);
      line = new Line(os, id, socket, List.copyOf(command), end);
      // Whoever waits for a word then hears that none will come.
      var _ = end.thenRun(line::hangUp);
      if (!ready.isEmpty()) {
        line.await(ready);
      }
      return line;
    } catch (RuntimeException e) {
      if (line == null) {
        socket.close();
        os.vm().contained(() -> os.vm().channels().remove(id));
      } else {
        line.close();
      }
      throw e;
    }
  }

  private void hangUp() {
    try {
      socket.shutdown();
    } catch (LinuxException | ClosedException e) {
      System.getLogger(Line.class.getName()).log(System.Logger.Level.DEBUG, id, e);
    }
  }

  /// Gives the word.
  void go() {
    say("go\n");
  }

  /// Tells the program that the list of pages is there.
  void listed() {
    say("listed\n");
  }

  /// Lets what was restored run.
  void run() {
    say("run\n");
  }

  /// Lets the program go on after it has said something.
  void ok() {
    say("ok\n");
  }

  /// Has the program give up.
  void no() {
    if (!end.isDone()) {
      say("no\n");
    }
  }

  /// As [#no], and waits a moment for its end: what is not read by then goes with the port.
  void giveUp() {
    no();
    try {
      var _ = end.get(GIVE_UP.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException | ExecutionException e) {
      System.getLogger(Line.class.getName()).log(System.Logger.Level.DEBUG, id, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void say(String word) {
    try {
      socket.send(word.getBytes(StandardCharsets.US_ASCII));
    } catch (LinuxException | ClosedException e) {
      throw new TroubleException("OS " + os.name() + ": " + id + ": " + e.getMessage(), e);
    }
  }

  /// Waits until the program says `word`.
  ///
  /// @throws TroubleException when it says something else, or ends
  void await(String word) {
    await(word, LIMIT);
  }

  /// As [#await], with another limit.
  void await(String word, Duration limit) {
    String heard = hear(limit);
    if (!heard.equals(word)) {
      throw new TroubleException(
          end.isDone() ? failure() : "OS " + os.name() + ": " + id + " says '" + heard + "'");
    }
  }

  private String hear(Duration limit) {
    int length = 0;
    List<Fd> strays = new ArrayList<>();
    long deadline = System.nanoTime() + limit.toNanos();
    try {
      byte[] chunk = new byte[1];
      while (length < buffer.length) {
        // No time is no limit to the socket.
        socket.receiveTimeout(Duration.ofNanos(Math.max(1_000_000, deadline - System.nanoTime())));
        if (socket.receive(chunk, strays) <= 0) {
          break;
        }
        if (chunk[0] == '\n') {
          break;
        }
        buffer[length++] = chunk[0];
      }
    } catch (LinuxException e) {
      throw new TroubleException("OS " + os.name() + ": " + id + ": " + e.getMessage(), e);
    } finally {
      strays.forEach(Fd::close);
    }
    return new String(buffer, 0, length, StandardCharsets.US_ASCII);
  }

  /// Waits until the program has ended well.
  ///
  /// @param limit how long that may last
  /// @return what it printed
  /// @throws TroubleException when it has not
  String awaitEnd(Duration limit) {
    if (os.vm().programs().await(end, command, limit).status() != 0) {
      throw new TroubleException(failure());
    }
    return end.join().tail().strip();
  }

  private String failure() {
    return "OS "
        + os.name()
        + ", "
        + command.get(1)
        + ": "
        + end.join().tail().strip().replaceAll("\\s*\\n\\s*", " / ");
  }

  /// Takes the port away. The program must have ended, or does so because of it.
  @Override
  public void close() {
    socket.close();
    if (!os.ended()) {
      os.vm().contained(() -> os.vm().channels().removePort(id));
      os.vm().contained(() -> os.vm().channels().remove(id));
    }
  }
}
