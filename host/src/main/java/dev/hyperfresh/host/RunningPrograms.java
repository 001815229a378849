package dev.hyperfresh.host;

import dev.hyperfresh.host.RunningProgram.Standing;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// Finds the processes of this host that run certain programs, whoever started them, and compares
/// each program with what is installed now. Only looks, starts nothing, and reads each program file
/// once. Not thread-safe.
///
/// A program is known by the name of its file: the link `exe` of the process keeps it when the file
/// was deleted or replaced. A program that was started by a dynamic loader is found among the files
/// that the process maps.
public final class RunningPrograms {
  /// How much of a command line is read.
  public static final int ARGUMENT_BYTES = 128 << 10;

  private static final String DELETED = " (deleted)";
  private static final int GROUP_CHARACTERS = 4096;

  /// The libraries of a program come before it, and what a guest's memory and threads are made of.
  private static final int MAPS_BYTES = 4 << 20;

  private final ProcFs proc;
  private final Predicate<String> names;
  private final ProgramReader reader;

  /// @param names whether a file of this name is one of the programs
  /// @param mark with which the text begins by which such a program tells its version
  public RunningPrograms(ProcFs proc, Predicate<String> names, String mark) {
    this.proc = proc;
    this.names = names;
    this.reader = new ProgramReader(mark);
  }

  /// All of them, by number. Where this process may not see others, there are none of others.
  ///
  /// @throws IOException when the kernel does not say when the host started
  public List<RunningProgram> find() throws IOException {
    Instant boot = proc.bootedAt();
    return proc.pids().stream().flatMap(pid -> look(pid, boot).stream()).toList();
  }

  /// One of them; empty when there is no such process, or it runs something else.
  ///
  /// @throws IOException when the kernel does not say when the host started
  public Optional<RunningProgram> find(int pid) throws IOException {
    return look(pid, proc.bootedAt());
  }

  private Optional<RunningProgram> look(int pid, Instant boot) {
    OptionalLong start = proc.start(pid);
    Optional<RunningProgram> found = program(pid, boot);
    // The number may be another process's by now.
    return found.filter(_ -> start.isPresent() && proc.start(pid).equals(start));
  }

  private Optional<RunningProgram> program(int pid, Instant boot) {
    try {
      Path exe = proc.of(pid, "exe");
      Path target = Files.readSymbolicLink(exe);
      if (ProcFs.isLoader(target)) {
        return mapped(pid, boot);
      }
      return names.test(name(target)) ? Optional.of(compared(pid, boot, exe)) : Optional.empty();
    } catch (IOException closed) {
      return unreadable(pid, boot);
    }
  }

  /// The name of a program's file, whether it is still there or not.
  private static String name(Path target) {
    String name = String.valueOf(target.getFileName());
    return name.endsWith(DELETED) ? name.substring(0, name.length() - DELETED.length()) : name;
  }

  /// @param image the link to the file that runs
  private RunningProgram compared(int pid, Instant boot, Path image) throws IOException {
    Path target = Files.readSymbolicLink(image);
    Path program = target.resolveSibling(name(target));
    Optional<ProgramFile> running = read(image);
    // As the process sees it, which may be inside a container.
    Path seen = proc.of(pid, "root").resolve(Path.of("/").relativize(program.toAbsolutePath()));
    Optional<ProgramFile> installed = read(seen);
    return of(pid, boot, program, running, installed, standing(running, installed, seen));
  }

  private static Standing standing(
      Optional<ProgramFile> running, Optional<ProgramFile> installed, Path seen) {
    if (running.isPresent() && installed.isPresent()) {
      return running.get().isSameBuild(installed.get()) ? Standing.CURRENT : Standing.OUTDATED;
    }
    return running.isPresent() && Files.notExists(seen) ? Standing.REMOVED : Standing.UNKNOWN;
  }

  /// The program file at a path.
  ///
  /// @return empty when there is none, or none that can be read
  public Optional<ProgramFile> read(Path file) {
    try {
      return Optional.of(reader.read(file));
    } catch (IOException closed) {
      return Optional.empty();
    }
  }

  /// A process whose program this user may not know: its name is what it and the kernel say. A
  /// thread of the kernel and a process that has ended have no arguments.
  private Optional<RunningProgram> unreadable(int pid, Instant boot) {
    Arguments arguments = arguments(pid);
    List<String> words = arguments.words();
    if (words.isEmpty()) {
      return Optional.empty();
    }
    Stream<String> told = Stream.of(words.getFirst(), proc.name(pid).orElse(""));
    Path program =
        (arguments.areOfLoader() ? Stream.concat(told, words.stream()) : told)
            .map(RunningPrograms::path)
            .filter(path -> names.test(name(path)))
            .findFirst()
            .orElse(Path.of(""));
    return names.test(name(program))
        ? Optional.of(of(pid, boot, program, Optional.empty(), Optional.empty(), Standing.UNKNOWN))
        : Optional.empty();
  }

  private static Path path(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException unspeakable) {
      return Path.of("");
    }
  }

  /// A program that a dynamic loader runs: the first of the files that the process maps.
  private Optional<RunningProgram> mapped(int pid, Instant boot) throws IOException {
    byte[] maps = proc.head(pid, "maps", MAPS_BYTES).orElseThrow(() -> new IOException("ended"));
    for (String line : new String(maps, StandardCharsets.ISO_8859_1).lines().toList()) {
      // proc_pid_maps(5): address, permissions, offset, device, inode, name.
      String[] fields = line.split(" +", 6);
      if (fields.length == 6 && names.test(name(path(fields[5])))) {
        return Optional.of(mapped(pid, boot, fields[0], path(fields[5])));
      }
    }
    return maps.length < MAPS_BYTES ? Optional.empty() : unreadable(pid, boot);
  }

  private RunningProgram mapped(int pid, Instant boot, String addresses, Path name) {
    try {
      return compared(pid, boot, proc.of(pid, "map_files").resolve(range(addresses)));
    } catch (IOException closed) {
      Path program = name.resolveSibling(name(name));
      return of(pid, boot, program, Optional.empty(), Optional.empty(), Standing.UNKNOWN);
    }
  }

  /// A range of addresses as the names in `map_files` have it, without leading zeros.
  private static String range(String addresses) {
    return addresses.replaceFirst("^0+(?=.)", "").replaceFirst("-0+(?=.)", "-");
  }

  private RunningProgram of(
      int pid,
      Instant boot,
      Path program,
      Optional<ProgramFile> running,
      Optional<ProgramFile> installed,
      Standing standing) {
    Arguments arguments = arguments(pid).of(program);
    return new RunningProgram(
        pid,
        proc.uid(pid).orElse(-1),
        program,
        arguments.words(),
        arguments.whole(),
        proc.head(pid, "cgroup", GROUP_CHARACTERS)
            .map(bytes -> new String(bytes, StandardCharsets.ISO_8859_1))
            .orElse(""),
        proc.startedAt(pid, boot).orElse(boot),
        running,
        installed,
        standing);
  }

  private record Arguments(List<String> words, boolean whole) {
    boolean areOfLoader() {
      return !words.isEmpty() && ProcFs.isLoader(path(words.getFirst()));
    }

    /// Without those of a loader, which come before the program that it runs.
    Arguments of(Path program) {
      int at = areOfLoader() ? words.indexOf(program.toString()) : 0;
      return at > 0 ? new Arguments(words.subList(at, words.size()), whole) : this;
    }
  }

  private Arguments arguments(int pid) {
    byte[] bytes = proc.head(pid, "cmdline", ARGUMENT_BYTES + 1).orElse(new byte[0]);
    boolean whole = bytes.length <= ARGUMENT_BYTES;
    String text =
        new String(bytes, 0, Math.min(bytes.length, ARGUMENT_BYTES), StandardCharsets.UTF_8);
    // Each is followed by a null byte, the last one of a process that changed its own may not be.
    List<String> words = Arrays.asList(text.split("\0", -1));
    boolean ended = words.getLast().isEmpty();
    return new Arguments(ended ? words.subList(0, words.size() - 1) : words, whole);
  }
}
