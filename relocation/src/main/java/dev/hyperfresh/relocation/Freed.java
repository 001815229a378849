package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.LinuxException;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Gives memory of an OS back to the host as soon as a container that has left it has fetched it,
/// so that the host never needs the container's memory twice.
///
/// The other OS writes `freed FRAME COUNT` lines into a file, in pages of 4 KiB. The frames still
/// belong to processes that stand in the old OS until they are killed, so nobody there misses them.
final class Freed implements AutoCloseable {
  private static final Pattern LINE = Pattern.compile("freed ([0-9]{1,15}) ([0-9]{1,15})");
  private static final int PAGE_BITS = 12;
  private static final long LOOK_NANOS = 50_000_000;

  private final OsVm os;
  private final Path file;
  private final Thread thread;
  private volatile boolean done;

  Freed(OsVm os, Path file) {
    this.os = os;
    this.file = file;
    this.thread = Thread.ofPlatform().daemon().name("hf-freed").start(this::follow);
  }

  private void follow() {
    try {
      while (!Files.exists(file) && !done) {
        LockSupport.parkNanos(LOOK_NANOS);
      }
      if (Files.exists(file)) {
        read();
      }
    } catch (IOException | LinuxException | IllegalStateException e) {
      System.getLogger(Freed.class.getName())
          .log(System.Logger.Level.WARNING, "memory of " + os.name() + " is given back later", e);
    }
  }

  private void read() throws IOException {
    StringBuilder rest = new StringBuilder();
    char[] chunk = new char[1 << 16];
    try (BufferedReader in = Files.newBufferedReader(file, StandardCharsets.US_ASCII)) {
      while (true) {
        boolean last = done;
        int got = in.read(chunk);
        if (got > 0) {
          rest.append(chunk, 0, got);
          takeLines(rest);
        } else if (last) {
          return;
        } else {
          LockSupport.parkNanos(LOOK_NANOS);
        }
      }
    }
  }

  private void takeLines(StringBuilder text) {
    int end;
    while ((end = text.indexOf("\n")) >= 0) {
      Matcher line = LINE.matcher(text.substring(0, end));
      text.delete(0, end + 1);
      if (line.matches()) {
        give(Long.parseLong(line.group(1)), Long.parseLong(line.group(2)));
      }
    }
  }

  /// The file is written by an OS, and may say anything.
  private void give(long frame, long count) {
    long pages = os.memory().bytes() >> PAGE_BITS;
    if (count > 0 && frame <= pages && count <= pages - frame) {
      os.memory().punch(frame << PAGE_BITS, count << PAGE_BITS);
    }
  }

  /// Returns when all that was told has been given back.
  @Override
  public void close() {
    done = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
