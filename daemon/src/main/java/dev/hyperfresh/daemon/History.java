package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.PrivateFile;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.Problem;
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
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/// Every replacement that ended, newest first when read. Thread-safe: one connection, one lock.
///
/// The newest 100 000 are kept.
final class History implements AutoCloseable {
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
        statement.execute(
            "CREATE TABLE IF NOT EXISTS replacement ("
                + "id TEXT PRIMARY KEY, started_micros INTEGER NOT NULL, guest TEXT NOT NULL,"
                + " outcome TEXT NOT NULL, record TEXT NOT NULL)");
        statement.execute(
            "CREATE INDEX IF NOT EXISTS replacement_by_guest ON replacement (guest, started_micros)");
      }
      return new History(connection, mostRows);
    } catch (SQLException | IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be opened: " + e.getMessage(), e);
    }
  }

  synchronized void add(ReplacementRecord record) {
    String sql =
        "INSERT INTO replacement (id, started_micros, guest, outcome, record) VALUES (?, ?, ?, ?, ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, record.id());
      statement.setLong(2, ChronoUnit.MICROS.between(Instant.EPOCH, record.startedAt()));
      statement.setString(3, record.guest());
      statement.setString(4, record.outcome());
      statement.setString(5, Api.JSON.writeValueAsString(row(record)));
      statement.executeUpdate();
      forget();
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The history cannot be written: " + e.getMessage(), e);
    }
  }

  private static Map<String, @Nullable Object> row(ReplacementRecord record) {
    Map<String, @Nullable Object> row = new LinkedHashMap<>(Views.replacement(record));
    if (record.detail().length() > LONGEST_DETAIL) {
      row.put("detail", record.detail().substring(0, LONGEST_DETAIL) + "…");
    }
    return row;
  }

  private void forget() throws SQLException {
    String sql =
        "DELETE FROM replacement WHERE rowid <="
            + " (SELECT rowid FROM replacement ORDER BY rowid DESC LIMIT 1 OFFSET ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setInt(1, mostRows);
      statement.executeUpdate();
    }
  }

  /// The newest `limit` replacements, of one guest if one is named.
  synchronized List<JsonNode> read(Optional<String> guest, int limit) {
    String sql =
        "SELECT record FROM replacement WHERE ? = '' OR guest = ? ORDER BY started_micros DESC LIMIT ?";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, guest.orElse(""));
      statement.setString(2, guest.orElse(""));
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
