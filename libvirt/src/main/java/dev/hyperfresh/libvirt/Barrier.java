package dev.hyperfresh.libvirt;

import java.io.IOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// Keeps systemd from starting units, whoever asks for them: a request, a socket, another unit, a
/// package. Each gets a condition that does not hold as long as a file is there. Both are lost with
/// a boot of the host, and without the file the conditions have no effect.
///
/// @param host whose systemd it is
/// @param units whether they are installed or not
record Barrier(LibvirtHost host, List<String> units) {
  Barrier {
    units = List.copyOf(units);
  }

  private Path file() {
    return host.run().resolve("hyperfresh-has-domains");
  }

  private Path condition(String unit) {
    return host.systemd().resolve(unit + ".d").resolve("hyperfresh.conf");
  }

  private String text() {
    return """
    # HyperFresh replaces QEMU under domains of libvirt, and starts libvirt again.
    [Unit]
    ConditionPathExists=!%s
    """
        .formatted(file());
  }

  /// Puts it up. systemd follows it once it has read its units anew.
  void raise() throws IOException {
    Files.createDirectories(host.run());
    Files.writeString(file(), "");
    for (String unit : units) {
      Files.createDirectories(condition(unit).resolveSibling(""));
      Files.writeString(condition(unit), text());
    }
  }

  /// Has systemd start the units again, from this moment on.
  void open() throws IOException {
    Files.deleteIfExists(file());
  }

  /// Removes the conditions.
  ///
  /// @return whether there were any
  boolean clear() throws IOException {
    boolean were = false;
    for (String unit : units) {
      if (Files.deleteIfExists(condition(unit))) {
        were = true;
        removeIfEmpty(condition(unit).resolveSibling(""));
      }
    }
    return were;
  }

  private static void removeIfEmpty(Path folder) throws IOException {
    try {
      Files.deleteIfExists(folder);
    } catch (DirectoryNotEmptyException others) {
      // Somebody else has put something there.
    }
  }
}
