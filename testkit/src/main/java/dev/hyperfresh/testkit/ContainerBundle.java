package dev.hyperfresh.testkit;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.json.JsonMapper;

/// An OCI bundle with one program, `guests/container/app.c`, which notices when its memory, its
/// clock or its connections suffer.
final class ContainerBundle {
  /// Where the program serves TCP.
  static final int PORT = 7000;

  private ContainerBundle() {}

  /// Makes the bundle in `folder`, which is new.
  ///
  /// @param mebibytes of memory that the program fills and verifies
  /// @param children processes that share it until they write
  static Path build(Path folder, int mebibytes, int children) throws IOException {
    Path root = folder.resolve("rootfs");
    for (String name : List.of("bin", "proc", "dev", "sys", "tmp", "etc", "run")) {
      Files.createDirectories(root.resolve(name));
    }
    compile(folder, root.resolve("bin/app"));
    Files.write(
        folder.resolve("config.json"),
        JsonMapper.shared()
            .writeValueAsBytes(
                Map.of(
                    "ociVersion",
                    "1.0.2",
                    "root",
                    Map.of("path", "rootfs"),
                    "process",
                    Map.of(
                        "cwd",
                        "/",
                        "args",
                        List.of(
                            "/bin/app",
                            Integer.toString(mebibytes),
                            Integer.toString(PORT),
                            "8",
                            Integer.toString(children)),
                        "env",
                        List.of("PATH=/bin"),
                        "user",
                        Map.of("uid", 0, "gid", 0),
                        "noNewPrivileges",
                        true),
                    "mounts",
                    List.of(
                        Map.of("destination", "/proc", "type", "proc", "source", "proc"),
                        Map.of("destination", "/dev", "type", "tmpfs", "source", "tmpfs"),
                        Map.of("destination", "/tmp", "type", "tmpfs", "source", "tmpfs")))));
    return folder;
  }

  private static void compile(Path folder, Path program) throws IOException {
    Path source = folder.resolve("app.c");
    try (InputStream in = ContainerBundle.class.getResourceAsStream("/guests/container/app.c")) {
      if (in == null) {
        throw new IOException("the resource guests/container/app.c is missing");
      }
      Files.copy(in, source);
    }
    Process gcc =
        new ProcessBuilder(
                "gcc",
                "-std=c11",
                "-O2",
                "-static",
                "-pthread",
                "-o",
                program.toString(),
                source.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    try {
      if (gcc.waitFor() != 0) {
        throw new IOException("gcc: " + said);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }
}
