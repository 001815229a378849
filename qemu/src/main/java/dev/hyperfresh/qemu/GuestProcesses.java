package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Reattacher;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The QEMUs of a state directory, found in `/proc` by what they hold.
final class GuestProcesses {
  private static final int STANDARD_OUTPUT = 1;

  /// How the log of a process of a [Rehearsal] begins.
  static final String REHEARSAL = "rehearsal-";

  /// The kernel says of a file that was removed that it is.
  private static final Pattern LOG =
      Pattern.compile("hypervisor-([0-9]{1,9})\\.log(?: \\(deleted\\))?");

  private static final Pattern NUMBER = Pattern.compile("[0-9]+");

  private GuestProcesses() {}

  /// Processes that hold a memory file under the number of a guest's memory and print into the log
  /// of a hypervisor of a guest in `guests`: no other program does both. Those of users whose
  /// processes this one may not look into are not seen.
  static List<Reattacher.Survivor> under(Path guests) {
    return all(process -> of(process, guests));
  }

  /// The processes that print into the log of a rehearsal of a guest in `guests`.
  static List<Integer> rehearsing(Path guests) {
    return all(process -> {
      try {
        Path log = held(process, STANDARD_OUTPUT);
        return isOfRehearsal(log, guests) ? Optional.of(number(process)) : Optional.empty();
      } catch (IOException e) {
        return Optional.empty();
      }
    });
  }

  /// Whether `log` is that of a process of a rehearsal of a guest in `guests`.
  static boolean isOfRehearsal(Path log, Path guests) {
    return String.valueOf(log.getFileName()).startsWith(REHEARSAL)
        && folder(log, guests).isPresent();
  }

  /// The guest's folder in `guests` that holds `log`, which may be named by another path: the
  /// kernel names files without links.
  private static Optional<Path> folder(Path log, Path guests) {
    Path folder = log.getParent();
    if (folder == null) {
      return Optional.empty();
    }
    Path all = folder.getParent();
    Path files = guests.resolve(String.valueOf(folder.getFileName()));
    try {
      return all != null && Files.isSameFile(all, guests) ? Optional.of(files) : Optional.empty();
    } catch (IOException gone) {
      return Optional.empty();
    }
  }

  private static <T> List<T> all(Function<Path, Optional<T>> wanted) {
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      return processes
          .filter(process -> NUMBER.matcher(String.valueOf(process.getFileName())).matches())
          .flatMap(process -> wanted.apply(process).stream())
          .toList();
    } catch (IOException | UncheckedIOException e) {
      // Without /proc nothing can be found, and nothing works anyway.
      return List.of();
    }
  }

  private static int number(Path process) {
    return Integer.parseInt(String.valueOf(process.getFileName()));
  }

  private static Optional<Reattacher.Survivor> of(Path process, Path guests) {
    try {
      Path log = held(process, STANDARD_OUTPUT);
      Matcher name = LOG.matcher(String.valueOf(log.getFileName()));
      // A memfd, or the file that the memory of an adopted guest is.
      return name.matches() && held(process, Descriptors.MEMORY).toString().startsWith("/")
          ? folder(log, guests)
              .map(files ->
                  new Reattacher.Survivor(
                      Qemu.KIND, number(process), files, Integer.parseInt(name.group(1))))
          : Optional.empty();
    } catch (IOException e) {
      // It has ended meanwhile, has no such descriptor, or is not ours.
      return Optional.empty();
    }
  }

  /// What a descriptor of a process is, as proc_pid_fd(5) has it.
  private static Path held(Path process, int descriptor) throws IOException {
    return Files.readSymbolicLink(process.resolve("fd").resolve(Integer.toString(descriptor)));
  }
}
