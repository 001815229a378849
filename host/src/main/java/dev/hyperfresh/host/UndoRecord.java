package dev.hyperfresh.host;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.EnumMap;
import java.util.Map;

/// The old values of settings that were applied, in a file that a reboot removes, as it resets the
/// settings themselves. One line a setting: its name, the old value, the new one. Files are not in
/// it, so that whoever gets to write it can name none.
final class UndoRecord {
  static final String FILE = "run/hyperfresh/tuning.undo";

  /// What a setting held, and what it was given.
  record Values(String before, String after) {}

  private final Sysfs sysfs;

  UndoRecord(Sysfs sysfs) {
    this.sysfs = sysfs;
  }

  /// What is recorded, in the order of the settings; empty when nothing is.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#TUNE_STUCK] when the record is
  ///   damaged
  Map<Setting, Values> read() {
    Map<Setting, Values> values = new EnumMap<>(Setting.class);
    for (String line : sysfs.read(FILE).stream().flatMap(String::lines).toList()) {
      String[] words = line.split(" ", -1);
      Setting setting = words.length == 3 ? Setting.of(words[0]).orElse(null) : null;
      if (setting == null || !setting.valid(words[1]) || !setting.valid(words[2])) {
        throw Problem.TUNE_STUCK.because(
            "%s is damaged: it has the line \"%s\".".formatted(sysfs.at(FILE), line));
      }
      values.put(setting, new Values(words[1], words[2]));
    }
    return values;
  }

  /// Makes `values` all that is recorded; none removes the record.
  void write(Map<Setting, Values> values) throws IOException {
    Path file = sysfs.at(FILE);
    if (!sysfs.isInside(file)) {
      throw new IOException(file + " leads out of the root folder");
    }
    if (values.isEmpty()) {
      Files.deleteIfExists(file);
      return;
    }
    StringBuilder text = new StringBuilder();
    values.forEach((setting, value) ->
        text.append(setting.knob())
            .append(' ')
            .append(value.before)
            .append(' ')
            .append(value.after)
            .append('\n'));
    Path folder = file.resolveSibling("");
    Files.createDirectories(folder);
    Path next =
        Files.createTempFile(
            folder,
            "tuning",
            ".new",
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(next, text);
    Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }
}
