package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The files in which the kernel describes processes, proc(5). What is read is bounded. A process
/// that has ended has no files, so that everything that is asked of it may be empty. All methods
/// may be called by any thread.
///
/// @param root the folder in which they are
public record ProcFs(Path root) {
  /// Those of this host.
  public static final ProcFs HOST = new ProcFs(Path.of("/proc"));

  // USER_HZ, the unit of times in proc(5), on x86-64.
  private static final int TICKS_PER_SECOND = 100;

  // Far more than any of the files that are read as a whole has: one line for each processor.
  private static final int FILE_BYTES = 4 << 20;

  private static final String BOOT = "btime ";

  // A file that is gone has the last words in the link.
  private static final Pattern LOADER =
      Pattern.compile("ld(-[\\w.+-]+)?\\.so(\\.[0-9]+)?( \\(deleted\\))?");

  /// Whether a program is a dynamic loader, ld.so(8), which runs the program that it was given.
  ///
  /// @param program its file, also as the link `exe` of a process names it
  public static boolean isLoader(Path program) {
    return LOADER.matcher(String.valueOf(program.getFileName())).matches();
  }

  /// One of the files of a process, such as `exe`.
  public Path of(int pid, String entry) {
    return root.resolve(Integer.toString(pid)).resolve(entry);
  }

  /// The numbers of all processes that this one may see.
  ///
  /// @throws UncheckedIOException when the folder cannot be listed
  public List<Integer> pids() {
    try (Stream<Path> entries = Files.list(root)) {
      return entries
          .map(entry -> String.valueOf(entry.getFileName()))
          .filter(name -> name.matches("[1-9][0-9]{0,8}"))
          .map(Integer::valueOf)
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot list " + root, e);
    }
  }

  /// The first bytes of one of the files of a process.
  ///
  /// @param most how many at most
  /// @return empty when there is no such process, or it may not be looked at
  public Optional<byte[]> head(int pid, String entry, int most) {
    try (InputStream in = Files.newInputStream(of(pid, entry))) {
      return Optional.of(in.readNBytes(most));
    } catch (IOException gone) {
      return Optional.empty();
    }
  }

  /// The name that the kernel knows its program by, at most 15 bytes (`comm`). A process can change
  /// it.
  public Optional<String> name(int pid) {
    return head(pid, "comm", 64)
        .map(bytes -> new String(bytes, StandardCharsets.ISO_8859_1).strip());
  }

  /// The user whose rights it has (`Uid`, effective).
  public OptionalInt uid(int pid) {
    return head(pid, "status", FILE_BYTES).stream()
        .flatMap(bytes -> new String(bytes, StandardCharsets.ISO_8859_1).lines())
        .filter(line -> line.startsWith("Uid:"))
        .mapToInt(line -> Integer.parseUnsignedInt(line.split("\\s+")[2]))
        .findFirst();
  }

  /// Its namespace of a kind, such as `net`, by a name that all processes in it see
  /// (namespaces(7)).
  ///
  /// @return empty when there is no such process, or it may not be looked at
  public Optional<String> namespace(int pid, String kind) {
    try {
      return Optional.of(Files.readSymbolicLink(of(pid, "ns").resolve(kind)).toString());
    } catch (IOException closed) {
      return Optional.empty();
    }
  }

  /// When it started, in ticks since the host did; with its number it names the process for ever,
  /// since numbers are used again. Field 22 of proc_pid_stat(5).
  public OptionalLong start(int pid) {
    Optional<String[]> stat = stat(pid);
    return stat.isPresent()
        ? OptionalLong.of(Long.parseLong(stat.get()[22 - 3]))
        : OptionalLong.empty();
  }

  /// When it started.
  ///
  /// @param boot when the host did
  public Optional<Instant> startedAt(int pid, Instant boot) {
    return start(pid).stream()
        .mapToObj(ticks -> boot.plusMillis(ticks * 1000 / TICKS_PER_SECOND))
        .findFirst();
  }

  /// When the host started, cut to a second.
  ///
  /// @throws IOException when the kernel does not say
  public Instant bootedAt() throws IOException {
    byte[] stat = BoundedFile.read(root.resolve("stat"), FILE_BYTES);
    return new String(stat, StandardCharsets.ISO_8859_1)
        .lines()
        .filter(line -> line.startsWith(BOOT))
        .map(line -> Instant.ofEpochSecond(Long.parseLong(line.substring(BOOT.length()).strip())))
        .findFirst()
        .orElseThrow(() -> new IOException(root.resolve("stat") + " has no line btime"));
  }

  /// The fields of proc_pid_stat(5) from the third on.
  Optional<String[]> stat(int pid) {
    // The name, field 2, is in brackets and may hold anything.
    return head(pid, "stat", FILE_BYTES)
        .map(bytes -> new String(bytes, StandardCharsets.ISO_8859_1))
        .filter(stat -> stat.contains(") "))
        .map(stat -> stat.substring(stat.lastIndexOf(')') + 2).split(" "));
  }
}
