package dev.hyperfresh.testkit;

import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Pipe;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/// Divides blackouts into what the old QEMU, the way and the new QEMU took. For tests and
/// demonstrations: it stands in the way of the state, where the product has nobody, and passes on
/// what comes, so that what it adds is part of the way that it measures. Thread-safe.
final class MeasuredWay implements AutoCloseable {
  /// The parts of one blackout, milliseconds; the sum of the last three is the blackout.
  ///
  /// @param firstMs from STOP until the first byte after it left the old side, which is a part of
  ///   the save
  /// @param saveMs from STOP until the old QEMU had saved and written everything
  /// @param wayMs from then until the last byte was taken by the new side: agents, ports, pipes and
  ///   this pump, and whatever waits in them. 0 when the last byte had been taken before the old
  ///   QEMU said that it was written
  /// @param loadMs from then until RESUME: the new QEMU reads what has arrived, loads it and starts
  ///   the guest
  record Phases(double firstMs, double saveMs, double wayMs, double loadMs) {
    /// As an object of JSON.
    Map<String, Double> json() {
      Map<String, Double> json = new LinkedHashMap<>();
      json.put("save", rounded(saveMs));
      json.put("way", rounded(wayMs));
      json.put("load", rounded(loadMs));
      return json;
    }

    private static double rounded(double millis) {
      return Math.round(millis * 1000) / 1000.0;
    }
  }

  private static final int CAPACITY = 1 << 20;
  private static final int CHUNK = 64 * 1024;
  private static final int CHUNKS = 4096;
  private static final Duration IDLE = Duration.ofMillis(50);

  /// How soon it is seen that the new side has taken everything.
  private static final Duration LOOK = Duration.ofNanos(100_000);

  private final Map<String, Move> moves = new ConcurrentHashMap<>();
  private final List<Move> all = new CopyOnWriteArrayList<>();
  private volatile boolean measuring;

  /// Measures from now on, or no more.
  void measure(boolean on) {
    measuring = on;
  }

  /// `real` with the way between its instances measured.
  Hypervisor over(Hypervisor real) {
    return Overlay.on(
        Hypervisor.class,
        real,
        Map.of(
            "start", arguments -> real.start(heard(arguments[0])),
            "startWaiting",
                arguments -> {
                  Launch launch = heard(arguments[0]);
                  return target(real.startWaiting(launch), launch.spec().name());
                }));
  }

  private Launch heard(@Nullable Object argument) {
    Launch launch = (Launch) Objects.requireNonNull(argument);
    String guest = launch.spec().name();
    return new Launch(
        launch.spec(),
        launch.release(),
        launch.accelerator(),
        launch.memory(),
        launch.nicQueues(),
        launch.files(),
        launch.sockets(),
        launch.generation(),
        launch.confinement(),
        event -> {
          Move move = moves.get(guest);
          if (move != null) {
            move.hear(event);
          }
          launch.events().on(event);
        },
        launch.adopted());
  }

  private Instance target(Instance real, String guest) {
    return Overlay.on(
        Instance.class,
        real,
        Map.of(
            "expect",
            arguments -> {
              expect(real, (Fd) Objects.requireNonNull(arguments[0]), guest);
              return null;
            }));
  }

  private void expect(Instance target, Fd channel, String guest) {
    moves.remove(guest);
    if (!measuring) {
      target.expect(channel);
      return;
    }
    try (Pipe onward = Pipe.open(CAPACITY, "measured way of " + guest)) {
      target.expect(onward.readEnd());
      Move move = new Move(channel, onward, target.generation(), guest);
      moves.put(guest, move);
      all.add(move);
      move.thread.start();
    }
  }

  /// What became of the last move of a guest; empty when it was not measured, or did not come to
  /// its end.
  Optional<Phases> phases(String guest) {
    return Optional.ofNullable(moves.get(guest)).flatMap(Move::phases);
  }

  /// Ends whatever is under way.
  @Override
  public void close() {
    all.forEach(Move::end);
  }

  /// One move of one guest. What its thread notes is read once the thread has ended.
  private static final class Move {
    private final Fd in;
    private final Fd out;

    /// Only looked at.
    private final Fd beyond;

    private final int target;
    private final Thread thread;
    private final long[] cameNanos = new long[CHUNKS];
    private int chunks;
    private long takenNanos;
    private volatile boolean ending;
    private volatile long stoppedMicros;
    private volatile long sentMicros;
    private volatile long resumedMicros;

    Move(Fd channel, Pipe onward, int target, String guest) {
      this.in = channel.duplicate();
      this.out = onward.writeEnd().duplicate();
      this.beyond = onward.readEnd().duplicate();
      this.target = target;
      this.thread = Thread.ofPlatform().name("measured-way-" + guest).daemon().unstarted(this::run);
    }

    void hear(InstanceEvent event) {
      switch (event) {
        case InstanceEvent.Stopped stop when stop.generation() < target ->
            stoppedMicros = stop.atMicros();
        case InstanceEvent.HandOverSent sent when sent.generation() < target ->
            sentMicros = sent.atMicros();
        case InstanceEvent.Resumed resumed when resumed.generation() == target ->
            resumedMicros = resumed.atMicros().orElse(0);
        case InstanceEvent.Stopped _,
            InstanceEvent.HandOverSent _,
            InstanceEvent.Resumed _,
            InstanceEvent.HandOverFailed _,
            InstanceEvent.Answering _,
            InstanceEvent.PoweredOff _,
            InstanceEvent.Reset _,
            InstanceEvent.Changed _,
            InstanceEvent.Ended _ -> {}
      }
    }

    private void run() {
      try {
        pump();
      } catch (LinuxException e) {
        // A side is gone: the other one learns it from the end of its pipe.
        ending = true;
      } finally {
        out.close();
        in.close();
        beyond.close();
      }
    }

    private void pump() {
      byte[] chunk = new byte[CHUNK];
      boolean waits = false;
      boolean more = true;
      while (!ending && (more || waits)) {
        if (more && in.pollReadable(waits ? LOOK : IDLE)) {
          int count = in.read(chunk, 0, chunk.length);
          more = count > 0;
          if (more) {
            pass(chunk, count);
            waits = true;
          }
        } else if (waits && !beyond.pollReadable(Duration.ZERO)) {
          takenNanos = Clock.realtimeNanos();
          waits = false;
        } else if (!more) {
          LockSupport.parkNanos(LOOK.toNanos());
        }
      }
    }

    private void pass(byte[] chunk, int count) {
      if (chunks < CHUNKS) {
        cameNanos[chunks++] = Clock.realtimeNanos();
      }
      for (int written = 0; written < count; ) {
        written += out.write(chunk, written, count - written);
      }
    }

    void end() {
      ending = true;
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }

    /// After the move, when the source is gone and has closed its end.
    Optional<Phases> phases() {
      end();
      if (stoppedMicros == 0
          || sentMicros == 0
          || resumedMicros < stoppedMicros
          || takenNanos == 0) {
        return Optional.empty();
      }
      // Clocks of machines agree with this host's only so far.
      long sent = Math.clamp(sentMicros, stoppedMicros, resumedMicros);
      long taken = Math.clamp(takenNanos / 1000, sent, resumedMicros);
      return Optional.of(
          new Phases(
              (firstMicros() - stoppedMicros) / 1e3,
              (sent - stoppedMicros) / 1e3,
              (taken - sent) / 1e3,
              (resumedMicros - taken) / 1e3));
    }

    private long firstMicros() {
      for (int i = 0; i < chunks; i++) {
        if (cameNanos[i] / 1000 >= stoppedMicros) {
          return cameNanos[i] / 1000;
        }
      }
      return stoppedMicros;
    }
  }
}
