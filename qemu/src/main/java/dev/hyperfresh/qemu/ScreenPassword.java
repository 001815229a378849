package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Devices.Screen;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/// The password of a guest's screen, of which the daemon keeps a copy: each QEMU is told it when it
/// takes the screen over. It stands on no command line.
///
/// @param copy in the guest's folder
record ScreenPassword(Path copy) {
  private static final String NAME = "vnc-password";

  /// More than the protocol looks at would be taken for more than it is.
  private static final Pattern PASSWORD = Pattern.compile("[!-~]{1,8}");

  private static final int MOST_BYTES = 1024;

  /// Of a guest whose spec names a file with one.
  static Optional<ScreenPassword> of(Launch launch) {
    return wanted(launch).map(_ -> new ScreenPassword(launch.files().resolve(NAME)));
  }

  private static Optional<Path> wanted(Launch launch) {
    return launch.adopted().isPresent()
        ? Optional.empty()
        : launch.spec().devices().screen().flatMap(Screen::password);
  }

  /// Copies what the spec names.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_FILE_MISSING],
  ///   [Problem#SPEC_INVALID] or [Problem#DAEMON_STATE]
  static void pin(Launch launch) {
    Optional<ScreenPassword> kept = of(launch);
    if (kept.isPresent()) {
      String password = checked(wanted(launch).orElseThrow());
      kept.get().write(password);
    }
  }

  private static String checked(Path file) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new IOException("is not a regular file");
      }
      String password = text(file);
      if (!PASSWORD.matcher(password).matches()) {
        throw Problem.SPEC_INVALID.because(
            "display.password-file: " + file + " is not one line of 1 to 8 printable characters.");
      }
      return password;
    } catch (IOException e) {
      throw Problem.SPEC_FILE_MISSING.because(file + ": " + e.getMessage(), e);
    }
  }

  private static String text(Path file) throws IOException {
    byte[] bytes = BoundedFile.read(file, MOST_BYTES);
    return new String(bytes, StandardCharsets.ISO_8859_1).stripTrailing();
  }

  private void write(String password) {
    try {
      Files.deleteIfExists(copy);
      Files.createFile(
          copy, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.writeString(copy, password, StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(copy + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Tells it a QEMU.
  TakenLater takenLater() {
    return new TakenLater(
        "Its screen lets nobody in", "", (qemu, _) -> qemu.execute("set_password", order()));
  }

  private Map<String, Object> order() {
    try {
      return Map.of("protocol", "vnc", "password", text(copy));
    } catch (IOException e) {
      throw new Qmp.QmpException(copy + " cannot be read: " + e.getMessage());
    }
  }
}
