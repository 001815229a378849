package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.relocation.Container.State;
import dev.hyperfresh.relocation.RelocationRecord.Drain;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// One move of a container from one OS to another, as a transaction. For one thread.
///
/// ```
/// prepare ─▶ freeze ─▶ restore ═▶ committed ─▶ drain ─▶ retire
///    │          │         │
///    └──────────┴─────────┴──▶ rolled back: it runs on in the old OS
/// ```
///
/// The old OS has the container until it runs in the new one; what fails before leads back. While
/// it stands still, what peers send to it waits in the new OS's hardware. Its memory stays where it
/// is, in the old OS's memory, which the new OS sees; it is fetched page by page when the container
/// runs, what it touches first.
final class Relocation {
  private static final System.Logger LOG = System.getLogger(Relocation.class.getName());
  private static final Pattern DRAINED =
      Pattern.compile(
          "drained ([0-9]+) pages [0-9]+ bytes ([0-9]+) us ([0-9]+) faults ([0-9]+) us .*");

  /// `struct header` and `struct run` of `relocate.c`.
  private static final int HEADER_BYTES = 24;

  private static final int RUN_BYTES = 24;
  private static final int COUNT_OFFSET = 16;

  /// How long a container may take to run in the new OS before it goes on in the old one. Its
  /// processes wait for pages before CRIU is done with them, so this is also for a program that
  /// fetches none.
  private static final Duration RESTORE_LIMIT = Duration.ofSeconds(60);

  private static final Duration COPY_LIMIT = Duration.ofMinutes(10);

  private final Container container;
  private final OsVm from;
  private final OsVm to;
  private final Transport transport;
  private final Progress progress;
  private final Inside old;
  private final Inside fresh;
  private final Deque<Runnable> undo = new ArrayDeque<>();
  private final Map<String, Double> phases = new LinkedHashMap<>();
  private Optional<OsVm.Window> window = Optional.empty();
  private Optional<Line> freezing = Optional.empty();
  private Optional<Line> restoring = Optional.empty();
  private long since;

  Relocation(Container container, OsVm to, Transport transport, Progress progress) {
    this.container = container;
    this.from = container.os();
    this.to = to;
    this.transport = transport;
    this.progress = progress;
    this.old = new Inside(from, container.spec());
    this.fresh = new Inside(to, container.spec());
  }

  /// Moves the container; afterwards it runs in the new OS with all of its memory, or in the old
  /// one.
  ///
  /// @throws HyperFreshException [Problem#RELOCATE_LOST] when it runs in neither
  RelocationRecord run() {
    long begin;
    Placement.Move move = new Placement.Move(from.name(), to.name(), transport, to.newWindow());
    container.place(Optional.of(move));
    try {
      prepare(move.window());
      begin = Clock.monotonicNanos();
      move();
    } catch (TroubleException | LinuxException e) {
      return rolledBack(String.valueOf(e.getMessage()));
    }
    double frozen = (Clock.monotonicNanos() - begin) / 1e6;
    container.is(State.DRAINING);
    // Before the old OS loses any of its memory.
    container.placed(Optional.of(move));
    progress.step(
        "Committed",
        String.format(
            Locale.ROOT,
            "%s runs in %s; it stood for %.0f ms",
            container.name(),
            to.name(),
            frozen));
    long memory = memoryBytes();
    long copied = copiedBytes();
    Drain drain = drain();
    retire();
    container.is(State.RUNNING);
    container.placed(Optional.empty());
    return record("committed", "", memory, copied, OptionalDouble.of(frozen), drain);
  }

  private void prepare(String windowId) {
    progress.step("Prepared", to.name() + " gets ready for " + container.name());
    since = Clock.monotonicNanos();
    if (transport == Transport.MAPPED) {
      OsVm.Window memory = to.attach(from, windowId);
      window = Optional.of(memory);
      undo.push(() -> attempt(to, () -> to.detach(memory)));
    }
    if (transport.isCopied()) {
      undo.push(this::cutLink);
      CopyLink.connect(container.spec(), from, to);
    }
    container.port().ifPresent(port -> undo.push(port::dropSpare));
    undo.push(() -> attempt(to, fresh::remove));
    fresh.network(container.port().map(Tap::spare));
    fresh.hold();
    container.port().ifPresent(Tap::joinSpare);
    fresh.live();
    fresh.prepare(from, window);
    // What is done in the move is undone last step first: it goes on before it hears and speaks.
    undo.push(() -> container.port().ifPresent(Tap::switchBack));
    undo.push(() -> old.silence(false));
    undo.push(() -> freezing.ifPresent(Line::close));
    undo.push(old::thaw);
    freezing = Optional.of(old.freezing(transport));
    undo.push(() -> freezing.ifPresent(Line::no));
    // It reads what the freezing has written down of the output, so it comes after it.
    restoring = Optional.of(fresh.restoring(transport));
    undo.push(() -> restoring.ifPresent(Line::close));
    phase("prepare");
  }

  private void move() {
    container.is(State.MOVING);
    since = Clock.monotonicNanos();
    container.port().ifPresent(Tap::switchToSpare);
    phase("switch");
    Line freeze = freezing.orElseThrow();
    freeze.ok();
    // All processes stand: what they have sent is on its way, and their kernel adds nothing.
    freeze.await("network-lock");
    old.silence(true);
    freeze.ok();
    freeze.await("post-dump");
    phase("freeze");
    if (transport.isCopied()) {
      old.pack();
      phase("copy");
    }
    Line restore = restoring.orElseThrow();
    restore.go();
    if (transport == Transport.MAPPED) {
      tellOfList(freeze, restore);
    }
    int pid =
        fresh.processOf(
            restore.awaitEnd(transport == Transport.MAPPED ? RESTORE_LIMIT : COPY_LIMIT));
    phase("restore");
    // From here on the new OS has it.
    container.runs(to, pid);
    var _ = attempt(to, fresh::deliver);
    phase("deliver");
  }

  /// Where the memory is takes the longer to write down the more there is, and what is in it is not
  /// asked for before the processes are there.
  private static void tellOfList(Line freeze, Line restore) {
    try {
      freeze.await("listed");
    } catch (TroubleException e) {
      restore.no();
      throw e;
    }
    restore.listed();
  }

  private void phase(String name) {
    long now = Clock.monotonicNanos();
    phases.put(name, (now - since) / 1e6);
    since = now;
  }

  /// Once an OS was let go of, the next daemon decides.
  private void requireHeld() {
    if (from.vm().released() || to.vm().released()) {
      throw Problem.CONTAINER_STATE.because(
          container.name() + " was being moved when this daemon ended; the next one decides.");
    }
  }

  private RelocationRecord rolledBack(String why) {
    requireHeld();
    // Nothing of it may run in the new OS when it goes on in the old one, and no peer may hear of
    // its end there.
    var _ = attempt(to, () -> fresh.silence(true));
    boolean ended = endInNew();
    if (!ended) {
      throw Problem.RELOCATE_LOST.because(
          container.name() + ": " + why + " And " + to.name() + " does not give it up.");
    }
    String failed = undo();
    requireHeld();
    container.is(State.RUNNING);
    container.placed(Optional.empty());
    if (!failed.isEmpty()) {
      throw Problem.RELOCATE_LOST.because(container.name() + ": " + why + "; then " + failed);
    }
    progress.step("RolledBack", container.name() + " runs on in " + from.name());
    return record("rolled-back", why, 0, 0, OptionalDouble.empty(), Drain.NONE);
  }

  private boolean endInNew() {
    if (to.ended()) {
      return true;
    }
    try {
      fresh.end();
      return true;
    } catch (TroubleException e) {
      requireHeld();
      LOG.log(System.Logger.Level.WARNING, container.name() + " in " + to.name(), e);
      to.vm().close();
      return to.ended();
    }
  }

  /// What has been done is undone, the last first. Only what concerns the old OS matters for the
  /// container; of the rest a part may stay behind.
  private String undo() {
    String failed = "";
    while (!undo.isEmpty()) {
      try {
        undo.pop().run();
      } catch (TroubleException | LinuxException | IllegalStateException e) {
        LOG.log(System.Logger.Level.WARNING, container.name() + " was not cleared up", e);
        if (from.ended()) {
          failed = from.name() + " has ended";
        }
      }
    }
    return failed;
  }

  /// Waits until all memory has come, and gives back to the host what the old OS no longer needs.
  private Drain drain() {
    progress.step("Draining", "its memory follows");
    long before = Clock.monotonicNanos();
    try (Freed _ = new Freed(from, container.freed())) {
      fresh.adopt();
      if (transport == Transport.COPIED) {
        return Drain.NONE;
      }
      Matcher line = DRAINED.matcher(fresh.drain());
      old.requireUnmoved();
      phases.put("drain", (Clock.monotonicNanos() - before) / 1e6);
      return line.matches()
          ? new Drain(
              Long.parseLong(line.group(1)),
              Long.parseLong(line.group(2)) / 1000.0,
              Long.parseLong(line.group(3)),
              Long.parseLong(line.group(4)))
          : Drain.NONE;
    } catch (TroubleException e) {
      requireHeld();
      // With pages that are missing it would read zeros.
      var _ = attempt(to, fresh::end);
      container.is(State.STOPPED);
      throw Problem.RELOCATE_LOST.because(
          container.name() + " ended while its memory came: " + e.getMessage(), e);
    }
  }

  private void cutLink() {
    var _ = attempt(from, () -> CopyLink.cutFrom(container.spec(), from));
    var _ = attempt(to, () -> CopyLink.cutTo(container.spec(), to));
  }

  private void retire() {
    undo.clear();
    if (transport.isCopied()) {
      cutLink();
    }
    // Its frames are the old OS's own from then on.
    container.forgetFreed();
    restoring.ifPresent(Line::close);
    if (attempt(from, old::remove)) {
      container.port().ifPresent(Tap::keepSpare);
    }
    freezing.ifPresent(Line::close);
    window.ifPresent(memory -> attempt(to, () -> to.detach(memory)));
    container.forgetImages();
  }

  /// Whether `where` has nothing of it any more.
  private boolean attempt(OsVm where, Runnable step) {
    if (where.ended()) {
      return true;
    }
    try {
      step.run();
      return true;
    } catch (TroubleException e) {
      LOG.log(
          System.Logger.Level.WARNING, container.name() + " left something in " + where.name(), e);
      return where.ended();
    }
  }

  /// Of the pages that were written down.
  private long memoryBytes() {
    Path list = container.images().resolve("pages");
    try (InputStream in = new BufferedInputStream(Files.newInputStream(list))) {
      in.skipNBytes(HEADER_BYTES);
      long pages = 0;
      for (byte[] run = in.readNBytes(RUN_BYTES);
          run.length == RUN_BYTES;
          run = in.readNBytes(RUN_BYTES)) {
        pages +=
            Integer.toUnsignedLong(
                ByteBuffer.wrap(run).order(ByteOrder.LITTLE_ENDIAN).getInt(COUNT_OFFSET));
      }
      return pages << 12;
    } catch (IOException e) {
      return 0;
    }
  }

  private long copiedBytes() {
    if (transport.isCopied()) {
      return packedBytes();
    }
    try (Stream<Path> files = Files.list(container.images())) {
      return files.mapToLong(file -> file.toFile().length()).sum();
    } catch (IOException e) {
      return 0;
    }
  }

  private long packedBytes() {
    try {
      return old.packedBytes();
    } catch (TroubleException | NumberFormatException e) {
      LOG.log(System.Logger.Level.DEBUG, "how much was copied", e);
      return 0;
    }
  }

  private RelocationRecord record(
      String outcome, String detail, long memory, long copied, OptionalDouble frozen, Drain drain) {
    return new RelocationRecord(
        container.name(),
        from.name(),
        to.name(),
        from.settings().release().kernelVersion(),
        to.settings().release().kernelVersion(),
        transport.label(),
        outcome,
        detail,
        memory,
        copied,
        new LinkedHashMap<>(phases),
        frozen,
        drain);
  }
}
