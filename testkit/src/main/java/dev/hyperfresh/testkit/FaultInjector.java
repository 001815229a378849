package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.testkit.FaultPlan.Point;
import dev.hyperfresh.testkit.FaultPlan.State;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// Makes fault plans happen to the guests of one hyperplexor: it watches the control channels,
/// stands in the channel of the state, and is told of the states. One plan a guest at a time;
/// several guests can each have one. Thread-safe.
final class FaultInjector implements ControlWatcher {
  /// Longer than the product waits for anything that a hung hypervisor does not do.
  private static final Duration HANG = Duration.ofSeconds(6);

  private static final Duration LIMIT = Duration.ofMinutes(2);

  private final Path state;
  private final Map<String, FaultCharge> charges = new ConcurrentHashMap<>();
  private final List<Instance> instances = new CopyOnWriteArrayList<>();

  /// @param state the state directory of the hyperplexor
  FaultInjector(Path state) {
    this.state = state;
  }

  /// The kinds of hypervisor to give to the hyperplexor: QEMU, in the injector's hands.
  ///
  /// @param patience how long a QEMU may take for an answer
  Kinds kinds(Duration patience) {
    Qemu qemu = new Qemu(this, patience);
    Hypervisor held =
        Overlay.on(
            Hypervisor.class,
            qemu,
            Map.of(
                "start", arguments -> held(qemu.start(launch(arguments)), launch(arguments)),
                "startWaiting",
                    arguments -> held(qemu.startWaiting(launch(arguments)), launch(arguments)),
                "attach",
                    arguments ->
                        held(
                            qemu.attach(launch(arguments), (int) given(arguments, 1)),
                            launch(arguments))));
    return new Kinds(held);
  }

  private static Launch launch(@Nullable Object[] arguments) {
    return (Launch) given(arguments, 0);
  }

  private static Object given(@Nullable Object[] arguments, int index) {
    Object argument = arguments[index];
    if (argument == null) {
      throw new IllegalArgumentException("argument " + index + " is null");
    }
    return argument;
  }

  private Instance held(Instance real, Launch launch) {
    String guest = launch.spec().name();
    Instance held =
        Overlay.on(
            Instance.class,
            real,
            Map.of(
                "expect", arguments -> expect(guest, real, (Fd) given(arguments, 0)),
                "close", _ -> close(real)));
    instances.add(held);
    return held;
  }

  private @Nullable Object expect(String guest, Instance target, Fd channel) {
    FaultCharge charge = charges.get(guest);
    if (charge != null && charge.plan().needsRelay()) {
      charge.relay(channel, target::expect);
    } else {
      target.expect(channel);
    }
    return null;
  }

  private @Nullable Object close(Instance real) {
    instances.removeIf(held -> held.pid() == real.pid());
    real.close();
    return null;
  }

  /// Arms `plan` for the next replacement of a guest.
  ///
  /// @param source the guest as it is before the replacement
  FaultCharge arm(FaultPlan plan, GuestView source) {
    FaultCharge charge = new FaultCharge(plan, source, state);
    if (charges.putIfAbsent(source.spec().name(), charge) != null) {
      throw new IllegalStateException(source.spec().name() + " has a plan already");
    }
    return charge;
  }

  /// Ends what is left of the guest's plan, except for the victims: they stay as they were left.
  void disarm(String guest) {
    FaultCharge charge = charges.remove(guest);
    if (charge != null) {
      charge.close();
    }
  }

  /// What came of a replacement under a plan.
  ///
  /// @param wentOff whether the plan's point was reached
  record Drill(ReplacementRecord record, boolean wentOff) {}

  /// Runs one replacement under `plan`. What hangs is let go on when the replacement is over, or
  /// when it has waited longer than the product does for anything.
  ///
  /// @param source the guest as it is before
  /// @param replacement runs it, with the progress that it is given
  /// @throws IllegalStateException when it does not end, or ends with an error
  Drill drill(FaultPlan plan, GuestView source, Function<Progress, ReplacementRecord> replacement) {
    String guest = source.spec().name();
    FaultCharge charge = arm(plan, source);
    FutureTask<ReplacementRecord> task =
        new FutureTask<>(() -> replacement.apply(progress(charge)));
    Thread.ofPlatform().name("fault-drill-" + guest).daemon().start(task);
    try {
      Await.holdsWithin(LIMIT, () -> task.isDone() || !charge.hung().isEmpty());
      Await.holdsWithin(HANG, task::isDone);
      charge.thaw();
      return new Drill(task.get(LIMIT.toSeconds(), TimeUnit.SECONDS), charge.wentOff());
    } catch (ExecutionException e) {
      throw new IllegalStateException(plan + ": " + e.getCause(), e);
    } catch (TimeoutException e) {
      throw new IllegalStateException(plan + ": the replacement does not end", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    } finally {
      charge.thaw();
      disarm(guest);
    }
  }

  /// What to give to the replacement of `charge`'s guest.
  static Progress progress(FaultCharge charge) {
    return (name, _) -> {
      for (State state : State.values()) {
        if (state.toString().equals(name)) {
          charge.reach(new Point.Entering(state));
        }
      }
    };
  }

  /// The instances whose processes nobody has let go of, of all guests.
  List<Instance> instances() {
    return List.copyOf(instances);
  }

  @Override
  public void sending(Party to, String command) {
    FaultCharge charge = charges.get(to.guest());
    if (charge != null && charge.concerns(to)) {
      charge.sending(to, command);
    }
  }

  @Override
  public boolean received(Party from, String message, String status) {
    FaultCharge charge = charges.get(from.guest());
    return charge == null || !charge.concerns(from) || charge.received(from, message, status);
  }

  /// The process of a guest's hypervisor, if it is one of [#instances].
  Optional<Instance> instance(int pid) {
    return instances.stream().filter(instance -> instance.pid() == pid).findFirst();
  }
}
