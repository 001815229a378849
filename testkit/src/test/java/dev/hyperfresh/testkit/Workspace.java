package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/// A state directory for a test, or for all tests of a class, with a path short enough for sockets.
///
/// When a test fails, what the guests and hypervisors said is copied to `target/failures/<test>`.
/// At the end no hypervisor that was started with the directory may live: one that does fails the
/// test, and is ended.
final class Workspace
    implements BeforeAllCallback, BeforeEachCallback, AfterEachCallback, AfterAllCallback {
  private static final long LARGEST_KEPT_BYTES = 4 << 20;
  private static final Duration ENDING = Duration.ofSeconds(30);
  private static final List<String> KEPT = List.of(".log", ".yaml", ".txt");

  private final boolean ofClass;
  private Path state = Path.of("");

  private Workspace(boolean ofClass) {
    this.ofClass = ofClass;
  }

  /// For an instance field: one directory a test.
  static Workspace ofTest() {
    return new Workspace(false);
  }

  /// For a static field: one directory for all tests of the class.
  static Workspace ofClass() {
    return new Workspace(true);
  }

  /// The state directory.
  Path state() {
    return state;
  }

  /// The folder of guest `name`.
  Path files(String name) {
    return state.resolve("guests").resolve(name);
  }

  /// The sockets of hypervisors and whatever else lies beside them, but for the daemon's own.
  List<String> sockets() {
    Path run = state.resolve("run");
    if (!Files.isDirectory(run)) {
      return List.of();
    }
    return names(run).stream().filter(name -> !name.equals("api")).toList();
  }

  /// The names of all that lies in `folder`, in their order.
  static List<String> names(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Stops the target's process when it has its end of the channel, in the quiet time before the
  /// switch: the source then sends everything, and the target does not resume.
  void freezeBeforeTheSwitch(ProcessHandle target) {
    // The source gets its end when the target has answered its last command of the preparation.
    Workshop.await(
        "the channel in source and target",
        Duration.ofSeconds(60),
        () -> hypervisors().stream().allMatch(process -> pipes(process.pid()) > 0));
    Workshop.pause(Duration.ofMillis(200));
    try (PidFd process = PidFd.open((int) target.pid())) {
      process.signal(Signals.STOP);
    }
  }

  private static long pipes(long pid) {
    try (Stream<Path> fds = Files.list(Path.of("/proc", Long.toString(pid), "fd"))) {
      return fds.filter(Workspace::isPipe).count();
    } catch (IOException | UncheckedIOException e) {
      return 0;
    }
  }

  private static boolean isPipe(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString().startsWith("pipe:");
    } catch (IOException e) {
      // Closed since it was listed.
      return false;
    }
  }

  /// The hypervisors whose log lies in this directory, oldest first: their command lines name no
  /// path of it.
  List<ProcessHandle> hypervisors() {
    return processes("memory-backend-file");
  }

  /// The processes that write into this directory's guests and have `word` in their command line.
  List<ProcessHandle> processes(String word) {
    return processes(state.resolve("guests"), word);
  }

  private static List<ProcessHandle> processes(Path folder, String word) {
    return ProcessHandle.allProcesses()
        .filter(process -> process.pid() != ProcessHandle.current().pid())
        .filter(process ->
            writesInto(process.pid(), folder) && commandLine(process.pid()).contains(word))
        .sorted(Comparator.comparingLong(ProcessHandle::pid))
        .toList();
  }

  private static boolean writesInto(long pid, Path folder) {
    try {
      return Files.readSymbolicLink(Path.of("/proc", Long.toString(pid), "fd", "2"))
          .startsWith(folder);
    } catch (IOException e) {
      return false;
    }
  }

  /// The arguments of a process with NULs between them; empty when it has ended.
  static String commandLine(long pid) {
    try {
      return Files.readString(
          Path.of("/proc", Long.toString(pid), "cmdline"), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      return "";
    }
  }

  /// Whether a process runs, as the kernel sees it. One that has ended is there until its parent,
  /// which may be this process, has been told.
  static boolean runs(long pid) {
    try {
      return !Files.readString(
              Path.of("/proc", Long.toString(pid), "stat"), StandardCharsets.ISO_8859_1)
          .contains(") Z ");
    } catch (IOException e) {
      return false;
    }
  }

  /// The arguments of a process, the program first; also those that are empty.
  static List<String> arguments(long pid) {
    String line = commandLine(pid);
    return line.isEmpty()
        ? List.of()
        : List.of(line.substring(0, line.length() - 1).split("\0", -1));
  }

  @Override
  public void beforeAll(ExtensionContext context) {
    open();
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    if (!ofClass) {
      open();
    }
  }

  private void open() {
    try {
      state = Files.createTempDirectory(Path.of("/tmp"), "hf-test-");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void afterEach(ExtensionContext context) {
    boolean failed = context.getExecutionException().filter(e -> !isAbortion(e)).isPresent();
    if (failed) {
      keep(context);
    }
    if (!ofClass) {
      close(failed);
    }
  }

  @Override
  public void afterAll(ExtensionContext context) {
    close(context.getExecutionException().isPresent());
  }

  private static boolean isAbortion(Throwable e) {
    return e instanceof org.opentest4j.TestAbortedException;
  }

  private void close(boolean failed) {
    List<ProcessHandle> left = hypervisors();
    List<String> lines = left.stream().map(process -> commandLine(process.pid())).toList();
    left.forEach(ProcessHandle::destroyForcibly);
    // Hardware of machines and operating systems, when a test has failed.
    if (failed) {
      processes(state, "qemu-system").forEach(ProcessHandle::destroyForcibly);
    }
    delete(state);
    if (!failed && !lines.isEmpty()) {
      throw new AssertionError("hypervisors were left behind: " + lines);
    }
  }

  private void keep(ExtensionContext context) {
    String test = context.getRequiredTestClass().getSimpleName() + "." + context.getDisplayName();
    Path folder = Path.of("target", "failures", test.replaceAll("[^A-Za-z0-9.]+", "_"));
    delete(folder);
    try (Stream<Path> files = Files.walk(state)) {
      for (Path file : files.filter(Workspace::isWorthKeeping).toList()) {
        Path copy = folder.resolve(state.relativize(file).toString());
        Files.createDirectories(Optional.ofNullable(copy.getParent()).orElse(folder));
        Files.copy(file, copy, StandardCopyOption.REPLACE_EXISTING);
      }
      System.out.println("  kept " + folder.toAbsolutePath());
    } catch (IOException | UncheckedIOException e) {
      System.out.println("  not all could be kept in " + folder + ": " + e.getMessage());
    }
  }

  private static boolean isWorthKeeping(Path file) {
    String name = file.getFileName().toString();
    return Files.isRegularFile(file)
        && KEPT.stream().anyMatch(name::endsWith)
        && file.toFile().length() <= LARGEST_KEPT_BYTES;
  }

  /// Also while somebody who is ending still makes or removes files in it.
  static void delete(Path folder) {
    AtomicReference<String> why = new AtomicReference<>("");
    if (!Await.holdsWithin(ENDING, () -> isDeleted(folder, why))) {
      throw new AssertionError(folder + " cannot be removed: " + why);
    }
  }

  private static boolean isDeleted(Path folder, AtomicReference<String> why) {
    if (!Files.exists(folder)) {
      return true;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
      return true;
    } catch (IOException | UncheckedIOException e) {
      why.set(e.toString());
      return false;
    }
  }
}
