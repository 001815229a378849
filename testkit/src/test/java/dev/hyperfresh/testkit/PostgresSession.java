package dev.hyperfresh.testkit;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/// One session with a PostgreSQL that asks for no password: its protocol 3.0, as far as questions
/// and answers in text go.
final class PostgresSession implements AutoCloseable {
  private static final int PORT = 5432;
  private static final int PROTOCOL = 3 << 16;
  private static final int MOST_BYTES = 1 << 20;
  private static final long PAUSE_NANOS = 200_000_000;

  private final Socket socket;
  private final DataInputStream in;
  private final DataOutputStream out;

  private record Message(char kind, String body) {}

  private PostgresSession(Socket socket) throws IOException {
    this.socket = socket;
    this.in = new DataInputStream(socket.getInputStream());
    this.out = new DataOutputStream(socket.getOutputStream());
  }

  /// Begins a session, waiting until the server takes one.
  static PostgresSession open(String host, Duration patience) throws IOException {
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      PostgresSession session = new PostgresSession(OneConnection.connect(host, PORT, patience));
      try {
        session.begin();
        return session;
      } catch (IOException e) {
        session.socket.close();
        if (System.nanoTime() > deadline) {
          throw e;
        }
        LockSupport.parkNanos(PAUSE_NANOS);
      }
    }
  }

  private void begin() throws IOException {
    byte[] parameters = "user\0postgres\0database\0postgres\0\0".getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream message = new DataOutputStream(bytes);
    message.writeInt(parameters.length + 8);
    message.writeInt(PROTOCOL);
    message.write(parameters);
    out.write(bytes.toByteArray());
    List<String> _ = answer();
  }

  /// Has statements executed.
  ///
  /// @return the first column of all rows
  /// @throws IOException with what the server said when it refuses
  List<String> ask(String statements) throws IOException {
    byte[] text = (statements + "\0").getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream message = new DataOutputStream(bytes);
    message.write('Q');
    message.writeInt(text.length + 4);
    message.write(text);
    out.write(bytes.toByteArray());
    return answer();
  }

  private List<String> answer() throws IOException {
    List<String> rows = new ArrayList<>();
    String error = "";
    while (true) {
      Message message = next();
      switch (message.kind()) {
        case 'D' -> rows.add(firstColumn(message.body()));
        case 'E' -> error = message.body().replace('\0', ' ').strip();
        case 'Z' -> {
          if (!error.isEmpty()) {
            throw new IOException(error);
          }
          return rows;
        }
        default -> {
          // Of no interest here.
        }
      }
    }
  }

  private Message next() throws IOException {
    char kind = (char) in.readUnsignedByte();
    int length = in.readInt() - 4;
    if (length < 0 || length > MOST_BYTES) {
      throw new IOException("a message of " + length + " bytes");
    }
    // One character a byte, as there are numbers in it.
    return new Message(kind, new String(in.readNBytes(length), StandardCharsets.ISO_8859_1));
  }

  /// After the number of columns, and its own length.
  private static String firstColumn(String row) {
    int length = 0;
    for (char digit : row.substring(2, 6).toCharArray()) {
      length = length << 8 | digit;
    }
    return length < 0 ? "null" : row.substring(6, 6 + length);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
