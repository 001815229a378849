package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.SharedFolder;
import dev.hyperfresh.linux.SharedFolder.Numbered;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The log of a container, in the files that `log.c` makes: read piece by piece, also while it is
/// written.
///
/// @param share the container's folder as its OS has it, in which that may put what it likes
public record ContainerLog(Path share) {
  private static final List<String> NEWEST_FIRST = List.of("log", "log.1", "log.2");
  private static final int MOST_BYTES = 1 << 20;
  private static final Pattern PLACE = Pattern.compile("([0-9]{1,18}):([0-9]{1,18})");

  /// A piece of it.
  ///
  /// @param text at most 1 MiB
  /// @param next where the next one begins, for [#after]
  public record Piece(String text, String next) {}

  /// The files that are there, newest first.
  private record Parts(List<Numbered> files) implements AutoCloseable {
    long inode(int i) {
      return files.get(i).inode();
    }

    FileChannel channel(int i) {
      return files.get(i).channel();
    }

    @Override
    public void close() throws IOException {
      for (Numbered file : files) {
        file.channel().close();
      }
    }
  }

  private interface Reading {
    Piece of(Parts parts) throws IOException;
  }

  /// The last of it.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Piece last() {
    return reading(parts ->
        parts.files().isEmpty()
            ? new Piece("", "0:0")
            : read(parts, 0, Math.max(0, parts.channel(0).size() - MOST_BYTES)));
  }

  /// What comes after an earlier piece. Of what is no longer there, nothing.
  ///
  /// @param place [Piece#next] of that
  /// @throws HyperFreshException [Problem#API_REQUEST] when it is no place, [Problem#DAEMON_STATE]
  public Piece after(String place) {
    Matcher words = PLACE.matcher(place);
    if (!words.matches()) {
      throw Problem.API_REQUEST.because("'" + place + "' is not a place in a log.");
    }
    long inode = Long.parseLong(words.group(1));
    long offset = Long.parseLong(words.group(2));
    return reading(parts -> {
      int count = parts.files().size();
      for (int i = 0; i < count; i++) {
        if (parts.inode(i) == inode) {
          return read(parts, i, offset);
        }
      }
      return count == 0 ? new Piece("", place) : read(parts, count - 1, 0);
    });
  }

  private Piece reading(Reading reading) {
    try (SharedFolder folder = SharedFolder.open(share);
        Parts parts = parts(folder)) {
      return reading.of(parts);
    } catch (IOException | LinuxException e) {
      throw Problem.DAEMON_STATE.because(share + "/log: " + e.getMessage(), e);
    }
  }

  private static Parts parts(SharedFolder folder) throws IOException {
    Parts found = new Parts(new ArrayList<>());
    try {
      for (String name : NEWEST_FIRST) {
        // One that has just got another name is found by that the next time.
        folder.numbered(name).ifPresent(found.files()::add);
      }
      return found;
    } catch (IOException e) {
      found.close();
      throw e;
    }
  }

  /// From an older file to newer ones.
  private static Piece read(Parts parts, int first, long offset) throws IOException {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    int i = first;
    long at = offset;
    while (true) {
      at += read(parts.channel(i), at, MOST_BYTES - text.size(), text);
      if (i == 0 || text.size() == MOST_BYTES) {
        break;
      }
      i--;
      at = 0;
    }
    byte[] bytes = text.toByteArray();
    int whole = wholeCharacters(bytes);
    at = Math.max(0, at - (bytes.length - whole));
    return new Piece(
        new String(bytes, 0, whole, StandardCharsets.UTF_8), parts.inode(i) + ":" + at);
  }

  private static int read(FileChannel file, long offset, int most, ByteArrayOutputStream into)
      throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(most);
    while (bytes.hasRemaining() && file.read(bytes, offset + bytes.position()) > 0) {
      // Until there is no more.
    }
    into.write(bytes.array(), 0, bytes.position());
    return bytes.position();
  }

  /// How many bytes there are without a character at the end of which only a part has come.
  private static int wholeCharacters(byte[] bytes) {
    for (int back = 1; back <= Math.min(3, bytes.length); back++) {
      int head = bytes[bytes.length - back] & 0xff;
      if (head >= 0xc0) {
        int length = head >= 0xf0 ? 4 : head >= 0xe0 ? 3 : 2;
        return back < length ? bytes.length - back : bytes.length;
      }
      if (head < 0x80) {
        break;
      }
    }
    return bytes.length;
  }
}
