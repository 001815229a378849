package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/// Guests of a hypervisor that follows a script, and rollouts of them.
abstract class RolloutScene {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  static final Duration LONG = Duration.ofSeconds(10);

  @TempDir Path folder;
  Stage stage;
  Hyperplexor hyperplexor;
  final List<String> moved = Collections.synchronizedList(new ArrayList<>());
  volatile Rollout.Audience audience = Rollout.Audience.NONE;

  @BeforeEach
  void open() {
    stage = new Stage(folder).handingOver();
    hyperplexor = new Hyperplexor(folder.resolve("state"), new Kinds(stage), NO_KVM, _ -> {});
  }

  @AfterEach
  void close() {
    hyperplexor.close();
  }

  void guests(String... names) {
    for (String name : names) {
      hyperplexor.create(stage.spec(name), Stage.OLD, Progress.NONE);
    }
  }

  static GuestRollout.Order order(int parallel, int canary, Duration soak, String... names) {
    return new GuestRollout.Order(
        List.of(names),
        Stage.NEW,
        Optional.empty(),
        new Rollout.Pace(parallel, canary, soak),
        LONG,
        true,
        false);
  }

  static GuestRollout.Order one(String... names) {
    return order(1, 0, Duration.ZERO, names);
  }

  Rollout.Result<ReplacementRecord> rollOut(GuestRollout.Order order) {
    return hyperplexor.rollOut(
        order,
        (guest, maxBlackout, progress) -> {
          moved.add(guest);
          return hyperplexor.replace(guest, order.to(), maxBlackout, progress);
        },
        (guest, state, text) -> audience.told(guest, state, text));
  }

  static List<String> outcomes(Rollout.Result<ReplacementRecord> result) {
    return result.entries().stream().map(e -> e.name() + " " + e.outcome().label()).toList();
  }

  /// A record of a guest whose heartbeat stood still for so long.
  static ReplacementRecord felt(ReplacementRecord r, double gapMs) {
    return new ReplacementRecord(
        r.id(),
        r.guest(),
        r.kind(),
        r.from(),
        r.to(),
        r.accelerator(),
        r.startedAt(),
        r.blackoutMs(),
        OptionalDouble.of(gapMs),
        OptionalDouble.of(1),
        r.heartbeatWentBack(),
        r.aftermath(),
        r.ramBytesCopied(),
        r.stateBytes(),
        r.phases(),
        r.totalMs(),
        r.outcome(),
        r.problem(),
        r.detail(),
        r.parts(),
        r.clocks());
  }
}
