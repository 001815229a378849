package dev.hyperfresh.testkit;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/// An swtpm that a test starts by itself, as a user without HyperFresh does.
///
/// @param program that of this host, or else Debian's in a folder of the test
/// @param process the swtpm
record OwnSwtpm(Path program, Process process) implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Path INSTALLED = Path.of("/usr/bin/swtpm");

  /// `__SO_ACCEPTCON` of the kernel's `include/linux/net.h`.
  private static final String ACCEPTS = "00010000";

  /// Where Debian's looks for a library of its own; a shorter path fits in its place.
  private static final String LIBRARIES = "/usr/lib/x86_64-linux-gnu/swtpm";

  /// An swtpm; the test is left out where none can be had.
  static Path find() throws IOException {
    if (Files.isExecutable(INSTALLED)) {
      return INSTALLED;
    }
    Path home = Workshop.CACHE.resolve("swtpm");
    if (!Files.isDirectory(home)) {
      fetch(home);
    }
    return copied(home);
  }

  private static void fetch(Path home) throws IOException {
    Path work = Files.createTempDirectory(Workshop.CACHE, ".swtpm-");
    try {
      Workshop.PACKAGES.unpack(
          Suite.STABLE, List.of("swtpm"), true, work.resolve("root"), Workshop::say);
      GuestImages.keep(work.resolve("root"), home);
    } catch (PackagesException e) {
      Workshop.require(false, "swtpm cannot be had: " + e.getMessage());
    } finally {
      GuestImages.delete(work);
    }
  }

  /// Where every user can read it, with its libraries beside it.
  private static Path copied(Path home) throws IOException {
    Path folder = Files.createTempDirectory(Path.of("/tmp"), "tpm");
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    try (Stream<Path> files = Files.walk(home)) {
      for (Path file : files.filter(file -> file.toString().contains(".so.")).toList()) {
        Files.copy(
            file.toRealPath(),
            folder.resolve(file.getFileName()),
            StandardCopyOption.REPLACE_EXISTING);
      }
    }
    String text =
        new String(
            Files.readAllBytes(home.resolve(INSTALLED.toString().substring(1))),
            StandardCharsets.ISO_8859_1);
    String place = folder + "\0".repeat(LIBRARIES.length() - folder.toString().length());
    Path program = folder.resolve("swtpm");
    Files.write(program, text.replace(LIBRARIES, place).getBytes(StandardCharsets.ISO_8859_1));
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    return program;
  }

  /// Starts one that keeps its state in `state` and listens at `socket`.
  ///
  /// @param prefix words to start it behind
  static OwnSwtpm start(Path program, Path state, Path socket, List<String> prefix)
      throws IOException {
    List<String> command = new ArrayList<>(prefix);
    command.addAll(List.of(program.toString(), "socket", "--tpm2", "--terminate"));
    command.addAll(List.of("--tpmstate", "dir=" + state + ",mode=0600"));
    command.addAll(List.of("--ctrl", "type=unixio,path=" + socket + ",mode=0600"));
    Path log = socket.resolveSibling("own-swtpm.log");
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    OwnSwtpm own = new OwnSwtpm(program, process);
    try {
      Workshop.await("swtpm", PATIENCE, () -> isListened(socket) || !process.isAlive());
      Workshop.require(process.isAlive(), "swtpm does not run here: " + Files.readString(log));
      return own;
    } catch (RuntimeException | AssertionError e) {
      own.close();
      throw e;
    }
  }

  /// Whether somebody listens at a socket, whose file is there a moment before. A client that only
  /// asked would end the swtpm.
  private static boolean isListened(Path socket) {
    try (Stream<String> sockets = Files.lines(Path.of("/proc/self/net/unix"))) {
      // Number, references, protocol, flags, type, state, inode, path.
      return sockets
          .map(line -> line.split(" +", 8))
          .anyMatch(fields ->
              fields.length == 8
                  && fields[7].equals(socket.toString())
                  && fields[3].equals(ACCEPTS));
    } catch (IOException | UncheckedIOException e) {
      throw new AssertionError("the host's sockets cannot be read", e);
    }
  }

  @Override
  public void close() {
    process.destroyForcibly();
    forget(program);
  }

  /// Removes what [#find] made.
  static void forget(Path program) {
    if (!program.equals(INSTALLED)) {
      try {
        GuestImages.delete(program.resolveSibling(""));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
