package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// One message between two daemons: a word, a text, and descriptors. Every message has 256 bytes,
/// so that descriptors and text cannot come apart, and nobody can make the other side wait for
/// more.
///
/// ```
///  new daemon                                old daemon
///  HELLO version ─────────────────────────▶ takes no new work, waits for what is in flight
///        ◀───────────────────────────────── GUESTS count           or REFUSED why
///        ◀───────────────────────────────── GUEST name + memory, ports      (count times)
///  HELD count ────────────────────────────▶ stops serving, lets go of guests and directory
///        ◀───────────────────────────────── YOURS
///  takes lock, guests and socket             exits with 0
/// ```
///
/// The name of a guest with several memories has their number behind it.
///
/// Until HELD the old daemon goes on when the connection ends; from then on the guests are the new
/// one's, or anybody's who takes the lock.
///
/// @param word what it is
/// @param text at most [#MAX_TEXT] bytes
/// @param descriptors owned by whoever received them
record UpgradeFrame(Word word, String text, List<Fd> descriptors) {
  /// The version of the protocol.
  static final String VERSION = "1";

  static final int MAX_TEXT = 240;
  private static final int BYTES = 256;

  /// What a message is.
  enum Word {
    HELLO,
    REFUSED,
    GUESTS,
    GUEST,
    HELD,
    YOURS
  }

  UpgradeFrame(Word word, String text) {
    this(word, text, List.of());
  }

  /// What a daemon holds of guest `name`; all of it stays its own.
  static UpgradeFrame guest(String name, Holdings held) {
    int memories = held.memories().size();
    List<Fd> descriptors = new ArrayList<>(held.memories());
    descriptors.addAll(held.nicQueues());
    return new UpgradeFrame(Word.GUEST, memories == 1 ? name : name + " " + memories, descriptors);
  }

  /// The name of the guest of a [#guest].
  String guest() {
    return text.split(" ", 2)[0];
  }

  /// What came of the guest of a [#guest].
  ///
  /// @throws IOException when its memory did not; nothing is left open then
  Holdings holdings() throws IOException {
    String[] words = text.split(" ", 2);
    String count = words.length == 1 ? "1" : words[1];
    int memories = count.matches("[0-9]{1,3}") ? Integer.parseInt(count) : 0;
    if (memories == 0 || memories > descriptors.size()) {
      descriptors.forEach(Fd::close);
      throw new IOException("the memory of " + words[0] + " was not handed over");
    }
    return new Holdings(
        descriptors.subList(0, memories), descriptors.subList(memories, descriptors.size()));
  }

  /// @throws dev.hyperfresh.linux.LinuxException when the other end is gone
  void send(UnixSocket socket) {
    byte[] message =
        Arrays.copyOf((word + " " + shortened()).getBytes(StandardCharsets.UTF_8), BYTES);
    socket.send(message, descriptors.toArray(Fd[]::new));
  }

  private String shortened() {
    String kept = text;
    while (kept.getBytes(StandardCharsets.UTF_8).length > MAX_TEXT) {
      kept = kept.substring(0, kept.length() - 1);
    }
    return kept;
  }

  /// Waits for a message, as long as the socket's receive timeout allows for each part of it.
  ///
  /// @throws IOException when the connection has ended or the message is none
  /// @throws dev.hyperfresh.linux.LinuxException when none comes in time
  static UpgradeFrame receive(UnixSocket socket) throws IOException {
    byte[] message = new byte[BYTES];
    List<Fd> descriptors = new ArrayList<>();
    try {
      int filled = 0;
      while (filled < BYTES) {
        byte[] part = new byte[BYTES - filled];
        int got = socket.receive(part, descriptors);
        if (got < 0) {
          throw new IOException("the other daemon ended the connection");
        }
        System.arraycopy(part, 0, message, filled, got);
        filled += got;
      }
      return parse(message, descriptors);
    } catch (IOException | RuntimeException e) {
      descriptors.forEach(Fd::close);
      throw e;
    }
  }

  private static UpgradeFrame parse(byte[] message, List<Fd> descriptors) throws IOException {
    String text = new String(message, StandardCharsets.UTF_8).replace("\0", "");
    String[] parts = text.split(" ", 2);
    for (Word word : Word.values()) {
      if (parts.length == 2 && word.name().equals(parts[0])) {
        return new UpgradeFrame(word, parts[1], List.copyOf(descriptors));
      }
    }
    throw new IOException("not a message of an upgrade: " + text.strip());
  }

  /// This message, if it is a `wanted` one.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_UPGRADE] when it is a
  ///   refusal
  /// @throws IOException when it is something else
  UpgradeFrame require(Word wanted) throws IOException {
    if (word == wanted) {
      return this;
    }
    descriptors.forEach(Fd::close);
    if (word == Word.REFUSED) {
      throw Problem.DAEMON_UPGRADE.because(text);
    }
    throw new IOException("expected " + wanted + " and got " + word);
  }

  /// The number that the text is.
  ///
  /// @throws IOException when it is none from 0 to `most`
  int number(int most) throws IOException {
    if (!text.matches("[0-9]{1,6}") || Integer.parseInt(text) > most) {
      throw new IOException("not a number up to " + most + ": " + text);
    }
    return Integer.parseInt(text);
  }
}
