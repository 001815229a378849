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
  /// `say TEXT`, `append FILE`, `wait MILLISECONDS`, `sleep SECONDS` (once, as the kernel does it),
  /// `eat`, `flood LINES`, `exit CODE`, one after the other; without an end it stays. `kernel
  /// RELEASE` and `has FILE` end with code 0 if the kernel's release begins so, or the file is
  /// there, and `refused FILE` if it cannot be written. `count FOLDER` goes on for ever: it counts
  /// on the pages of a shared mapping of FOLDER/map and in lines of FOLDER/lines, which stays open,
  /// and ends with code 9 when the pages are not alike.
  private static final String PROGRAM =
      """
      #include <fcntl.h>
      #include <signal.h>
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      #include <sys/mman.h>
      #include <sys/utsname.h>
      #include <time.h>
      #include <unistd.h>

      enum { PAGE = 4096, PAGES = 64 };

      static void count_on(const char *folder)
      {
          if (chdir(folder))
              exit(8);
          int map = open("map", O_RDWR | O_CREAT, 0644);
          FILE *lines = fopen("lines", "a");
          if (map < 0 || !lines || ftruncate(map, PAGE * PAGES))
              exit(8);
          setvbuf(lines, NULL, _IOLBF, 0);
          volatile char *at = mmap(NULL, PAGE * PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
          unsigned long first = *(volatile unsigned long *)at;
          for (unsigned long number = first + 1;; number++) {
              for (int page = 0; page < PAGES; page++) {
                  volatile unsigned long *here = (volatile unsigned long *)(at + page * PAGE);
                  if (*here != number - 1)
                      exit(9);
                  *here = number;
              }
              fprintf(lines, "%lu\\n", number);
              usleep(5000);
          }
      }

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
              else if (!strcmp(what, "sleep")) {
                  struct timespec left = {.tv_sec = atoi(how)};
                  nanosleep(&left, &left);
              } else if (!strcmp(what, "exit"))
                  exit(atoi(how));
              else if (!strcmp(what, "flood"))
                  for (int line = 0; line < atoi(how); line++)
                      printf("%08d %091d\\n", line, 0);
              else if (!strcmp(what, "kernel")) {
                  struct utsname here;
                  uname(&here);
                  printf("it is %s\\n", here.release);
                  exit(!!strncmp(here.release, how, strlen(how)));
              } else if (!strcmp(what, "has"))
                  exit(!!access(how, F_OK));
              else if (!strcmp(what, "refused"))
                  exit(open(how, O_WRONLY | O_CREAT, 0644) >= 0);
              else if (!strcmp(what, "count"))
                  count_on(how);
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
