package dev.hyperfresh.daemon;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Keeps the logs of guests, machines and operating systems within [LogFile#MAX_BYTES], each: those
/// who write them go on while no daemon runs, and never wait for one. One thread, `hf-logs`, looks
/// each second.
final class LogTrimmer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(LogTrimmer.class);
  private static final Duration PERIOD = Duration.ofSeconds(1);

  /// Of processes that went back to the managers of their guests: `NAME.` and more.
  private static final String HANDED = "handed";

  private static final List<String> FOLDERS = List.of("guests", HANDED, "machines", "os");
  private static final Pattern OF_HYPERVISOR = Pattern.compile("hypervisor-([0-9]{1,9})\\.log");

  /// How many logs of hypervisors are kept for a guest: one comes with each replacement.
  static final int MOST_HYPERVISORS = 20;

  private final Path state;
  private final Supplier<Guests> guests;
  private final ScheduledExecutorService thread;

  /// Logs that cannot be trimmed, which is said once.
  private final Set<Path> failed = new HashSet<>();

  /// The guests that run now.
  ///
  /// @param generations how many instances each has had
  /// @param moving those that are being moved: a hypervisor writes into its log between STOP and
  ///   RESUME, and must not wait for a file system that is cutting it
  record Guests(Map<String, Integer> generations, Set<String> moving) {
    Guests {
      generations = Map.copyOf(generations);
      moving = Set.copyOf(moving);
    }
  }

  private LogTrimmer(Path state, Supplier<Guests> guests) {
    this.state = state;
    this.guests = guests;
    this.thread =
        Executors.newSingleThreadScheduledExecutor(
            Thread.ofPlatform().name("hf-logs").daemon().factory());
  }

  /// Begins at once: nobody has looked while no daemon ran.
  ///
  /// @param state the state directory
  /// @param guests asked before each look
  static LogTrimmer start(Path state, Supplier<Guests> guests) {
    LogTrimmer trimmer = new LogTrimmer(state, guests);
    var _ =
        trimmer.thread.scheduleWithFixedDelay(
            trimmer::trimAll, 0, PERIOD.toMillis(), TimeUnit.MILLISECONDS);
    return trimmer;
  }

  private void trimAll() {
    try {
      Guests now = guests.get();
      for (String folder : FOLDERS) {
        boolean ofGuests = List.of("guests", HANDED).contains(folder);
        trimEach(state.resolve(folder), ofGuests ? now.moving() : Set.of());
      }
      now.generations().forEach(this::forgetOld);
    } catch (IOException | RuntimeException e) {
      LOG.warn("logs are not trimmed", e);
    }
  }

  private void trimEach(Path folder, Set<String> butThese) throws IOException {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (DirectoryStream<Path> homes = Files.newDirectoryStream(folder)) {
      for (Path home : homes) {
        if (Files.isDirectory(home, LinkOption.NOFOLLOW_LINKS)
            && !butThese.contains(String.valueOf(home.getFileName()).replaceFirst("\\..*", ""))) {
          try (DirectoryStream<Path> logs = Files.newDirectoryStream(home, "*.log")) {
            logs.forEach(this::trim);
          }
        }
      }
    }
  }

  private void trim(Path log) {
    try {
      if (Files.isRegularFile(log, LinkOption.NOFOLLOW_LINKS)
          && Files.size(log) > LogFile.MAX_BYTES
          && new LogFile(log).cut()) {
        LOG.debug("{} was trimmed", log);
      }
    } catch (IOException | LinuxException e) {
      if (failed.add(log)) {
        LOG.warn("{} grows without limit", log, e);
      }
    }
  }

  /// Of the guest's hypervisors that are gone; the one that runs it may be old.
  private void forgetOld(String guest, int running) {
    Path home = state.resolve("guests").resolve(guest);
    try (DirectoryStream<Path> logs = Files.newDirectoryStream(home, "hypervisor-*.log")) {
      List<Integer> all = new ArrayList<>();
      logs.forEach(log -> generation(log).ifPresent(all::add));
      all.sort(Comparator.reverseOrder());
      for (int old : all.subList(Math.min(MOST_HYPERVISORS, all.size()), all.size())) {
        if (old != running) {
          Files.deleteIfExists(home.resolve("hypervisor-" + old + ".log"));
        }
      }
    } catch (IOException e) {
      // The guest may have been deleted just now.
      LOG.debug("old logs of {} stay", guest, e);
    }
  }

  private static Optional<Integer> generation(Path log) {
    Matcher name = OF_HYPERVISOR.matcher(String.valueOf(log.getFileName()));
    return name.matches() ? Optional.of(Integer.parseInt(name.group(1))) : Optional.empty();
  }

  /// Ends it, when what it is doing is done.
  @Override
  public void close() {
    thread.close();
  }
}
