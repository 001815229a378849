package dev.hyperfresh.machine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ConsoleClientsTest {
  private static final byte[] CHUNK = "x".repeat(64 << 10).getBytes(StandardCharsets.US_ASCII);

  @TempDir Path folder;

  @Test
  void aGuestThatReadsNothingHoldsNobodyUp() throws Exception {
    Path log = Files.createFile(folder.resolve("console.log"));
    Path path = folder.resolve("con");
    try (Pipe typed = Pipe.open(64 << 10, "typed")) {
      ConsoleClients console =
          new ConsoleClients(
              UnixSocket.listen(path, 0600), log, Optional.of(typed.writeEnd().duplicate()));
      try (console;
          UnixSocket client = UnixSocket.connect(path)) {
        for (int i = 0; i < 10; i++) {
          client.send(CHUNK);
        }
        Files.writeString(log, "still here", StandardOpenOption.APPEND);
        assertThat(receive(client, "still here".length())).isEqualTo("still here");
      }
      byte[] taken = new byte[10];
      assertThat(typed.readEnd().read(taken, 0, 10)).as("what fitted is there").isEqualTo(10);
    }
  }

  @Test
  void aClientThatTakesNothingDoesNotKeepItOpen() throws Exception {
    Path log = Files.createFile(folder.resolve("console.log"));
    Path path = folder.resolve("con");
    ConsoleClients console =
        new ConsoleClients(UnixSocket.listen(path, 0600), log, Optional.empty());
    try (UnixSocket client = UnixSocket.connect(path)) {
      awaitShown(client, log);
      for (int i = 0; i < 50; i++) {
        Files.write(log, CHUNK, StandardOpenOption.APPEND);
      }
      console.close();
    }
  }

  @Test
  void aClientGoesOnWhenTheLogIsCut() throws Exception {
    Path log = Files.createFile(folder.resolve("console.log"));
    Path path = folder.resolve("con");
    for (int i = 0; i < 50; i++) {
      Files.write(log, CHUNK, StandardOpenOption.APPEND);
    }
    try (ConsoleClients _ =
            new ConsoleClients(UnixSocket.listen(path, 0600), log, Optional.empty());
        UnixSocket client = UnixSocket.connect(path)) {
      awaitShown(client, log);
      assertThat(new LogFile(log).cut()).isTrue();
      awaitShown(client, log);
    }
  }

  /// Returns when the client is shown what is printed. Nobody tells when the log is looked at.
  private static void awaitShown(UnixSocket client, Path log) throws Exception {
    do {
      Files.writeString(log, "!", StandardOpenOption.APPEND);
    } while (!client.fd().pollReadable(Duration.ofMillis(50)));
    while (client.fd().pollReadable(Duration.ofMillis(200))) {
      assertThat(receive(client, 1)).isEqualTo("!");
    }
  }

  private static String receive(UnixSocket client, int length) {
    StringBuilder text = new StringBuilder();
    byte[] buffer = new byte[length];
    client.receiveTimeout(Duration.ofSeconds(20));
    List<Fd> none = new ArrayList<>();
    while (text.length() < length) {
      int got = client.receive(buffer, none);
      assertThat(got).isPositive();
      text.append(new String(buffer, 0, got, StandardCharsets.US_ASCII));
    }
    return text.toString();
  }
}
