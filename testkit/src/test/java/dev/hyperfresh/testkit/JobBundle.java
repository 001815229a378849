package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.json.JsonMapper;

/// An OCI bundle with one program, which does what its arguments say, and ends.
final class JobBundle {
  /// `say TEXT`, `append FILE`, `wait MILLISECONDS`, `eat`, `kill SIGNAL`, `exit CODE`, one after
  /// the other; without an end it stays.
  private static final String PROGRAM =
      """
      #include <signal.h>
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      #include <unistd.h>

      int main(int count, char **word)
      {
          setvbuf(stdout, NULL, _IOLBF, 0);
          signal(SIGTERM, _exit);
          for (int i = 1; i < count; i++) {
              const char *what = word[i];
              if (!strcmp(what, "eat")) {
                  for (char *piece; (piece = malloc(1 << 20)); )
                      memset(piece, 1, 1 << 20);
                  continue;
              }
              const char *how = word[++i];
              if (!strcmp(what, "say"))
                  puts(how);
              else if (!strcmp(what, "wait"))
                  usleep(atoi(how) * 1000);
              else if (!strcmp(what, "exit"))
                  exit(atoi(how));
              else if (!strcmp(what, "flood"))
                  for (int line = 0; line < atoi(how); line++)
                      printf("%08d %091d\\n", line, 0);
              else if (!strcmp(what, "append")) {
                  FILE *file = fopen(how, "a");
                  fputs("run\\n", file);
                  fclose(file);
              }
          }
          while (1)
              pause();
      }
      """;

  private final Path folder;

  JobBundle(Path folder) {
    this.folder = folder;
  }

  /// A bundle called `name`.
  ///
  /// @param memoryMax in bytes; 0 for no limit
  /// @param words for the program
  Path build(String name, long memoryMax, String... words) {
    Path bundle = folder.resolve(name);
    try {
      Path root = bundle.resolve("rootfs");
      for (String below : List.of("bin", "proc", "dev", "tmp", "data")) {
        Files.createDirectories(root.resolve(below));
      }
      Files.copy(program(), root.resolve("bin/job"));
      Files.write(bundle.resolve("config.json"), configuration(memoryMax, words));
      return bundle;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static byte[] configuration(long memoryMax, String... words) {
    List<String> command = new ArrayList<>(List.of("/bin/job"));
    command.addAll(List.of(words));
    Map<String, Object> linux =
        memoryMax == 0
            ? Map.of()
            : Map.of("resources", Map.of("memory", Map.of("limit", memoryMax, "swap", memoryMax)));
    return JsonMapper.shared()
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
                    command,
                    "env",
                    List.of("PATH=/bin"),
                    "user",
                    Map.of("uid", 0, "gid", 0)),
                "linux",
                linux,
                "mounts",
                List.of(
                    Map.of("destination", "/proc", "type", "proc", "source", "proc"),
                    Map.of("destination", "/dev", "type", "tmpfs", "source", "tmpfs"))));
  }

  private Path program() throws IOException {
    Path program = folder.resolve("job");
    if (Files.exists(program)) {
      return program;
    }
    Path source = Files.writeString(Files.createDirectories(folder).resolve("job.c"), PROGRAM);
    Process gcc =
        new ProcessBuilder("gcc", "-O2", "-static", "-o", program.toString(), source.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(gcc.onExit().join().exitValue()).as(said).isZero();
    return program;
  }
}
