package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Siblings;
import dev.hyperfresh.linux.Signals;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The QEMUs of a state directory, found in `/proc` by what they hold.
final class GuestProcesses {
  private static final System.Logger LOGGER = System.getLogger(GuestProcesses.class.getName());

  private static final int STANDARD_OUTPUT = 1;

  /// How long a process may take to end that was told to.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

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

  /// Lets a process go on that somebody stopped.
  static void goOn(Reattacher.Survivor instance) {
    signal(instance, Signals.CONT, _ -> {});
  }

  /// Kills a process and waits until it is gone.
  static void end(Reattacher.Survivor instance) {
    signal(
        instance,
        Signals.KILL,
        process -> {
          if (!process.awaitExit(END_LIMIT)) {
            throw Problem.GUEST_STATE.because("Process " + instance.pid() + " does not end.");
          }
        });
  }

  private static void signal(Reattacher.Survivor instance, int signal, Consumer<PidFd> then) {
    try (PidFd process = PidFd.open(instance.pid())) {
      process.signal(signal);
      then.accept(process);
    } catch (LinuxException e) {
      throw Problem.GUEST_STATE.because("Process " + instance.pid() + ": " + e.getMessage(), e);
    }
  }

  /// A rehearsal ends with the daemon that began it; one whose process could not ask the kernel for
  /// that in time is ended here.
  static void endRehearsals(Path guests) {
    for (int pid : rehearsing(guests)) {
      try (PidFd process = PidFd.open(pid)) {
        process.signal(Signals.KILL);
      } catch (LinuxException gone) {
        LOGGER.log(System.Logger.Level.DEBUG, "rehearsal " + pid + " has ended", gone);
      }
    }
    try (Stream<Path> left = Files.find(guests, 2, (file, _) -> isOfRehearsal(file, guests))) {
      left.forEach(GuestProcesses::remove);
    } catch (IOException | UncheckedIOException e) {
      LOGGER.log(System.Logger.Level.DEBUG, guests + " cannot be searched", e);
    }
  }

  private static void remove(Path left) {
    if (!Files.isDirectory(left)) {
      Qemu.removeSockets(left);
      return;
    }
    try (Siblings files = Siblings.in(left.resolveSibling(""))) {
      files.remove(String.valueOf(left.getFileName()));
    } catch (IOException | LinuxException e) {
      LOGGER.log(System.Logger.Level.WARNING, left + " cannot be removed", e);
    }
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
