package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PrivateFile;
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

/// Who changed what, or was refused; newest first when read. Thread-safe: one connection, one lock.
///
/// The newest 100 000 rows are kept, and of those that were refused the newest 10 000: nobody can
/// push out what others did by asking for what they may not.
final class Audit implements AutoCloseable {
  private static final int MOST_DONE = 100_000;
  private static final int MOST_REFUSED = 10_000;
  private static final int LONGEST_TEXT = 300;

  /// An action.
  ///
  /// @param user its name, or its number again
  /// @param role at that time, or `none`
  /// @param what method and path
  /// @param object the guest or release it was about, or empty
  /// @param outcome `ok`, or the code of the problem
  /// @param detail of the problem, or empty
  record Row(
      Instant at,
      double durationMs,
      int uid,
      String user,
      int pid,
      String role,
      String what,
      String object,
      String outcome,
      String detail) {
    boolean refused() {
      return isRefusal(outcome);
    }
  }

  /// Whether an outcome is that of a request that reached no handler because of who sent it or how
  /// its path was spelled.
  static boolean isRefusal(String outcome) {
    return outcome.equals(Problem.API_ROLE.code()) || outcome.equals(Problem.API_PATH.code());
  }

  private final Connection connection;
  private final int mostDone;
  private final int mostRefused;

  private Audit(Connection connection, int mostDone, int mostRefused) {
    this.connection = connection;
    this.mostDone = mostDone;
    this.mostRefused = mostRefused;
  }

  /// Uses the database `file`, beside whatever else is in it.
  static Audit open(Path file) {
    return open(file, MOST_DONE, MOST_REFUSED);
  }

  /// As the other one, which keeps other numbers of rows.
  static Audit open(Path file, int mostDone, int mostRefused) {
    try {
      Connection connection = DriverManager.getConnection("jdbc:sqlite:" + PrivateFile.at(file));
      try (Statement statement = connection.createStatement()) {
        statement.execute("PRAGMA journal_mode=WAL");
        // The history writes into the same file.
        statement.execute("PRAGMA busy_timeout=10000");
        statement.execute(
            "CREATE TABLE IF NOT EXISTS audit ("
                + "id INTEGER PRIMARY KEY AUTOINCREMENT, at_micros INTEGER NOT NULL,"
                + " duration_micros INTEGER NOT NULL, uid INTEGER NOT NULL, user TEXT NOT NULL,"
                + " pid INTEGER NOT NULL, role TEXT NOT NULL, what TEXT NOT NULL,"
                + " object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,"
                + " refused INTEGER NOT NULL)");
        statement.execute("CREATE INDEX IF NOT EXISTS audit_by_refused ON audit (refused, id)");
      }
      return new Audit(connection, mostDone, mostRefused);
    } catch (SQLException | IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be opened: " + e.getMessage(), e);
    }
  }

  synchronized void add(Row row) {
    String sql =
        "INSERT INTO audit (at_micros, duration_micros, uid, user, pid, role, what, object, outcome,"
            + " detail, refused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setLong(1, ChronoUnit.MICROS.between(Instant.EPOCH, row.at()));
      statement.setLong(2, Math.round(row.durationMs() * 1000));
      statement.setLong(3, Integer.toUnsignedLong(row.uid()));
      statement.setString(4, row.user());
      statement.setInt(5, row.pid());
      statement.setString(6, row.role());
      statement.setString(7, text(row.what()));
      statement.setString(8, text(row.object()));
      statement.setString(9, row.outcome());
      statement.setString(10, text(row.detail()));
      statement.setBoolean(11, row.refused());
      statement.executeUpdate();
      forget(row.refused());
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The audit cannot be written: " + e.getMessage(), e);
    }
  }

  /// What a client sent is shown to others later: no control characters, and an end.
  private static String text(String sent) {
    String plain = sent.replaceAll("\\p{Cntrl}", "?");
    return plain.length() > LONGEST_TEXT ? plain.substring(0, LONGEST_TEXT) + "…" : plain;
  }

  private void forget(boolean refused) throws SQLException {
    String sql =
        "DELETE FROM audit WHERE refused = ? AND id <="
            + " (SELECT id FROM audit WHERE refused = ? ORDER BY id DESC LIMIT 1 OFFSET ?)";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setBoolean(1, refused);
      statement.setBoolean(2, refused);
      statement.setInt(3, refused ? mostRefused : mostDone);
      statement.executeUpdate();
    }
  }

  /// The newest `limit` rows.
  synchronized List<Map<String, Object>> read(int limit) {
    String sql = "SELECT * FROM audit ORDER BY id DESC LIMIT ?";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setInt(1, limit);
      List<Map<String, Object>> all = new ArrayList<>();
      try (ResultSet rows = statement.executeQuery()) {
        while (rows.next()) {
          all.add(view(rows));
        }
      }
      return all;
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The audit cannot be read: " + e.getMessage(), e);
    }
  }

  private static Map<String, Object> view(ResultSet row) throws SQLException {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("at", Instant.EPOCH.plus(row.getLong("at_micros"), ChronoUnit.MICROS).toString());
    json.put("duration_ms", row.getLong("duration_micros") / 1e3);
    json.put("uid", row.getLong("uid"));
    json.put("user", row.getString("user"));
    json.put("pid", row.getInt("pid"));
    json.put("role", row.getString("role"));
    json.put("what", row.getString("what"));
    json.put("object", row.getString("object"));
    json.put("outcome", row.getString("outcome"));
    json.put("detail", row.getString("detail"));
    return json;
  }

  @Override
  public synchronized void close() {
    try {
      connection.close();
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because("The audit cannot be closed: " + e.getMessage(), e);
    }
  }
}
