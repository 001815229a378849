package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.util.concurrent.TimeoutException;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.Test;

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
}
