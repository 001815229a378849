package dev.hyperfresh.testkit;

import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.release.PackagedPrograms;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.json.JsonMapper;

/// An OCI bundle with one program, `guests/container/app.c`, which notices when its memory, its
/// clock or its connections suffer.
final class ContainerBundle {
  /// Where the program serves TCP.
  static final int PORT = 7000;

  private static final List<String> PROGRAMS = List.of("app", "busy", "late");

  private ContainerBundle() {}

  /// Makes the bundle in `folder`, which is new.
  ///
  /// @param mebibytes of memory that the program fills and verifies
  /// @param children processes that share it until they write
  static Path build(Path folder, int mebibytes, int children) throws IOException {
    return build(
        folder,
        "app",
        List.of(
            "/bin/app",
            Integer.toString(mebibytes),
            Integer.toString(PORT),
            "8",
            Integer.toString(children)));
  }

  /// Makes the bundle of a neighbour in `folder`, which is new: its program never rests.
  static Path busy(Path folder) throws IOException {
    return build(folder, "busy", List.of("/bin/busy"));
  }

  /// Makes the bundle of a server in `folder`, which is new, that accepts no connection before
  /// there is a file `accept` in its root.
  static Path late(Path folder) throws IOException {
    return build(folder, "late", List.of("/bin/late", "/accept"));
  }

  private static Path build(Path folder, String program, List<String> arguments)
      throws IOException {
    Path root = folder.resolve("rootfs");
    for (String name : List.of("bin", "proc", "dev", "sys", "tmp", "etc", "run")) {
      Files.createDirectories(root.resolve(name));
    }
    place(folder, program, root.resolve("bin").resolve(program));
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
                        arguments,
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

  private static void place(Path folder, String name, Path program) throws IOException {
    Optional<Path> packaged = PackagedPrograms.of(ofPackage(name));
    if (packaged.isPresent()) {
      Files.copy(packaged.get().resolve(name), program, StandardCopyOption.COPY_ATTRIBUTES);
    } else {
      compile(folder, name, program);
    }
  }

  /// Compiles all programs, as [PackagedPrograms] looks for them.
  ///
  /// @param work a folder
  /// @param programs gets folders with them
  static void compile(Path work, Path programs) throws IOException {
    for (String name : PROGRAMS) {
      Path folder = Files.createDirectories(programs.resolve(ofPackage(name)));
      compile(work, name, folder.resolve(name));
    }
  }

  private static String ofPackage(String name) {
    return new ImageSources(List.of(resource(name))).sha256();
  }

  private static String resource(String name) {
    return "/guests/container/" + name + ".c";
  }

  private static void compile(Path folder, String name, Path program) throws IOException {
    String resource = resource(name);
    Path source = folder.resolve(name + ".c");
    try (InputStream in = ContainerBundle.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IOException("the resource " + resource + " is missing");
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
