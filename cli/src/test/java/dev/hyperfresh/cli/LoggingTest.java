package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeoutException;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LoggingTest {
  private static final class Trouble extends RuntimeException {
    private static final long serialVersionUID = 1;

    Trouble(String message, Throwable cause) {
      super(message, cause);
    }
  }

  private static String line(Throwable thrown) {
    LogRecord entry = new LogRecord(Level.WARNING, "web1 left something");
    entry.setThrown(thrown);
    return new Logging.Lines().format(entry).replaceFirst("^[^ ]+ ", "");
  }

  @Test
  void troublesAreALine() {
    assertThat(line(new Trouble("OS os1 does not answer", new TimeoutException())))
        .isEqualTo(
            "WARNING web1 left something: OS os1 does not answer: TimeoutException"
                + System.lineSeparator());
    assertThat(line(Problem.DAEMON_STATE.because("x.json", new IOException("x.json"))))
        .isEqualTo("WARNING web1 left something: x.json" + System.lineSeparator());
    assertThat(line(new IOException("first\n  second"))).contains(": first / second");
  }

  @Test
  void defectsShowWhereTheyAre() {
    assertThat(line(new IllegalStateException("odd"))).contains("LoggingTest.java:");
    assertThat(line(new IOException("odd", new IllegalStateException("deeper"))))
        .contains("LoggingTest.java:");
  }

  @ParameterizedTest
  @CsvSource({"SEVERE, 3", "WARNING, 4", "INFO, 6", "FINE, 7"})
  void theJournalGetsTheGravityOfEachEntryAndNoTime(String level, int gravity) {
    LogRecord entry = new LogRecord(Level.parse(level), "web1 left something");

    assertThat(new Logging.Entries().format(entry))
        .isEqualTo("<" + gravity + ">web1 left something" + System.lineSeparator());
  }

  @Test
  void everyLineOfAStackHasTheGravityOfItsEntry() {
    LogRecord entry = new LogRecord(Level.WARNING, "odd");
    entry.setThrown(new IllegalStateException("odd"));

    assertThat(new Logging.Entries().format(entry).lines())
        .hasSizeGreaterThan(2)
        .allMatch(line -> line.startsWith("<4>"));
  }

  @Test
  void onlyTheStreamThatTheJournalNamesIsIts(@TempDir Path folder) throws Exception {
    Path stream = Files.createFile(folder.resolve("stream"));
    Path other = Files.createFile(folder.resolve("other"));
    String name =
        Files.getAttribute(stream, "unix:dev") + ":" + Files.getAttribute(stream, "unix:ino");

    assertThat(Logging.isJournal(name, stream)).isTrue();
    assertThat(Logging.isJournal(name, other)).isFalse();
    assertThat(Logging.isJournal(name, folder.resolve("closed"))).isFalse();
    assertThat(Logging.isJournal(null, stream)).isFalse();
  }
}
