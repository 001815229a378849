package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The launcher as it is, in front of a program that asks for more memory than there is.
class LauncherTest {
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
  private static final Path JDK = Path.of(System.getProperty("java.home"));
  private static final String GREEDY =
      """
      package dev.hyperfresh.cli;
      public final class Main {
        public static void main(String[] arguments) {
          try {
            System.out.println(new long[1 << 30].length);
          } catch (OutOfMemoryError e) {
            System.out.println("went on");
          }
        }
      }
      """;

  @TempDir Path root;

  @BeforeEach
  void install() throws Exception {
    Files.copy(ROOT.resolve("hyperfresh"), root.resolve("hyperfresh"));
    Path setup = Files.createDirectory(root.resolve("setup"));
    try (var scripts = Files.newDirectoryStream(ROOT.resolve("setup"))) {
      for (Path script : scripts) {
        Files.copy(script, setup.resolve(Objects.requireNonNull(script.getFileName())));
      }
    }
    Files.createFile(root.resolve("pom.xml"));
    Path app = Files.createDirectories(root.resolve("target/app"));
    pack(Files.createDirectory(app.resolve("lib")).resolve("main.jar"));
    // No cache was made for this program, and none is to be made.
    Files.createFile(app.resolve("hyperfresh.aot"));
    Files.writeString(
        app.resolve("hyperfresh.aot.jdk"), Files.readString(JDK.resolve("release")) + JDK);
    Files.createFile(root.resolve("target/.built"));
  }

  private void pack(Path jar) throws IOException {
    Path source = Files.writeString(root.resolve("Main.java"), GREEDY);
    assertThat(
            ToolProvider.getSystemJavaCompiler()
                .run(null, null, null, "-d", root.toString(), source.toString()))
        .isZero();
    String name = "dev/hyperfresh/cli/Main.class";
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      out.putNextEntry(new JarEntry(name));
      out.write(Files.readAllBytes(root.resolve(name)));
    }
  }

  @Test
  void aDaemonWithoutMemoryEndsAtOnce() throws Exception {
    assertThat(run("daemon", 3)).doesNotContain("went on");
    assertThat(run("guest", 0)).contains("went on");
  }

  private String run(String command, int status) throws Exception {
    Path said = root.resolve("said.txt");
    ProcessBuilder launcher =
        new ProcessBuilder(List.of(root.resolve("hyperfresh").toString(), command, "list"))
            .redirectErrorStream(true)
            .redirectOutput(said.toFile());
    launcher.environment().put("JAVA_HOME", JDK.toString());
    launcher.environment().put("HYPERFRESH_HOME", root.resolve("home").toString());
    Process process = launcher.start();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    String text = Files.readString(said, StandardCharsets.UTF_8);
    assertThat(process.exitValue()).as(text).isEqualTo(status);
    return text;
  }
}
