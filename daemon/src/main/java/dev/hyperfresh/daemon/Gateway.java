package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The socket that clients connect to. It asks the kernel who a client is, tells the web server
/// behind it, and carries bytes between the two without looking at them.
///
/// Descriptors that a client sends along are dropped by the kernel, since bytes are read as of a
/// file. Each connection has two threads, so their number is bounded for each user and in all; root
/// and the daemon's own user always get one more. A client that is slow to ask or to read loses its
/// connection, so that none holds its threads for ever.
final class Gateway implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Gateway.class);
  private static final int MOST = 512;
  private static final int MOST_OF_A_USER = 128;
  private static final int MOST_OF_A_STRANGER = 8;
  private static final int ALWAYS = Integer.MAX_VALUE;
  private static final int CHUNK_BYTES = 16 << 10;
  private static final Duration FOR_EVER = Duration.ofSeconds(Long.MAX_VALUE);
  private static final long RETRY_NANOS = 10_000_000;

  /// How long a client may take.
  ///
  /// @param asking from its connection, or its last answer, to the end of its next request; up to
  ///   twice as long when a request was answered before
  /// @param reading until it has taken something of an answer for which there is no more room
  record Patience(Duration asking, Duration reading) {
    /// More than any client needs that works.
    static final Patience ORDINARY = new Patience(Duration.ofSeconds(30), Duration.ofSeconds(10));
  }

  /// How long a client may take to read the last of its answer.
  private static final long CARRY_NANOS = 500_000_000;

  private final UnixSocket listener;
  private final Path server;
  private final Roles roles;
  private final Patience patience;
  private final AtomicLong lastNumber = new AtomicLong();
  private final UserQuota ofUsers = new UserQuota();
  private final AtomicInteger connections = new AtomicInteger();

  /// By their numbers.
  private final Map<Long, Connection> open = new ConcurrentHashMap<>();

  private final Thread thread;
  private volatile boolean closing;

  private Gateway(UnixSocket listener, Path server, Roles roles, Patience patience) {
    this.patience = patience;
    this.listener = listener;
    this.server = server;
    this.roles = roles;
    this.thread = Thread.ofPlatform().name("hf-api").daemon().unstarted(this::accept);
  }

  /// Listens on `socket` for the web server that listens on `server`; clients wait until [#start].
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static Gateway open(Path socket, Path server, Roles roles, Patience patience) {
    try {
      Files.deleteIfExists(socket);
      // Who may connect is not who may ask: that is decided by who they are.
      return new Gateway(
          UnixSocket.listen(socket, roles.nameOthers() ? 0666 : 0600), server, roles, patience);
    } catch (IOException | LinuxException e) {
      throw Problem.DAEMON_STATE.because(socket + ": " + e.getMessage(), e);
    }
  }

  /// Accepts clients from now on.
  void start() {
    thread.start();
  }

  private void accept() {
    while (!closing) {
      try {
        admit(listener.accept());
      } catch (LinuxException e) {
        if (!closing) {
          LOG.warn("a client could not be accepted", e);
          // Out of descriptors, most likely: one that is closed meanwhile makes room.
          LockSupport.parkNanos(RETRY_NANOS);
        }
      }
    }
  }

  private void admit(UnixSocket client) {
    try {
      Caller caller =
          Caller.of(client.peer(), client.peerGroups(), roles, lastNumber.incrementAndGet());
      Optional<UserQuota.Share> share = enter(caller);
      if (share.isEmpty()) {
        client.close();
        return;
      }
      begin(caller, share.get(), client);
    } catch (LinuxException e) {
      LOG.debug("a client went away at once", e);
      client.close();
    }
  }

  private void begin(Caller caller, UserQuota.Share share, UnixSocket client) {
    UnixSocket inner;
    try {
      client.sendTimeout(patience.reading());
      inner = UnixSocket.connect(server);
    } catch (LinuxException e) {
      leave(share);
      throw e;
    }
    Connection connection = new Connection(caller, share, client, inner);
    open.put(caller.connection(), connection);
    connection.start();
  }

  /// A place for one more connection of a client, if there is one.
  private Optional<UserQuota.Share> enter(Caller caller) {
    boolean ours = caller.uid() == 0 || caller.uid() == Host.effectiveUid();
    Optional<UserQuota.Share> share = ofUsers.take(caller.uid(), ours ? ALWAYS : most(caller));
    if (share.isPresent() && connections.incrementAndGet() > MOST && !ours) {
      leave(share.get());
      return Optional.empty();
    }
    return share;
  }

  private static int most(Caller caller) {
    return caller.role().isPresent() ? MOST_OF_A_USER : MOST_OF_A_STRANGER;
  }

  private void leave(UserQuota.Share share) {
    connections.decrementAndGet();
    share.close();
  }

  /// A client does not bring its request to an end in time.
  private static final class SlowClientException extends RuntimeException {
    private static final long serialVersionUID = 1;

    SlowClientException() {
      super("the client takes too long for its request");
    }
  }

  /// One client and its connection to the web server. Each direction has a thread.
  private final class Connection {
    private final Caller caller;
    private final UserQuota.Share share;
    private final UnixSocket client;
    private final UnixSocket inner;
    private final AtomicInteger ended = new AtomicInteger();
    private final Set<Runnable> watches = new HashSet<>();
    private boolean gone;

    /// Since when a request is awaited, by the system's clock; 0 while one is served.
    private volatile long askedSince = System.nanoTime();

    Connection(Caller caller, UserQuota.Share share, UnixSocket client, UnixSocket inner) {
      this.caller = caller;
      this.share = share;
      this.client = client;
      this.inner = inner;
    }

    void start() {
      Thread.ofPlatform().name("hf-api-in").daemon().start(() -> run(this::requests));
      Thread.ofPlatform().name("hf-api-out").daemon().start(() -> run(this::answers));
    }

    private void run(Runnable direction) {
      try {
        direction.run();
      } catch (LinuxException | ClosedException | SlowClientException e) {
        LOG.debug("a connection was cut off", e);
        end();
      } finally {
        if (ended.incrementAndGet() == 2) {
          client.close();
          inner.close();
          forget(caller.connection());
          gone();
          leave(share);
        }
      }
    }

    /// A client that sends no more still waits for the answer, unless it receives no more either.
    private void requests() {
      inner.send(caller.header());
      byte[] chunk = new byte[CHUNK_BYTES];
      for (int got = ask(chunk); got >= 0; got = ask(chunk)) {
        inner.send(got == chunk.length ? chunk : Arrays.copyOf(chunk, got));
      }
      inner.shutdownOutput();
      client.fd().awaitHangUp(FOR_EVER);
      gone();
    }

    /// The next bytes of a request.
    ///
    /// @return their number, or -1 when none come any more
    private int ask(byte[] chunk) {
      Duration left = left();
      while (!client.fd().pollReadable(left)) {
        left = left();
      }
      return client.fd().read(chunk, 0, chunk.length);
    }

    private Duration left() {
      long since = askedSince;
      if (since == 0) {
        return patience.asking();
      }
      Duration left = patience.asking().minusNanos(System.nanoTime() - since);
      if (!left.isPositive()) {
        throw new SlowClientException();
      }
      return left;
    }

    /// Whoever watches hears of it once.
    private synchronized void gone() {
      gone = true;
      watches.forEach(Runnable::run);
      watches.clear();
    }

    private synchronized Watch watch(Runnable left) {
      if (gone) {
        left.run();
      } else {
        watches.add(left);
      }
      return () -> unwatch(left);
    }

    private synchronized void unwatch(Runnable left) {
      watches.remove(left);
    }

    private void answers() {
      copy(inner, client);
      end();
    }

    void endAfterAnswers() {
      try {
        inner.shutdownInput();
      } catch (LinuxException | ClosedException e) {
        LOG.debug("a connection had ended", e);
      }
    }

    void end() {
      for (UnixSocket side : new UnixSocket[] {client, inner}) {
        try {
          side.shutdown();
        } catch (LinuxException | ClosedException e) {
          LOG.debug("a connection had ended", e);
        }
      }
    }
  }

  private static void copy(UnixSocket from, UnixSocket to) {
    Fd source = from.fd();
    byte[] chunk = new byte[CHUNK_BYTES];
    for (int got = source.read(chunk, 0, chunk.length);
        got >= 0;
        got = source.read(chunk, 0, chunk.length)) {
      to.send(got == chunk.length ? chunk : Arrays.copyOf(chunk, got));
    }
  }

  /// One look-out for a client's end.
  interface Watch extends AutoCloseable {
    /// What was to be called is not called any more when this returns.
    @Override
    void close();
  }

  /// Calls `left`, once, when the client of a connection has gone. It must not block.
  Watch watch(long connection, Runnable left) {
    Connection found = open.get(connection);
    if (found == null) {
      left.run();
      return () -> {};
    }
    return found.watch(left);
  }

  /// The request of a connection has come to its end, and is served from now on.
  void asked(long connection) {
    Connection found = open.get(connection);
    if (found != null) {
      found.askedSince = 0;
    }
  }

  /// A connection has been answered, and its client may ask again.
  void answered(long connection) {
    Connection found = open.get(connection);
    if (found != null) {
      found.askedSince = System.nanoTime() | 1;
    }
  }

  /// Takes no new clients. Those that are connected are served on until [#close].
  void refuse() {
    closing = true;
    listener.shutdown();
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    listener.close();
  }

  /// Carries what the server has answered to clients that read it, and ends their connections. Call
  /// [#refuse] first.
  @Override
  public void close() {
    open.values().forEach(Connection::endAfterAnswers);
    awaitAllEnded(CARRY_NANOS);
    open.values().forEach(Connection::end);
  }

  private void forget(long connection) {
    open.remove(connection);
    synchronized (open) {
      open.notifyAll();
    }
  }

  private void awaitAllEnded(long nanos) {
    long deadline = System.nanoTime() + nanos;
    synchronized (open) {
      try {
        for (long left = nanos; !open.isEmpty() && left > 0; left = deadline - System.nanoTime()) {
          TimeUnit.NANOSECONDS.timedWait(open, left);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
