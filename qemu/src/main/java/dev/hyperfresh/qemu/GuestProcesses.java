package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.linux.FileIdentity;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.Siblings;
import dev.hyperfresh.linux.Signals;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
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
///
/// What the kernel calls a file of a process is not believed: whoever has a mount namespace of its
/// own can have a file of any name there. It is compared with the log that has that name, without a
/// question to whoever serves the file system of it.
///
/// @param guests where the guests' folders are
/// @param real the same, as the kernel names it: without links
record GuestProcesses(Path guests, Path real) {
  private static final System.Logger LOGGER = System.getLogger(GuestProcesses.class.getName());

  private static final String STANDARD_OUTPUT = "1";
  private static final int FILE_BYTES = 4096;

  /// How long a process may take to end that was told to.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

  /// How the log of a process of a [Rehearsal] begins.
  static final String REHEARSAL = "rehearsal-";

  /// The kernel says of a file that was removed that it is.
  private static final String REMOVED = " (deleted)";

  private static final Pattern LOG = Pattern.compile("hypervisor-([0-9]{1,9})\\.log");

  /// In the description of a descriptor: octal, as open(2) takes them.
  private static final Pattern FLAGS = Pattern.compile("flags:\\s+([0-7]{1,10})");

  /// Which of them say that it can write.
  private static final int WRITING = OpenFlags.WRITE_ONLY | OpenFlags.READ_WRITE;

  /// @param path a log in the folder of a guest
  /// @param removed whether it is not there any more
  private record Log(Path path, boolean removed) {
    String name() {
      return String.valueOf(path.getFileName());
    }
  }

  static GuestProcesses in(Path guests) {
    try {
      return new GuestProcesses(guests, guests.toRealPath());
    } catch (IOException none) {
      return new GuestProcesses(guests, guests);
    }
  }

  /// Processes that hold a memory file under the number of a guest's memory and print into the log
  /// of a hypervisor of a guest: no other program does both. Those of users whose processes this
  /// one may not look into are not seen.
  List<Reattacher.Survivor> survivors() {
    return all(pid -> {
      Optional<Log> log = log(pid);
      Matcher name = LOG.matcher(log.map(Log::name).orElse(""));
      return name.matches() && holdsMemory(pid)
          ? Optional.of(
              new Reattacher.Survivor(
                  Qemu.KIND,
                  pid,
                  log.orElseThrow().path().resolveSibling(""),
                  Integer.parseInt(name.group(1)),
                  Host.processStart(pid).orElse(0)))
          : Optional.empty();
    });
  }

  /// Ends the processes that print into the log of a rehearsal of a guest, and removes what is left
  /// of them: a rehearsal ends with the daemon that began it, and this is for one whose process
  /// could not ask the kernel for that in time.
  void endRehearsals() {
    for (int pid : all(pid -> Optional.of(pid).filter(_ -> isRehearsing(pid)))) {
      try (PidFd process = PidFd.open(pid)) {
        // Its number may mean another one since it was found.
        if (isRehearsing(pid) && !process.exited()) {
          process.signal(Signals.KILL);
        }
      } catch (LinuxException gone) {
        LOGGER.log(System.Logger.Level.DEBUG, "rehearsal " + pid + " has ended", gone);
      }
    }
    try (Stream<Path> left = Files.find(guests, 2, (file, _) -> isOfRehearsal(file))) {
      left.forEach(GuestProcesses::remove);
    } catch (IOException | UncheckedIOException e) {
      LOGGER.log(System.Logger.Level.DEBUG, guests + " cannot be searched", e);
    }
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

  /// By a descriptor that was opened before the process is looked at once more: its number may mean
  /// another one by now.
  private static void signal(Reattacher.Survivor instance, int signal, Consumer<PidFd> then) {
    try (PidFd process = PidFd.open(instance.pid())) {
      if (Host.processStart(instance.pid()).orElse(-1) != instance.start()) {
        throw Problem.GUEST_STATE.because("Process " + instance.pid() + " has ended.");
      }
      process.signal(signal);
      then.accept(process);
    } catch (LinuxException e) {
      throw Problem.GUEST_STATE.because("Process " + instance.pid() + ": " + e.getMessage(), e);
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

  private boolean isRehearsing(int pid) {
    return log(pid).filter(log -> log.name().startsWith(REHEARSAL)).isPresent();
  }

  /// Whether `file` is the log of a process of a rehearsal of a guest, or what is beside it.
  boolean isOfRehearsal(Path file) {
    return String.valueOf(file.getFileName()).startsWith(REHEARSAL) && inGuest(file).isPresent();
  }

  private static <T> List<T> all(Function<Integer, Optional<T>> wanted) {
    try {
      return ProcFs.HOST.pids().stream().flatMap(pid -> held(pid, wanted).stream()).toList();
    } catch (UncheckedIOException e) {
      // Without /proc nothing can be found, and nothing works anyway.
      return List.of();
    }
  }

  /// Looks a second time at what seems to be wanted: all that is read by its number is of the same
  /// process then.
  private static <T> Optional<T> held(int pid, Function<Integer, Optional<T>> wanted) {
    if (wanted.apply(pid).isEmpty()) {
      return Optional.empty();
    }
    try (PidFd process = PidFd.open(pid)) {
      Optional<T> found = wanted.apply(pid);
      return process.exited() ? Optional.empty() : found;
    } catch (LinuxException gone) {
      return Optional.empty();
    }
  }

  /// The log of a guest into which a process prints.
  private Optional<Log> log(int pid) {
    return target(pid, STANDARD_OUTPUT).flatMap(this::named).filter(log -> isItself(pid, log));
  }

  private Optional<Log> named(String target) {
    boolean removed = target.endsWith(REMOVED);
    String path = removed ? target.substring(0, target.length() - REMOVED.length()) : target;
    try {
      return inGuest(Path.of(path)).map(file -> new Log(file, removed));
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /// A file of the folder of a guest, by the name that this process has for it. Nothing is opened
  /// or asked for.
  private Optional<Path> inGuest(Path file) {
    Path folder = file.getParent();
    Path all = folder == null ? null : folder.getParent();
    return all != null && (all.equals(guests) || all.equals(real))
        ? Optional.of(guests.resolve(all.relativize(file)))
        : Optional.empty();
  }

  /// A log that was removed has no name any more. It is on the same file system, and nobody but
  /// this user could have opened it to write.
  private static boolean isItself(int pid, Log log) {
    Optional<FileIdentity> printed = FileIdentity.of(ProcFs.HOST.of(pid, "fd/" + STANDARD_OUTPUT));
    if (printed.isEmpty()) {
      return false;
    }
    FileIdentity file = printed.get();
    return log.removed()
        ? FileIdentity.of(log.path().resolveSibling(""))
                .filter(folder -> folder.device() == file.device())
                .isPresent()
            && file.isOnly(Host.effectiveUid())
            && writes(pid)
        : FileIdentity.of(log.path()).filter(file::isSame).isPresent();
  }

  private static boolean writes(int pid) {
    return ProcFs.HOST.head(pid, "fdinfo/" + STANDARD_OUTPUT, FILE_BYTES).stream()
        .flatMap(text -> new String(text, StandardCharsets.US_ASCII).lines())
        .map(FLAGS::matcher)
        .filter(Matcher::matches)
        .anyMatch(flags -> (Integer.parseInt(flags.group(1), 8) & WRITING) != 0);
  }

  /// A memfd, or the file that the memory of an adopted guest is.
  private static boolean holdsMemory(int pid) {
    return target(pid, Integer.toString(Descriptors.MEMORY))
        .filter(target -> target.startsWith("/"))
        .isPresent();
  }

  /// What a descriptor of a process is, as proc_pid_fd(5) has it; empty when it has ended, has no
  /// such descriptor, or is not ours.
  private static Optional<String> target(int pid, String descriptor) {
    try {
      return Optional.of(
          Files.readSymbolicLink(ProcFs.HOST.of(pid, "fd/" + descriptor)).toString());
    } catch (IOException gone) {
      return Optional.empty();
    }
  }
}
