package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The log of a container, in the files that `log.c` makes: read piece by piece, also while it is
/// written.
///
/// @param home the container's folder
public record ContainerLog(Path home) {
  private static final List<String> NEWEST_FIRST = List.of("log", "log.1", "log.2");
  private static final int MOST_BYTES = 1 << 20;
  private static final Pattern PLACE = Pattern.compile("([0-9]{1,18}):([0-9]{1,18})");

  /// A piece of it.
  ///
  /// @param text at most 1 MiB
  /// @param next where the next one begins, for [#after]
  public record Piece(String text, String next) {}

  /// A file that is there, by its number, which it keeps when it is called otherwise.
  private record Part(Path path, long inode, long size) {}

  /// The last of it.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Piece last() {
    List<Part> parts = parts();
    if (parts.isEmpty()) {
      return new Piece("", "0:0");
    }
    return read(parts, 0, Math.max(0, parts.getFirst().size() - MOST_BYTES));
  }

  /// What comes after an earlier piece. Of what is no longer there, nothing.
  ///
  /// @param place [Piece#next] of that
  /// @throws HyperFreshException [Problem#API_REQUEST] when it is no place, [Problem#DAEMON_STATE]
  public Piece after(String place) {
    Matcher words = PLACE.matcher(place);
    if (!words.matches()) {
      throw Problem.API_REQUEST.because("'" + place + "' is no place in a log.");
    }
    List<Part> parts = parts();
    long inode = Long.parseLong(words.group(1));
    for (int i = 0; i < parts.size(); i++) {
      if (parts.get(i).inode() == inode) {
        return read(parts, i, Long.parseLong(words.group(2)));
      }
    }
    return parts.isEmpty() ? new Piece("", place) : read(parts, parts.size() - 1, 0);
  }

  private List<Part> parts() {
    List<Part> found = new ArrayList<>();
    for (String name : NEWEST_FIRST) {
      Path path = home.resolve(name);
      try {
        if (Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
          Object inode = Files.getAttribute(path, "unix:ino", LinkOption.NOFOLLOW_LINKS);
          long size = (long) Files.getAttribute(path, "size", LinkOption.NOFOLLOW_LINKS);
          found.add(new Part(path, (long) inode, size));
        }
      } catch (NoSuchFileException _) {
        // It has just got another name, by which it is found the next time.
      } catch (IOException e) {
        throw Problem.DAEMON_STATE.because(path + ": " + e.getMessage(), e);
      }
    }
    return found;
  }

  /// From an older file to newer ones.
  private static Piece read(List<Part> parts, int first, long offset) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    int i = first;
    long at = offset;
    while (true) {
      at += read(parts.get(i), at, MOST_BYTES - text.size(), text);
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
        new String(bytes, 0, whole, StandardCharsets.UTF_8), parts.get(i).inode() + ":" + at);
  }

  private static int read(Part part, long offset, int most, ByteArrayOutputStream into) {
    try (SeekableByteChannel file =
        Files.newByteChannel(
            part.path(), Set.of(StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS))) {
      ByteBuffer bytes = ByteBuffer.allocate(most);
      file.position(offset);
      while (bytes.hasRemaining() && file.read(bytes) > 0) {
        // Until there is no more.
      }
      into.write(bytes.array(), 0, bytes.position());
      return bytes.position();
    } catch (NoSuchFileException e) {
      return 0;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(part.path() + ": " + e.getMessage(), e);
    }
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
