package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Failed;
import dev.hyperfresh.hyperplexor.ReplacementState.Planned;
import dev.hyperfresh.hyperplexor.ReplacementState.Prepared;
import dev.hyperfresh.hyperplexor.ReplacementState.Retired;
import dev.hyperfresh.hyperplexor.ReplacementState.RolledBack;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Obstacle;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Pipe;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// The transaction that moves one guest from one hypervisor to another. Runs on the guest's thread.
///
/// Each method takes one state and returns the next; [#run] is the whole diagram of
/// [ReplacementState]. Until the target's RESUME the source is the guest's only authority, and
/// every error leads back to it; after that the target is, and the source is only ever ended.
final class Replacement {
  /// What a target needs beside the guest's memory, which it maps: measured at 60 to 120 MiB.
  private static final long TARGET_OVERHEAD_BYTES = 256L << 20;

  /// More than any device state of a guest within the limits of a spec.
  private static final int CHANNEL_BYTES = 1 << 20;

  /// How long the heartbeat is watched before and after the switch.
  private static final long QUIET_NANOS = 500_000_000;

  private static final long AFTER_NANOS = 250_000_000;
  private static final long STOP_REPORT_NANOS = 1_000_000_000;
  private static final Duration END_LIMIT = Duration.ofSeconds(5);

  private final Guest guest;
  private final Release to;
  private final Duration maxBlackout;
  private final Journal journal;
  private final Progress progress;
  private final String id;
  private final Instance source;
  private final Instant startedAt = Instant.now();
  private final long start = Clock.monotonicNanos();
  private Optional<Pulse.Watch> watch = Optional.empty();
  private double planMs;
  private double prepareMs;
  private double handOverMs;
  private long orderedMicros;
  private OptionalLong stoppedMicros = OptionalLong.empty();

  Replacement(
      String id,
      Guest guest,
      Release to,
      Duration maxBlackout,
      Journal journal,
      Progress progress) {
    this.id = id;
    this.guest = guest;
    this.to = to;
    this.maxBlackout = maxBlackout;
    this.journal = journal;
    this.progress = progress;
    this.source = guest.running();
  }

  /// Everything known to be in the way; touches nothing.
  static List<Obstacle> obstacles(Guest guest, Release to) {
    List<Obstacle> obstacles =
        new ArrayList<>(
            guest.hypervisor().obstacles(guest.spec(), to, guest.accelerator().accelerator()));
    if (!to.kind().equals(guest.hypervisor().kind())) {
      obstacles.add(
          new Obstacle(
              "The guest runs on a "
                  + guest.hypervisor().kind()
                  + " and "
                  + to.name()
                  + " is a "
                  + to.kind()
                  + ".",
              "Choose a release of the same kind."));
    }
    long available = Host.availableMemoryBytes();
    if (available < TARGET_OVERHEAD_BYTES) {
      obstacles.add(
          new Obstacle(
              "A second hypervisor needs 256 MiB and the host has " + (available >> 20) + " MiB.",
              "Free memory on the host."));
    }
    return obstacles;
  }

  /// Goes from the plan to one of the ends.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES] when the plan fails; nothing was
  ///   touched
  ReplacementRecord run() {
    List<Obstacle> obstacles = obstacles(guest, to);
    if (!obstacles.isEmpty()) {
      throw Problem.REPLACE_OBSTACLES.because(
          String.join(" ", obstacles.stream().map(o -> o.what() + " " + o.remedy()).toList()));
    }
    planMs = millisSince(start);
    ReplacementState state = new Planned();
    while (true) {
      switch (state) {
        case Planned _ -> state = prepare();
        case Prepared prepared -> state = switchOver(prepared);
        case Switching switching -> state = await(switching);
        case Committed committed -> state = retire(committed);
        case Retired retired -> {
          write("Retired");
          guest.publish(GuestView.State.RUNNING, "");
          return retired.record();
        }
        case RolledBack back -> {
          write("RolledBack");
          guest.publish(GuestView.State.RUNNING, "");
          return unsuccessful("rolled-back", back.reason());
        }
        case Failed failed -> {
          write("Failed");
          guest.publish(GuestView.State.STOPPED, failed.reason().detail());
          return unsuccessful("failed", failed.reason());
        }
      }
    }
  }

  /// The guest runs. Starts the target, opens the channel, finds the heartbeat.
  private ReplacementState prepare() {
    guest.publish(GuestView.State.REPLACING, "to " + to.name());
    progress.step("Planned", "starting " + to.name() + " beside " + source.release().name());
    write("Planned");
    long begin = Clock.monotonicNanos();
    Optional<Instance> target = Optional.empty();
    try {
      Instance waiting =
          guest.hypervisor().startWaiting(guest.launch(to, guest.endpoints().spares()));
      target = Optional.of(waiting);
      guest.endpoints().join();
      openChannel(waiting);
      observe();
      prepareMs = millisSince(begin);
      progress.step("Prepared", to.name() + " has mapped the memory and waits");
      return new Prepared(waiting);
    } catch (HyperFreshException | LinuxException e) {
      target.ifPresent(Replacement::discard);
      guest.endpoints().drop();
      closeWatch();
      return new RolledBack(
          e instanceof HyperFreshException known
              ? known
              : Problem.REPLACE_PREPARE.because(String.valueOf(e.getMessage()), e));
    }
  }

  /// A pipe and not a socket: the kernel then counts what the target reads.
  private void openChannel(Instance target) {
    try (Pipe channel = Pipe.open(CHANNEL_BYTES, "channel " + id)) {
      target.expect(channel.readEnd());
      source.connect(channel.writeEnd());
    }
  }

  private void observe() {
    if (guest.pulse().find()) {
      watch = guest.pulse().watch(guest.spec().name());
      LockSupport.parkNanos(QUIET_NANOS);
    }
  }

  /// The last moment in which nothing has happened to the guest.
  private ReplacementState switchOver(Prepared prepared) {
    write("Switching");
    guest.mailbox().clear();
    watch.ifPresent(Pulse.Watch::switchBegins);
    guest.endpoints().switchOver();
    orderedMicros = Clock.realtimeNanos() / 1000;
    try {
      source.handOver();
      return new Switching(prepared.target());
    } catch (LinuxException e) {
      return rollBack(
          prepared.target(), Problem.REPLACE_SWITCH.because(String.valueOf(e.getMessage()), e));
    }
  }

  /// The blackout. Waits for the target to resume, for a failure, or for the budget to run out.
  private ReplacementState await(Switching switching) {
    Instance target = switching.target();
    long deadline = Clock.monotonicNanos() + maxBlackout.toNanos();
    while (true) {
      InstanceEvent event = next(deadline);
      switch (event) {
        case null -> {
          return rollBack(
              target,
              Problem.REPLACE_DEADLINE.because(
                  "The target did not resume within " + maxBlackout.toMillis() + " ms."));
        }
        case InstanceEvent.Resumed resumed when resumed.generation() == target.generation() -> {
          return new Committed(target, resumed.atMicros());
        }
        case InstanceEvent.Stopped stop when stop.generation() == source.generation() ->
            stoppedMicros = OptionalLong.of(stop.atMicros());
        case InstanceEvent.HandOverFailed failure -> {
          return rollBack(target, Problem.REPLACE_SWITCH.because(side(failure) + failure.reason()));
        }
        case InstanceEvent.Ended ended when ended.generation() == target.generation() -> {
          return rollBack(target, Problem.REPLACE_SWITCH.because(side(ended) + ended.reason()));
        }
        // A source that ended may have sent everything: only the target knows.
        case InstanceEvent.Ended _,
            InstanceEvent.Resumed _,
            InstanceEvent.Stopped _,
            InstanceEvent.HandOverSent _,
            InstanceEvent.PoweredOff _ -> {}
      }
    }
  }

  private String side(InstanceEvent event) {
    return event.generation() == source.generation()
        ? source.release().name() + " (old): "
        : to.name() + " (new): ";
  }

  @org.jspecify.annotations.Nullable
  private InstanceEvent next(long deadline) {
    try {
      return guest
          .mailbox()
          .poll(Math.max(0, deadline - Clock.monotonicNanos()), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    }
  }

  /// The source is the authority again, once the target is certain never to run.
  private ReplacementState rollBack(Instance target, HyperFreshException reason) {
    discard(target);
    if (guest.mailbox().stream().anyMatch(event -> resumedBy(event, target))) {
      closeWatch();
      return new Failed(
          Problem.REPLACE_LOST.because("The target had resumed the guest when it was ended."));
    }
    guest.endpoints().switchBack();
    guest.endpoints().drop();
    try {
      source.takeBack();
      progress.step("RolledBack", "the guest goes on with " + source.release().name());
      return new RolledBack(reason);
    } catch (HyperFreshException lost) {
      return new Failed(lost);
    } finally {
      closeWatch();
    }
  }

  private static boolean resumedBy(InstanceEvent event, Instance instance) {
    return event instanceof InstanceEvent.Resumed && event.generation() == instance.generation();
  }

  private static void discard(Instance target) {
    target.kill();
    target.close();
  }

  /// The guest runs on the target. Ends the source and collects the figures.
  private ReplacementState retire(Committed committed) {
    long stateBytes = committed.target().stateBytes();
    guest.adopt(committed.target());
    write("Committed");
    awaitStopped();
    handOverMs = stoppedMicros.isPresent() ? (stoppedMicros.getAsLong() - orderedMicros) / 1e3 : 0;
    progress.step("Committed", "the guest runs on " + to.name());
    long begin = Clock.monotonicNanos();
    long ramBytesCopied = source.ramBytesCopied();
    source.end(END_LIMIT);
    source.close();
    guest.endpoints().keep();
    double retireMs = millisSince(begin);
    if (watch.isPresent()) {
      LockSupport.parkNanos(AFTER_NANOS);
    }
    OptionalDouble blackoutMs =
        stoppedMicros.isPresent()
            ? OptionalDouble.of((committed.resumedMicros() - stoppedMicros.getAsLong()) / 1e3)
            : OptionalDouble.empty();
    ReplacementRecord record =
        record(blackoutMs, ramBytesCopied, stateBytes, retireMs, "committed", "", "");
    closeWatch();
    return new Retired(record);
  }

  /// The two hypervisors report on channels of their own, so the source's STOP can be read after
  /// the target's RESUME.
  private void awaitStopped() {
    long deadline = Clock.monotonicNanos() + STOP_REPORT_NANOS;
    while (stoppedMicros.isEmpty()) {
      InstanceEvent event = next(deadline);
      if (event == null) {
        return;
      }
      if (event instanceof InstanceEvent.Stopped stop && stop.generation() == source.generation()) {
        stoppedMicros = OptionalLong.of(stop.atMicros());
      }
    }
  }

  private ReplacementRecord unsuccessful(String outcome, HyperFreshException reason) {
    return record(
        OptionalDouble.empty(), 0, 0, 0, outcome, reason.problem().code(), reason.detail());
  }

  private ReplacementRecord record(
      OptionalDouble blackoutMs,
      long ramBytesCopied,
      long stateBytes,
      double retireMs,
      String outcome,
      String problem,
      String detail) {
    boolean committed = outcome.equals("committed");
    return new ReplacementRecord(
        id,
        guest.spec().name(),
        to.kind(),
        source.release().name(),
        to.name(),
        guest.accelerator().accelerator().label(),
        startedAt,
        blackoutMs,
        committed ? millis(watch.map(Pulse.Watch::gapNanos)) : OptionalDouble.empty(),
        committed ? millis(watch.map(Pulse.Watch::floorNanos)) : OptionalDouble.empty(),
        watch.map(Pulse.Watch::wentBack).orElse(false),
        ramBytesCopied,
        stateBytes,
        new ReplacementRecord.Phases(planMs, prepareMs, handOverMs, retireMs),
        millisSince(start),
        outcome,
        problem,
        detail);
  }

  private static OptionalDouble millis(Optional<Long> nanos) {
    return nanos.isPresent() ? OptionalDouble.of(nanos.get() / 1e6) : OptionalDouble.empty();
  }

  private void closeWatch() {
    watch.ifPresent(Pulse.Watch::close);
    watch = Optional.empty();
  }

  private void write(String state) {
    int next = guest.view().generation();
    journal.write(
        new Journal.Entry(
            Instant.now(), id, guest.spec().name(), state, source.generation(), next, to.name()));
  }

  private static double millisSince(long nanos) {
    return (Clock.monotonicNanos() - nanos) / 1e6;
  }
}
