package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Objects;
import java.util.concurrent.TimeoutException;
import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// What the daemon writes to standard error: one line an entry, and of libraries only warnings.
public final class Logging {
  // Fields, because the log manager would forget the levels with the loggers.
  private static final Logger LIBRARIES = Logger.getLogger("io.helidon");
  private static final Logger OURS = Logger.getLogger("dev.hyperfresh");
  private static final Logger ROOT = Logger.getLogger("");

  private static final Path STANDARD_ERROR = Path.of("/proc/self/fd/2");

  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS").withZone(ZoneId.systemDefault());

  private Logging() {}

  /// Sets the format and shows our own entries from `level` on.
  public static void plain(Level level) {
    Formatter form =
        isJournal(System.getenv("JOURNAL_STREAM"), STANDARD_ERROR) ? new Entries() : new Lines();
    for (Handler handler : ROOT.getHandlers()) {
      handler.setFormatter(form);
      handler.setLevel(Level.ALL);
    }
    LIBRARIES.setLevel(Level.WARNING);
    OURS.setLevel(level);
  }

  /// Whether a stream goes to the journal of systemd; see systemd.exec(5).
  ///
  /// @param journal device and inode of the journal's stream, as its variable has them
  static boolean isJournal(@Nullable String journal, Path stream) {
    try {
      return journal != null
          && journal.equals(
              Files.getAttribute(stream, "unix:dev")
                  + ":"
                  + Files.getAttribute(stream, "unix:ino"));
    } catch (IOException e) {
      // A stream that cannot be asked is closed, and nobody reads what is written to it.
      return false;
    }
  }

  /// For the journal: each line begins with its gravity, and the journal knows the time; see
  /// sd-daemon(3).
  static final class Entries extends Formatter {
    @Override
    public String format(LogRecord entry) {
      String gravity = "<" + gravity(entry.getLevel()) + ">";
      return text(this, entry)
          .lines()
          .map(line -> gravity + line + System.lineSeparator())
          .collect(Collectors.joining());
    }

    /// As syslog(3) counts them.
    private static int gravity(Level level) {
      if (level.intValue() >= Level.SEVERE.intValue()) {
        return 3;
      }
      if (level.intValue() >= Level.WARNING.intValue()) {
        return 4;
      }
      return level.intValue() >= Level.INFO.intValue() ? 6 : 7;
    }
  }

  /// Troubles of the world outside say in their message what they are; where the program was says
  /// nothing more. Of everything else the stack is shown, which tells of a defect.
  private static String text(Formatter form, LogRecord entry) {
    return form.formatMessage(entry) + (entry.getThrown() == null ? "" : why(entry.getThrown()));
  }

  private static String why(Throwable thrown) {
    return isOrdinary(thrown) ? ": " + message(thrown) : System.lineSeparator() + stack(thrown);
  }

  /// With all its causes.
  private static boolean isOrdinary(Throwable thrown) {
    boolean ordinary =
        switch (thrown) {
          case IOException _, TimeoutException _, InterruptedException _ -> true;
          // Those of this program are troubles by their kind.
          default -> thrown.getClass().getName().startsWith("dev.hyperfresh.");
        };
    return ordinary && (thrown.getCause() == null || isOrdinary(thrown.getCause()));
  }

  private static String message(Throwable thrown) {
    String text =
        thrown instanceof HyperFreshException known
            ? known.detail()
            : Objects.requireNonNullElse(thrown.getMessage(), thrown.getClass().getSimpleName());
    Throwable cause = thrown.getCause();
    String deeper = cause == null ? "" : message(cause);
    return (text.contains(deeper) ? text : text + ": " + deeper)
        .strip()
        .replaceAll("\\s*\\n\\s*", " / ");
  }

  private static String stack(Throwable thrown) {
    StringWriter text = new StringWriter();
    thrown.printStackTrace(new PrintWriter(text));
    return text.toString().stripTrailing();
  }

  /// For people.
  static final class Lines extends Formatter {
    @Override
    public String format(LogRecord entry) {
      return TIME.format(entry.getInstant())
          + " "
          + entry.getLevel().getName()
          + " "
          + text(this, entry)
          + System.lineSeparator();
    }
  }
}
