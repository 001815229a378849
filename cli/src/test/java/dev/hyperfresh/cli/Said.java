package dev.hyperfresh.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.IntSupplier;

/// What a command said and how it ended.
record Said(int exit, String out, String err) {
  /// Runs it inside this process.
  static Said by(String... arguments) {
    return of(() -> Main.run(arguments));
  }

  static Said of(IntSupplier command) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    ByteArrayOutputStream complained = new ByteArrayOutputStream();
    try {
      System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
      System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
      int exit = command.getAsInt();
      return new Said(
          exit, said.toString(StandardCharsets.UTF_8), complained.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  /// A command in a process of its own, which is under way.
  record Apart(Process process, Path out, Path err) {
    /// Waits for its end.
    Said end() throws IOException, InterruptedException {
      if (!process.waitFor(60, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new AssertionError("the command does not end");
      }
      return new Said(process.exitValue(), Files.readString(out), Files.readString(err));
    }
  }

  /// Starts it in a process of its own.
  ///
  /// @param folder for what it says
  /// @param prefix the program that starts it, if any
  static Apart apart(
      Path folder, Map<String, String> environment, List<String> prefix, String... arguments)
      throws IOException {
    return apart(folder, environment, prefix, Main.class, arguments);
  }

  /// As the other one, of another program.
  static Apart apart(
      Path folder,
      Map<String, String> environment,
      List<String> prefix,
      Class<?> program,
      String... arguments)
      throws IOException {
    List<String> line = new ArrayList<>(prefix);
    line.addAll(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            System.getProperty("java.class.path"),
            program.getName()));
    line.addAll(List.of(arguments));
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    ProcessBuilder builder =
        new ProcessBuilder(line).redirectOutput(out.toFile()).redirectError(err.toFile());
    builder.environment().putAll(environment);
    return new Apart(builder.start(), out, err);
  }
}
