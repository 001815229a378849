package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.hypervisor.Release;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Takes back what an earlier daemon left in a state directory, whatever moment it was killed in.
/// Each guest has a thread of its own, so that a hypervisor that does not answer keeps no other
/// guest waiting; such a guest stays [GuestView.State#RECOVERING] until it answers or ends.
final class Recovery implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Recovery.class.getName());

  private final Path directory;
  private final Path sockets;
  private final Kinds kinds;
  private final Journal journal;
  private final Confiner confiner;
  private final GuestTable guests;
  private final Consumer<Guest> changed;
  private final Consumer<Guest> resting;
  private final List<CountDownLatch> ends = new ArrayList<>();
  private volatile boolean closed;

  /// @param sockets where control sockets are
  /// @param changed told of every guest whose view changed
  /// @param resting told of every guest that nothing runs
  Recovery(
      Path directory,
      Path sockets,
      Kinds kinds,
      Journal journal,
      Confiner confiner,
      GuestTable guests,
      Consumer<Guest> changed,
      Consumer<Guest> resting) {
    this.directory = directory;
    this.sockets = sockets;
    this.kinds = kinds;
    this.journal = journal;
    this.confiner = confiner;
    this.guests = guests;
    this.changed = changed;
    this.resting = resting;
  }

  /// Begins with every guest.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void start(
      Function<String, Release> releases,
      Map<String, Holdings> handedOver,
      Consumer<String> told,
      Consumer<ReplacementRecord> ended) {
    Map<String, Journal.Entry> unfinished = unfinished();
    GuestRecovery.Common common =
        new GuestRecovery.Common(
            kinds,
            sockets,
            journal,
            confiner,
            guests,
            releases,
            changed,
            resting,
            told,
            ended,
            () -> closed);
    Path folder = directory.resolve("guests");
    kinds.all().forEach(kind -> kind.endRehearsals(folder));
    Map<Path, List<Reattacher.Survivor>> processes =
        kinds.all().stream()
            .flatMap(kind -> kind.survivors(folder).stream())
            .collect(Collectors.groupingBy(Reattacher.Survivor::files));
    Map<String, Holdings> unclaimed = new HashMap<>(handedOver);
    for (Path files : folders()) {
      String name = String.valueOf(files.getFileName());
      List<Reattacher.Survivor> found = processes.getOrDefault(files, List.of());
      if (found.isEmpty() && isUnfinished(files)) {
        Contained.run("removing " + files, () -> OwnFolder.delete(files));
        continue;
      }
      GuestRecovery recovery =
          new GuestRecovery(
              common,
              name,
              files,
              Optional.ofNullable(unfinished.get(name)),
              Optional.ofNullable(unclaimed.remove(name)));
      CountDownLatch end = new CountDownLatch(1);
      ends.add(end);
      Thread.ofPlatform()
          .name("hf-recover-" + name)
          .daemon()
          .start(() -> {
            try {
              recovery.run(found);
            } catch (RuntimeException e) {
              LOG.log(System.Logger.Level.ERROR, "reattaching " + name + " failed", e);
              told.accept("Guest " + name + " could not be reattached: " + e.getMessage());
            } finally {
              end.countDown();
            }
          });
    }
    unclaimed.values().forEach(Holdings::close);
  }

  /// Of an adoption, in the middle of which a daemon died, there is nothing but copies of files.
  private static boolean isUnfinished(Path files) {
    return !GuestFile.isIn(files) && OwnFolder.isUnfinished(files);
  }

  private Map<String, Journal.Entry> unfinished() {
    Map<String, Journal.Entry> entries = new HashMap<>();
    Journal.unfinished(directory.resolve("journal.log"))
        .forEach(entry -> entries.put(entry.guest(), entry));
    return entries;
  }

  private List<Path> folders() {
    Path folder = directory.resolve("guests");
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(folder)) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Waits until all guests are taken back, at most `patience`.
  void await(Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    try {
      for (CountDownLatch end : ends) {
        var _ = end.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// No guest is taken back any more.
  @Override
  public void close() {
    closed = true;
    guests.recovering().clear();
  }
}
