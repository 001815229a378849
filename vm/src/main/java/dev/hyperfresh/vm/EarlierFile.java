package dev.hyperfresh.vm;

import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// What an earlier version of HyperFresh has written of a virtual machine, as far as this one has
/// to know it: properties of a machine, JSON of an OS.
///
/// @param text of the file; empty when it cannot be read
record EarlierFile(String text) {
  private static final Pattern PID =
      Pattern.compile("(?m)(?:^pid=|\"hardwareProcess\":\\{\"pid\":)([0-9]{1,10})");
  private static final Pattern START =
      Pattern.compile("(?m)(?:^start=|\"hardwareProcess\":[^}]*\"start\":)([0-9]{1,18})");

  static EarlierFile read(Path file) {
    try {
      return new EarlierFile(
          new String(BoundedFile.read(file, BoundedFile.STATE_BYTES), StandardCharsets.UTF_8));
    } catch (IOException e) {
      return new EarlierFile("");
    }
  }

  static void remove(Path file) throws IOException {
    Files.deleteIfExists(file);
  }

  /// Whether its hardware may still run: what cannot be understood is no no.
  boolean mayLive() {
    Matcher pid = PID.matcher(text);
    Matcher start = START.matcher(text);
    return !pid.find()
        || !start.find()
        || Host.processStart(Integer.parseInt(pid.group(1))).orElse(-1)
            == Long.parseLong(start.group(1));
  }

  /// Whether it may be on a release, or have it as its hardware.
  boolean mayUse(String release) {
    return text.isEmpty() || text.contains(release);
  }
}
