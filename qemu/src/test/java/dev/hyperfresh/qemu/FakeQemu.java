package dev.hyperfresh.qemu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/// A program that says of itself what a QEMU says, and can do nothing else.
final class FakeQemu {
  private FakeQemu() {}

  /// Writes one, in the place of what is there.
  ///
  /// @param version of three numbers
  /// @param mark makes its bytes those of another build
  static Path write(Path file, String version, String mark) throws IOException {
    String[] number = version.split("\\.", -1);
    String numbers =
        "{\"major\": %s, \"minor\": %s, \"micro\": %s}".formatted(number[0], number[1], number[2]);
    Files.createDirectories(file.resolveSibling(""));
    Files.deleteIfExists(file);
    Files.writeString(
        file,
        """
        #!/bin/bash
        # MARK
        echo '{"QMP": {"version": {"qemu": NUMBERS, "package": ""}, "capabilities": []}}' >&10
        while read -r line <&10; do
          [[ $line =~ \\"id\\":\\"([^\\"]+)\\" ]]
          case $line in
          *query-version*) answer='{"qemu": NUMBERS, "package": ""}' ;;
          *query-machines*) answer='[DEPRECATED, {"name": "pc-q35-9.2"}]' ;;
          *query-cpu-definitions*) answer='[{"name": "qemu64"}]' ;;
          *query-migrate-capabilities*) answer='[{"capability": "events", "state": false}]' ;;
          *) answer='{}' ;;
          esac
          echo "{\\"return\\": $answer, \\"id\\": \\"${BASH_REMATCH[1]}\\"}" >&10
        done
        """
            .replace("MARK", mark)
            .replace("DEPRECATED", "{\"name\": \"pc-q35-7.2\", \"deprecated\": true}")
            .replace("NUMBERS", numbers));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    return file;
  }
}
