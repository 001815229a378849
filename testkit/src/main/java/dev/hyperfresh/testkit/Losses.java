package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.vm.VmHardware;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// What a run lost of that which it was to keep, in sentences, so that no run succeeds over a loss.
///
/// Machines, operating systems and guests that end by themselves are noticed when it happens, with
/// the last that they said. What was deleted on purpose is not listed by the daemon any more and is
/// no loss. Thread-safe.
final class Losses implements AutoCloseable {
  /// How exactly it is known when something ended.
  private static final long LOOK_NANOS = 50_000_000;

  private static final int LAST_LINES = 3;

  private final Daemon daemon;
  private final long begin = Clock.monotonicNanos();
  private final List<String> said = new ArrayList<>();

  /// What has ended and is listed still, by what it is; in the order of their ends.
  private final Map<String, String> ended = new LinkedHashMap<>();

  private final Thread watcher;
  private volatile boolean closed;

  private Losses(Daemon daemon) {
    this.daemon = daemon;
    this.watcher = Thread.ofPlatform().name("hf-losses").daemon().start(this::watch);
  }

  /// Watches all that `daemon` has.
  static Losses of(Daemon daemon) {
    return new Losses(daemon);
  }

  private void watch() {
    while (!closed) {
      look();
      LockSupport.parkNanos(LOOK_NANOS);
    }
  }

  private synchronized void look() {
    if (closed) {
      return;
    }
    Map<String, String> now = new LinkedHashMap<>();
    for (Machine machine : daemon.machines().list()) {
      if (machine.ended()) {
        String what = "machine " + machine.name();
        now.put(what, remembered(what, () -> ended(machine)));
      }
    }
    for (OsVm os : daemon.systems().systems().list()) {
      if (os.ended()) {
        String what = "OS " + os.name();
        Path files = daemon.config().state().resolve("os").resolve(os.name());
        now.put(what, remembered(what, () -> ended(what, "", VmHardware.lastWords(files))));
      }
    }
    for (GuestView guest : daemon.hyperplexor().list()) {
      if (guest.state() == GuestView.State.STOPPED) {
        String what = "guest " + guest.spec().name();
        now.put(what, remembered(what, () -> ended(guest)));
      }
    }
    ended.clear();
    ended.putAll(now);
  }

  private String remembered(String what, Supplier<String> sentence) {
    String before = ended.get(what);
    return before != null
        ? before
        : String.format(
            Locale.ROOT, "After %.1f s %s", (Clock.monotonicNanos() - begin) / 1e9, sentence.get());
  }

  private static String ended(String what, String detail, String lastWords) {
    return what
        + " ended by itself"
        + (detail.isEmpty() ? "." : ": " + detail + ".")
        + (lastWords.isEmpty() ? " It left no message." : lastWords);
  }

  /// That a machine has ended, with the last that it said.
  static String ended(Machine machine) {
    return ended("machine " + machine.name(), "", VmHardware.lastWords(machine.files()));
  }

  /// That a guest has ended, with what is known of it.
  static String ended(GuestView guest) {
    return ended(
        "guest " + guest.spec().name(),
        guest.detail(),
        last(log(guest.files()), " Its hypervisor said: "));
  }

  /// The log of a guest's last hypervisor on this host, if it had one here.
  private static Optional<Path> log(Path files) {
    try (Stream<Path> all = Files.list(files)) {
      return all.filter(
              file -> String.valueOf(file.getFileName()).matches("hypervisor-[0-9]+\\.log"))
          .max(Comparator.comparingLong(file -> file.toFile().lastModified()));
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static String last(Optional<Path> log, String introduction) {
    if (log.isEmpty()) {
      return "";
    }
    try {
      List<String> lines =
          Files.readString(log.get(), StandardCharsets.ISO_8859_1)
              .lines()
              .map(String::strip)
              .filter(line -> !line.isEmpty())
              .toList();
      return lines.isEmpty()
          ? ""
          : introduction
              + String.join(
                  " / ", lines.subList(Math.max(0, lines.size() - LAST_LINES), lines.size()));
    } catch (IOException e) {
      return "";
    }
  }

  /// Notes a loss, as a sentence.
  synchronized void add(String sentence) {
    said.add(sentence);
  }

  /// Notes what a replacement did not keep or could not say.
  void check(ReplacementRecord record) {
    String what = record.guest() + " from " + record.from() + " to " + record.to();
    if (!record.committed()) {
      add(what + ": " + record.outcome().label() + ", " + record.problem() + " " + record.detail());
      return;
    }
    if (record.heartbeatWentBack()) {
      add(what + ": the guest's heartbeat went back.");
    }
    if (record.ramBytesCopied().isEmpty()) {
      add(what + ": how much RAM was copied is not known.");
    } else if (record.ramBytesCopied().getAsLong() != 0) {
      add(what + ": " + record.ramBytesCopied().getAsLong() + " bytes of RAM were copied.");
    }
  }

  /// Notes what a finished stream lost.
  void check(String guest, EchoStream stream) {
    if (stream.bytesLost() != 0) {
      add(
          stream.bytesLost()
              + " of "
              + stream.bytesSent()
              + " bytes that were sent to "
              + guest
              + " did not come back.");
    }
    if (!stream.fault().isEmpty()) {
      add("The connection to " + guest + " broke: " + stream.fault());
    }
  }

  /// Runs a part of the run. When something ends by itself, what fails after it is a part of the
  /// loss and no failure of its own.
  void during(Runnable part) {
    try {
      part.run();
    } catch (RuntimeException e) {
      if (all().isEmpty()) {
        throw e;
      }
      keep();
      add("Then this failed: " + (e instanceof HyperFreshException h ? h.detail() : message(e)));
    }
    keep();
  }

  private static String message(RuntimeException e) {
    return e.getMessage() == null ? e.toString() : e.getMessage();
  }

  /// From now on what has ended counts also when the run deletes it.
  synchronized void keep() {
    look();
    ended.values().stream().filter(sentence -> !said.contains(sentence)).forEach(said::add);
  }

  /// What was lost until now.
  synchronized List<String> all() {
    look();
    return Stream.concat(said.stream(), ended.values().stream()).distinct().toList();
  }

  /// Fails when anything was lost.
  ///
  /// @throws HyperFreshException [Problem#RUN_LOST]
  void require() {
    List<String> all = all();
    if (!all.isEmpty()) {
      throw Problem.RUN_LOST.because(String.join("\n  ", all));
    }
  }

  /// Watches no longer; what ends from now on is no loss.
  void stop() {
    closed = true;
    LockSupport.unpark(watcher);
  }

  @Override
  public void close() {
    stop();
  }
}
