package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PrivateFile;
import dev.hyperfresh.relocation.RelocationRecord;
import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.databind.JsonNode;

/// Every replacement and every relocation that ended, newest first when read. Thread-safe: one
/// connection, one lock.
///
/// The newest 100 000 of each are kept.
final class History implements Consumer<Event>, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(History.class);
  private static final int MOST_ROWS = 100_000;

  /// What hypervisors say is part of it. In characters.
  private static final int LONGEST_DETAIL = 4000;

  private final Connection connection;
  private final int mostRows;

  private History(Connection connection, int mostRows) {
    this.connection = connection;
    this.mostRows = mostRows;
  }

  static History open(Path file) {
    return open(file, MOST_ROWS);
  }

  /// As the other one, which keeps another number of replacements.
  static History open(Path file, int mostRows) {
    try {
      // SQLite gives its other files the mode of this one.
      Connection connection = DriverManager.getConnection("jdbc:sqlite:" + PrivateFile.at(file));
      try (Statement statement = connection.createStatement()) {
        statement.execute("PRAGMA journal_mode=WAL");
        for (Kind kind : Kind.values()) {
          statement.execute(
              "CREATE TABLE IF NOT EXISTS "
                  + kind.table()
                  + " (id TEXT PRIMARY KEY, started_micros INTEGER NOT NULL, "
                  + kind.subject()
                  + " TEXT NOT NULL, outcome TEXT NOT NULL, record TEXT NOT NULL)");
          statement.execute(
              "CREATE INDEX IF NOT EXISTS "
                  + kind.table()
                  + "_by_"
                  + kind.subject()
                  + " ON "
                  + kind.table()
                  + " ("
                  + kind.subject()
                  + ", started_micros)");
        }
      }
      return new History(connection, mostRows);
    } catch (SQLException | IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be opened: " + e.getMessage(), e);
    }
  }

  /// What is kept.
  enum Kind {
    /// Of guests.
    REPLACEMENT("guest"),
    /// Of containers.
    RELOCATION("container");

    private final String subject;

    Kind(String subject) {
      this.subject = subject;
    }

    private String table() {
      return name().toLowerCase(Locale.ROOT);
    }

    /// The column of what was moved.
    private String subject() {
      return subject;
    }
  }

  /// Keeps what has come to its end. What became of a guest is told whether it could be written
  /// down or not.
  @Override
  public void accept(Event event) {
    try {
      switch (event) {
        case Event.GuestReplaced(var record) -> add(record);
        case Event.ContainerMoved(var record) -> add(record);
        default -> {}
      }
    } catch (HyperFreshException e) {
      LOG.warn("{} of {} is missing in the history", event.type(), event.subject(), e);
    }
  }

  void add(ReplacementRecord record) {
    add(
        Kind.REPLACEMENT,
        new Row(
            record.id(),
            record.startedAt(),
            record.guest(),
            record.outcome().label(),
            Views.replacement(record)));
  }

  void add(RelocationRecord record) {
    long micros = ChronoUnit.MICROS.between(Instant.EPOCH, record.startedAt());
    add(
        Kind.RELOCATION,
        new Row(
            record.container() + "-" + Long.toString(micros, 36),
            record.startedAt(),
            record.container(),
            record.outcome(),
            Views.relocation(record)));
  }

  private record Row(
      String id,
      Instant startedAt,
      String subject,
      String outcome,
      Map<String, ? extends @Nullable Object> record) {
    /// Bounded in length.
    String json() {
      Map<String, @Nullable Object> bounded = new LinkedHashMap<>(record);
      if (bounded.get("detail") instanceof String detail && detail.length() > LONGEST_DETAIL) {
        bounded.put("detail", detail.substring(0, LONGEST_DETAIL) + "…");
      }
      return Api.JSON.writeValueAsString(bounded);
    }
  }

  private synchronized void add(Kind kind, Row row) {
    String sql =
        "INSERT INTO "
            + kind.table()
            + " (id, started_micros, "
            + kind.subject()
            + ", outcome, record) VALUES (?, ?, ?, ?, ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, row.id());
      statement.setLong(2, ChronoUnit.MICROS.between(Instant.EPOCH, row.startedAt()));
      statement.setString(3, row.subject());
      statement.setString(4, row.outcome());
      statement.setString(5, row.json());
      statement.executeUpdate();
      forget(kind);
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The history cannot be written: " + e.getMessage(), e);
    }
  }

  private void forget(Kind kind) throws SQLException {
    String sql =
        "DELETE FROM "
            + kind.table()
            + " WHERE rowid <= (SELECT rowid FROM "
            + kind.table()
            + " ORDER BY rowid DESC LIMIT 1 OFFSET ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setInt(1, mostRows);
      statement.executeUpdate();
    }
  }

  /// The newest `limit` of a kind, of one guest or container if one is named.
  synchronized List<JsonNode> read(Kind kind, Optional<String> subject, int limit) {
    String sql =
        "SELECT record FROM "
            + kind.table()
            + " WHERE ? = '' OR "
            + kind.subject()
            + " = ? ORDER BY started_micros DESC LIMIT ?";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, subject.orElse(""));
      statement.setString(2, subject.orElse(""));
      statement.setInt(3, limit);
      List<JsonNode> records = new ArrayList<>();
      try (ResultSet rows = statement.executeQuery()) {
        while (rows.next()) {
          records.add(Api.JSON.readTree(rows.getString(1)));
        }
      }
      return records;
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The history cannot be read: " + e.getMessage(), e);
    }
  }

  @Override
  public synchronized void close() {
    try {
      connection.close();
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The history cannot be closed: " + e.getMessage(), e);
    }
  }
}
