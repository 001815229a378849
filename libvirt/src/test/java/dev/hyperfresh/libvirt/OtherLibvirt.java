package dev.hyperfresh.libvirt;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/// A process that locks what libvirt locks, says whether it could, and keeps it until it is ended.
final class OtherLibvirt {
  private OtherLibvirt() {}

  /// The file is the only argument.
  public static void main(String[] arguments) throws Exception {
    try (FileChannel file =
        FileChannel.open(
            Path.of(arguments[0]), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      System.out.println(file.tryLock(0, 1, false) == null ? "refused" : "locked");
      var _ = System.in.read();
    }
  }

  /// Begins one.
  static Process begin(Path file) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            System.getProperty("java.class.path"),
            OtherLibvirt.class.getName(),
            file.toString())
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  /// Whether it could lock the file, by what it says.
  static boolean locked(Process process) throws IOException {
    return "locked".equals(process.inputReader().readLine());
  }
}
