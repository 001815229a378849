package dev.hyperfresh.daemon;

import dev.hyperfresh.daemon.UpgradeFrame.Word;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The old daemon's side of an upgrade; [UpgradeFrame] shows the conversation. One thread, one
/// connection at a time.
final class UpgradeServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(UpgradeServer.class);

  /// How long a new daemon may take for its part.
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /// Longer than any single replacement takes.
  private static final Duration IN_FLIGHT = Duration.ofMinutes(2);

  private final Path path;
  private final Giver giver;
  private final UnixSocket listener;
  private final Thread thread;
  private volatile boolean closed;

  /// What the daemon does for it.
  interface Giver {
    /// Takes no new work and waits for the rest.
    ///
    /// @return false when that did not end within `limit`; work goes on then
    boolean halt(Duration limit);

    /// Takes work again.
    void goOn();

    /// What this daemon holds of each guest; still owned by it.
    Map<String, Holdings> holdings();

    /// Stops serving, lets go of guests and directory.
    ///
    /// @param successor the process of the new daemon
    void giveAway(int successor);

    /// All is given away and the new daemon knows it.
    void given();
  }

  private UpgradeServer(Path path, Giver giver, UnixSocket listener) {
    this.path = path;
    this.giver = giver;
    this.listener = listener;
    this.thread = Thread.ofPlatform().name("hf-upgrade").daemon().unstarted(this::serve);
  }

  /// Listens on `path` from now on.
  static UpgradeServer start(Path path, Giver giver) {
    try {
      Files.deleteIfExists(path);
      UpgradeServer server = new UpgradeServer(path, giver, UnixSocket.listen(path, 0600));
      server.thread.start();
      return server;
    } catch (IOException | LinuxException e) {
      throw Problem.DAEMON_STATE.because(path + ": " + e.getMessage(), e);
    }
  }

  private void serve() {
    while (!closed) {
      try (UnixSocket client = listener.accept()) {
        converse(client);
      } catch (LinuxException | ClosedException e) {
        if (!closed) {
          LOG.warn("an upgrade failed: {}", e.getMessage());
        }
      }
    }
  }

  private void converse(UnixSocket client) {
    UnixSocket.Credentials peer = client.peer();
    if (peer.uid() != 0 && peer.uid() != Host.effectiveUid()) {
      LOG.warn("user {} may not upgrade this daemon", peer.uid());
      return;
    }
    boolean halted = false;
    try {
      client.receiveTimeout(PATIENCE);
      String version = UpgradeFrame.receive(client).require(Word.HELLO).text();
      if (!version.equals(UpgradeFrame.VERSION)) {
        refuse(client, "It speaks version " + UpgradeFrame.VERSION + " and not " + version + ".");
        return;
      }
      LOG.info("process {} asks to take over; no new work is accepted", peer.pid());
      halted = giver.halt(IN_FLIGHT);
      if (!halted) {
        refuse(client, "Replacements or guests in recovery did not end in time.");
        return;
      }
      send(client);
      halted = false;
      giver.giveAway(peer.pid());
      closed = true;
      new UpgradeFrame(Word.YOURS, UpgradeFrame.VERSION).send(client);
    } catch (IOException | LinuxException e) {
      LOG.warn("an upgrade failed: {}", e.getMessage());
    } finally {
      if (halted) {
        giver.goOn();
      }
      if (closed) {
        giver.given();
      }
    }
  }

  private static void refuse(UnixSocket client, String why) {
    LOG.warn("an upgrade was refused: {}", why);
    new UpgradeFrame(Word.REFUSED, why).send(client);
  }

  /// Returns when the new daemon holds everything.
  private void send(UnixSocket client) throws IOException {
    Map<String, Holdings> guests = giver.holdings();
    new UpgradeFrame(Word.GUESTS, Integer.toString(guests.size())).send(client);
    guests.forEach((name, held) -> UpgradeFrame.guest(name, held).send(client));
    int count = UpgradeFrame.receive(client).require(Word.HELD).number(UpgradeClient.MAX_GUESTS);
    if (count != guests.size()) {
      throw new IOException("the new daemon holds " + count + " of " + guests.size() + " guests");
    }
  }

  @Override
  public void close() {
    closed = true;
    if (Thread.currentThread().equals(thread)) {
      listener.close();
      remove();
      return;
    }
    try {
      listener.shutdown();
      thread.join();
    } catch (LinuxException | ClosedException e) {
      LOG.debug("nothing listened on {}", path, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (listener.fd().isOpen()) {
      listener.close();
      remove();
    }
  }

  private void remove() {
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      LOG.warn("{} cannot be removed", path, e);
    }
  }
}
