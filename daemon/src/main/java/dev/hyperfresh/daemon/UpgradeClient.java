package dev.hyperfresh.daemon;

import dev.hyperfresh.daemon.UpgradeFrame.Word;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The new daemon's side of an upgrade; [UpgradeFrame] shows the conversation.
final class UpgradeClient {
  /// More than any host has.
  static final int MAX_GUESTS = 10_000;

  private static final Logger LOG = LoggerFactory.getLogger(UpgradeClient.class);

  /// Longer than the old daemon waits for what is in flight.
  private static final Duration PATIENCE = Duration.ofSeconds(150);

  private static final Duration DYING = Duration.ofSeconds(2);

  private UpgradeClient() {}

  /// Returns when the old daemon has let go of everything, or has died over it, or when there is
  /// none. Which of these it was, the lock of the state directory tells.
  ///
  /// @return what it held of each guest, as far as it came; the caller owns it
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_UPGRADE] when it keeps
  ///   everything, and goes on
  static Map<String, Holdings> takeOver(Path path) {
    Map<String, Holdings> guests = new LinkedHashMap<>();
    try (UnixSocket old = UnixSocket.connect(path)) {
      converse(old, guests);
    } catch (LinuxException nobody) {
      LOG.info("there is no daemon to take over from: {}", nobody.getMessage());
    } catch (HyperFreshException refused) {
      close(guests);
      throw refused;
    }
    return guests;
  }

  private static void converse(UnixSocket old, Map<String, Holdings> guests) {
    try {
      old.receiveTimeout(PATIENCE);
      new UpgradeFrame(Word.HELLO, UpgradeFrame.VERSION).send(old);
      receive(old, guests);
      new UpgradeFrame(Word.HELD, Integer.toString(guests.size())).send(old);
      UpgradeFrame.receive(old).require(Word.YOURS);
    } catch (IOException | LinuxException e) {
      LOG.warn("the old daemon ended the upgrade: {}", e.getMessage());
      awaitEnd(old.peer().pid());
    }
  }

  /// A process that dies closes its connection before it lets go of its lock.
  private static void awaitEnd(int pid) {
    try (PidFd process = PidFd.open(pid)) {
      process.awaitExit(DYING);
    } catch (LinuxException gone) {
      LOG.debug("process {} is gone", pid, gone);
    }
  }

  private static void receive(UnixSocket old, Map<String, Holdings> guests) throws IOException {
    int count = UpgradeFrame.receive(old).require(Word.GUESTS).number(MAX_GUESTS);
    for (int i = 0; i < count; i++) {
      UpgradeFrame guest = UpgradeFrame.receive(old).require(Word.GUEST);
      guests.put(guest.guest(), guest.holdings());
    }
  }

  /// Lets go of what was received.
  static void close(Map<String, Holdings> guests) {
    guests.values().forEach(Holdings::close);
  }
}
