package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/// The shell on a Linux guest's serial console. A client that does not read what the guest says
/// stops the guest's console after some 270 characters, since QEMU then waits for it.
final class GuestShell {
  private static final AtomicInteger ASKED = new AtomicInteger();

  private GuestShell() {}

  /// What a command in the guest prints, without the command that the terminal repeats.
  ///
  /// @param console the socket of the console
  /// @param patience how long the guest may be silent
  static String said(Path console, String command, Duration patience) {
    int number = ASKED.incrementAndGet();
    String begin = "HF-BEGIN-" + number + "\n";
    String end = "HF-END-" + number + "\n";
    StringBuilder seen = new StringBuilder();
    try (UnixSocket terminal = UnixSocket.connect(console)) {
      // Quoted, so that what is typed is not taken for what is printed.
      String typed =
          "echo HF-''BEGIN-" + number + "; " + command + "; echo HF-''END-" + number + "\n";
      terminal.send(typed.getBytes(StandardCharsets.US_ASCII));
      read(terminal, end, patience, seen);
    }
    return seen.substring(seen.indexOf(begin) + begin.length(), seen.indexOf(end)).strip();
  }

  private static void read(UnixSocket terminal, String end, Duration patience, StringBuilder seen) {
    terminal.receiveTimeout(patience);
    byte[] bytes = new byte[4096];
    while (seen.indexOf(end) < 0) {
      int got;
      try {
        got = terminal.receive(bytes, new ArrayList<>());
      } catch (RuntimeException e) {
        throw new AssertionError("the guest says no more after: " + seen, e);
      }
      if (got < 0) {
        throw new AssertionError("the console ended after: " + seen);
      }
      seen.append(new String(bytes, 0, got, StandardCharsets.ISO_8859_1).replace("\r", ""));
    }
  }
}
