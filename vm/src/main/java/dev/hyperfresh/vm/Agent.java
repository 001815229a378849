package dev.hyperfresh.vm;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.EOFException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/// A client of the agent in one machine, over the socket behind the machine's agent port.
///
/// Thread-safe: requests may be made from any thread, each waits for its own answer, and answers
/// may come in any order. When the connection ends, all that wait fail, and every later request.
public final class Agent implements AutoCloseable {
  /// How long an answer is awaited that needs no waiting inside.
  public static final Duration PATIENCE = Duration.ofSeconds(30);

  /// The version of the protocol.
  public static final String PROTOCOL = "1";

  /// What a waiting request may take longer than what it waits for.
  private static final Duration SLACK = Duration.ofSeconds(10);

  private static final int CHUNK_BYTES = 16 * 1024;

  /// Characters of a text of the agent's that are kept for people.
  private static final int MAX_TEXT = 1000;

  /// `struct utsname` has fields of 65 bytes.
  private static final int MAX_RELEASE = 64;

  /// Ends a line that an earlier host may have begun.
  private static final byte[] CANCEL = "\u0018\n".getBytes(StandardCharsets.US_ASCII);

  /// What the agent says of its machine.
  ///
  /// @param version of the protocol
  /// @param kernelRelease as `uname -r` says it
  /// @param uptime since the kernel started
  /// @param memoryFreeKib what new programs could get (`MemAvailable`), in KiB
  /// @param memoryTotalKib all that the kernel manages, in KiB
  public record Hello(
      String version,
      String kernelRelease,
      Duration uptime,
      long memoryFreeKib,
      long memoryTotalKib) {}

  /// The end of a program that was started here or by an earlier client.
  ///
  /// @param pid inside the machine
  /// @param status as `waitpid` gives it: the signal's number in the low seven bits, else the exit
  ///   code times 256
  /// @param tail the last of its output, at most [#MAX_TAIL] bytes there
  public record Exited(int pid, int status, String tail) {
    /// The longest tail (`TAIL` in programs.h).
    static final int MAX_TAIL = 2048;

    /// The exit code, or nothing when a signal ended it.
    public Optional<Integer> code() {
      return (status & 0x7f) == 0 ? Optional.of(status >> 8 & 0xff) : Optional.empty();
    }

    /// The signal that ended it, or nothing.
    public Optional<Integer> signal() {
      return (status & 0x7f) == 0 ? Optional.empty() : Optional.of(status & 0x7f);
    }
  }

  /// How a file is opened for a program.
  public enum Mode {
    /// For reading.
    R,
    /// For writing.
    W,
    /// For both.
    RW,
    /// Not a file: the path is the name of a tap, and the descriptor is a queue of it with virtio
    /// headers.
    TAP
  }

  /// One descriptor of a program.
  ///
  /// @param descriptor its number in the program, 3 to 1023
  /// @param path inside the machine, or a tap's name
  public record Opening(int descriptor, Mode mode, String path) {}

  /// What to start.
  ///
  /// @param command the program, looked up in `/bin` and `/usr/bin` unless it holds a slash, and
  ///   its arguments
  /// @param environment the whole environment, at most 256 variables
  /// @param openings at most 64
  public record Program(
      List<String> command, Map<String, String> environment, List<Opening> openings) {
    /// Copies the collections.
    ///
    /// @throws IllegalArgumentException when the command is empty
    public Program {
      command = List.copyOf(command);
      environment = Map.copyOf(environment);
      openings = List.copyOf(openings);
      if (command.isEmpty() || command.getFirst().isEmpty()) {
        throw new IllegalArgumentException("a program needs a command");
      }
    }
  }

  /// What a program has read and written by system calls, in bytes.
  public record Io(long read, long written) {}

  /// A program's page faults: without and with a read from a disk.
  public record Faults(long minor, long major) {}

  private final UnixSocket socket;
  private final Consumer<Exited> exited;
  private final Map<String, CompletableFuture<List<String>>> pending = new ConcurrentHashMap<>();
  private final AtomicInteger nextId = new AtomicInteger();

  /// Keeps answers to an earlier client of the same agent apart.
  private final String prefix =
      Integer.toString(ThreadLocalRandom.current().nextInt(), Character.MAX_RADIX).replace('-', 'm')
          + "x";

  private final Object sending = new Object();
  private volatile Optional<String> over = Optional.empty();
  private final Thread reader;

  private Agent(UnixSocket socket, Consumer<Exited> exited) {
    this.socket = socket;
    this.exited = exited;
    this.reader = Thread.ofPlatform().name("hf-agent").daemon().unstarted(this::readAll);
  }

  /// Takes over a connected socket. The machine may still be starting; see [#awaitHello].
  ///
  /// @param exited called on the reader's thread, which delivers the answers too: it must not make
  ///   requests itself
  public static Agent over(UnixSocket socket, Consumer<Exited> exited) {
    Agent agent = new Agent(socket, exited);
    agent.reader.start();
    try {
      agent.send(CANCEL);
    } catch (LinuxException | ClosedException e) {
      agent.end("the agent's connection is broken: " + e.getMessage());
    }
    return agent;
  }

  /// Waits until the machine serves requests.
  ///
  /// @throws AgentException when that lasts longer than `limit`, or its protocol is another one
  public Hello awaitHello(Duration limit) {
    List<String> field = ask(limit, 5, "hello");
    if (!field.getFirst().equals(PROTOCOL)) {
      throw new AgentException(
          "hello",
          "the agent speaks version " + cut(field.getFirst()) + ", not " + PROTOCOL,
          false);
    }
    if (field.get(1).length() > MAX_RELEASE) {
      throw new AgentException(
          "hello", "a kernel release of " + field.get(1).length() + " characters", false);
    }
    return new Hello(
        field.get(0),
        field.get(1),
        Duration.ofMillis(number("hello", field.get(2))),
        number("hello", field.get(3)),
        number("hello", field.get(4)));
  }

  /// Waits for the virtio-serial port `name` and returns its device's path.
  public String port(String name, Duration limit) {
    return ask(limit.plus(SLACK), 1, "port", name, millis(limit)).getFirst();
  }

  /// Waits for the virtio disk with this serial number and returns its device's path.
  public String disk(String serial, Duration limit) {
    return ask(limit.plus(SLACK), 1, "disk", serial, millis(limit)).getFirst();
  }

  /// Waits for the network interface with this address and bridges it with a new tap. The address
  /// belongs to the machine and must not be the guest's own.
  ///
  /// @param mac such as `52:54:00:12:34:56`
  /// @param tap at most 13 letters, digits, `-` and `_`
  public void link(String mac, String tap, Duration limit) {
    ask(limit.plus(SLACK), 0, "link", mac, tap, millis(limit));
  }

  /// Takes a tap and its bridge away, also from a program that still uses it.
  public void unlink(String tap) {
    ask(PATIENCE, 0, "unlink", tap);
  }

  /// Starts a program and returns its number inside. Its standard input is `/dev/null`, its output
  /// comes with its end.
  public int start(Program program) {
    List<String> words = new ArrayList<>();
    words.add("start");
    words.add(Integer.toString(program.environment().size()));
    program.environment().forEach((name, value) -> words.add(name + "=" + value));
    words.add(Integer.toString(program.openings().size()));
    for (Opening opening : program.openings()) {
      String mode = opening.mode().name().toLowerCase(Locale.ROOT);
      words.add(opening.descriptor() + ":" + mode + ":" + opening.path());
    }
    words.addAll(program.command());
    return (int) number("start", ask(PATIENCE, 1, words.toArray(String[]::new)).getFirst());
  }

  /// Sends a signal to a program that the agent started.
  public void signal(int pid, int signal) {
    signal(pid, signal, PATIENCE);
  }

  /// As [#signal(int, int)], for somebody who cannot wait longer than `limit`.
  public void signal(int pid, int signal, Duration limit) {
    ask(limit, 0, "signal", Integer.toString(pid), Integer.toString(signal));
  }

  /// The states of a program's threads, a letter each as in proc(5): `TTT` when all are stopped.
  public String state(int pid) {
    return state(pid, PATIENCE);
  }

  /// As [#state(int)], for somebody who cannot wait longer than `limit`.
  public String state(int pid, Duration limit) {
    return ask(limit, 1, "state", Integer.toString(pid)).getFirst();
  }

  /// What a program has read and written so far.
  public Io io(int pid) {
    List<String> field = ask(PATIENCE, 2, "io", Integer.toString(pid));
    return new Io(number("io", field.get(0)), number("io", field.get(1)));
  }

  /// A program's page faults so far.
  public Faults faults(int pid) {
    List<String> field = ask(PATIENCE, 2, "faults", Integer.toString(pid));
    return new Faults(number("faults", field.get(0)), number("faults", field.get(1)));
  }

  /// Listens on a unix socket inside; what is sent to it, one connection after the other, comes out
  /// of a port. The port is open while there is a connection.
  ///
  /// @param device the port's path
  /// @param socket below [VirtualMachine#RUN_FOLDER]
  public void outlet(String device, String socket) {
    ask(PATIENCE, 0, "outlet", device, socket);
  }

  /// Ends an outlet and removes its socket.
  public void outletClose(String socket) {
    ask(PATIENCE, 0, "outlet-close", socket);
  }

  /// Gives back the memory in a slot of the machine, so that its owner gets `DEVICE_DELETED`.
  /// Nothing inside may have it mapped.
  public void eject(int slot) {
    ask(PATIENCE, 0, "eject", Integer.toString(slot));
  }

  /// KVM's statistics, summed over all that runs inside. Histograms are left out.
  public Map<String, Long> kvm() {
    Map<String, Long> statistics = new HashMap<>();
    pairs("kvm")
        .forEach((name, value) -> {
          if (value.matches("-?[0-9]{1,18}")) {
            statistics.put(name, Long.parseLong(value));
          }
        });
    return statistics;
  }

  /// The parameters of KVM's modules inside.
  public Map<String, String> parameters() {
    return pairs("parameters");
  }

  /// How long KVM inside polls before a halted processor sleeps, in nanoseconds.
  public void haltPoll(long nanoseconds) {
    ask(PATIENCE, 0, "halt-poll", Long.toString(nanoseconds));
  }

  /// The machine's wall clock in nanoseconds since 1970.
  public long clock() {
    return number("clock", ask(PATIENCE, 1, "clock").getFirst());
  }

  /// Switches the machine off. Returns when it has said yes, or is gone.
  public void poweroff() {
    try {
      ask(PATIENCE, 0, "poweroff");
    } catch (AgentException e) {
      if (over.isEmpty()) {
        throw e;
      }
    }
  }

  /// Whether the connection has not ended yet.
  public boolean isOpen() {
    return over.isEmpty();
  }

  private Map<String, String> pairs(String verb) {
    Map<String, String> pairs = new HashMap<>();
    for (String pair : ask(PATIENCE, -1, verb)) {
      int equals = pair.indexOf('=');
      if (equals <= 0) {
        throw new AgentException(verb, "'" + cut(pair) + "' is not NAME=VALUE", false);
      }
      pairs.put(pair.substring(0, equals), pair.substring(equals + 1));
    }
    return pairs;
  }

  /// Makes one request and returns the fields of its answer, `count` of them unless that is -1.
  private List<String> ask(Duration limit, int count, String... words) {
    String verb = words[0];
    String id = prefix + nextId.incrementAndGet();
    List<String> fields = new ArrayList<>();
    fields.add(id);
    fields.addAll(List.of(words));
    byte[] line = AgentLine.encode(fields);
    CompletableFuture<List<String>> answer = new CompletableFuture<>();
    pending.put(id, answer);
    try {
      // The end may have come before the line above, and then nobody else would complete it.
      over.ifPresent(reason -> answer.completeExceptionally(new EOFException(reason)));
      if (!answer.isDone()) {
        send(line);
      }
      return checked(verb, count, answer.get(limit.toNanos(), TimeUnit.NANOSECONDS));
    } catch (LinuxException | ClosedException e) {
      throw new AgentException(verb, "the agent's connection is broken: " + e.getMessage(), false);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new AgentException(verb, String.valueOf(cause.getMessage()), false);
    } catch (TimeoutException e) {
      throw new AgentException(verb, "no answer within " + limit.toMillis() + " ms", false);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AgentException(verb, "interrupted", false);
    } finally {
      pending.remove(id);
    }
  }

  private static List<String> checked(String verb, int count, List<String> line) {
    List<String> rest = line.subList(2, line.size());
    if (line.get(1).equals("error") && rest.size() == 1) {
      throw new AgentException(verb, cut(rest.getFirst()), true);
    }
    if (!line.get(1).equals("ok") || (count >= 0 && rest.size() != count)) {
      throw new AgentException(
          verb, "an answer of " + rest.size() + " fields that cannot be understood", false);
    }
    return rest;
  }

  /// What is shown to people and written down.
  private static String cut(String text) {
    return text.length() > MAX_TEXT ? text.substring(0, MAX_TEXT) + "…" : text;
  }

  private static long number(String verb, String text) {
    try {
      return Long.parseLong(text);
    } catch (NumberFormatException e) {
      throw new AgentException(verb, "'" + cut(text) + "' is not a number", false);
    }
  }

  private static String millis(Duration limit) {
    return Long.toString(limit.toMillis());
  }

  private void send(byte[] line) {
    synchronized (sending) {
      socket.send(line);
    }
  }

  private void readAll() {
    String reason = "the agent's connection was closed";
    try {
      byte[] chunk = new byte[CHUNK_BYTES];
      byte[] line = new byte[AgentLine.MAX_BYTES];
      int length = 0;
      List<Fd> strays = new ArrayList<>();
      for (int count; (count = socket.receive(chunk, strays)) >= 0; ) {
        strays.forEach(Fd::close);
        strays.clear();
        for (int i = 0; i < count; i++) {
          if (chunk[i] == '\n') {
            deliver(line, length);
            length = 0;
          } else if (length == line.length) {
            throw new AgentLine.MalformedException("a line of more than " + length + " bytes");
          } else {
            line[length++] = chunk[i];
          }
        }
      }
    } catch (LinuxException | AgentLine.MalformedException | ClosedException e) {
      reason = "the agent's connection broke: " + e.getMessage();
    } finally {
      end(reason);
    }
  }

  private void deliver(byte[] bytes, int length) {
    List<String> line = AgentLine.decode(bytes, length);
    if (line.size() < 2) {
      throw new AgentLine.MalformedException("a line of one field");
    }
    if (line.getFirst().equals("-")) {
      event(line);
      return;
    }
    // What nobody waits for is late, or answers to an earlier host.
    CompletableFuture<List<String>> answer = pending.remove(line.getFirst());
    if (answer != null) {
      answer.complete(line);
    }
  }

  /// Whoever awaits a hello has asked for it, so only ends of programs are of use.
  private void event(List<String> line) {
    if (!line.get(1).equals("exited")) {
      return;
    }
    if (line.size() != 5) {
      throw new AgentLine.MalformedException("an end with " + line.size() + " fields");
    }
    if (line.get(4).length() > Exited.MAX_TAIL) {
      throw new AgentLine.MalformedException(
          "an end with an output of " + line.get(4).length() + " characters");
    }
    Exited end;
    try {
      end = new Exited(Integer.parseInt(line.get(2)), Integer.parseInt(line.get(3)), line.get(4));
    } catch (NumberFormatException e) {
      throw new AgentLine.MalformedException("an end without numbers: " + e.getMessage());
    }
    exited.accept(end);
  }

  private void end(String reason) {
    over = Optional.of(reason);
    pending.values().forEach(answer -> answer.completeExceptionally(new EOFException(reason)));
    pending.clear();
    socket.close();
  }

  /// Ends the connection. Programs inside go on, and another client may take over.
  @Override
  public void close() {
    if (socket.fd().isOpen()) {
      try {
        socket.shutdown();
      } catch (LinuxException | ClosedException e) {
        // It has ended by itself meanwhile, which is all that is wanted.
        return;
      }
    }
  }
}
