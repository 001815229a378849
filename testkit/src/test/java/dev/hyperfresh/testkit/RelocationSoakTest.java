package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.Systems;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Containers move between two operating systems again and again, each time with a fault at a
/// random moment. After each move every container runs in exactly one OS, with its memory and its
/// connection, unless the very OS was killed that had it.
///
/// `-Dhf.soak.moves=N` makes more moves than the few of `./verify`, and then operating systems are
/// killed, too; `-Dhf.soak.seed=S` makes the same ones again.
@Tag("slow")
class RelocationSoakTest {
  private static final int FEW = 5;
  private static final int MOVES = Integer.getInteger("hf.soak.moves", FEW);
  private static final long SEED = Long.getLong("hf.soak.seed", 1L);
  private static final int MEBIBYTES = 24;
  private static final int LONGEST_SILENCE_MS = 6_000;
  private static final int LONGEST_DELAY_MS = 3_000;
  private static final Duration LIMIT = Duration.ofMinutes(2);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final Random random = new Random(SEED);
  private final Map<Fault, Integer> moved = new EnumMap<>(Fault.class);
  private final Map<Fault, Integer> stayed = new EnumMap<>(Fault.class);
  private final Map<Fault, Integer> lost = new EnumMap<>(Fault.class);

  private final Map<String, Lodger> lodgers = new LinkedHashMap<>();

  private Optional<OsStage> opened = Optional.empty();

  private enum Fault {
    DAEMON_KILLED,
    DAEMON_ENDED,
    DAEMON_UPGRADED,
    RESTORE_FAILS,
    NEW_OS_SILENT,
    OLD_OS_SILENT,
    NONE,
    NEW_OS_KILLED,
    OLD_OS_KILLED;

    boolean killsOs() {
      return this == NEW_OS_KILLED || this == OLD_OS_KILLED;
    }
  }

  private OsStage stage() {
    return opened.orElseThrow();
  }

  private Systems systems() {
    return stage().daemon().systems;
  }

  @Test
  void containersMoveWhateverHappens() throws Exception {
    System.out.printf(Locale.ROOT, "  %d moves, seed %d%n", MOVES, SEED);
    try (OsStage made = new OsStage(workspace.state(), "10.80.0.1/24")) {
      opened = Optional.of(made);
      made.takeBack();
      Workshop.together(() -> made.boot("older", "6.1"), () -> made.boot("newer", "6.12"));
      settle(made);
      List<String> names = List.copyOf(lodgers.keySet());
      List<Fault> faults = faults();
      for (int i = 0; i < MOVES; i++) {
        move(i, names.get(random.nextInt(names.size())), faults.get(i % faults.size()));
      }
    } finally {
      lodgers.values().forEach(Lodger::close);
    }
    System.out.printf(
        Locale.ROOT, "  moved: %s%n  stayed: %s%n  lost with their OS: %s%n", moved, stayed, lost);
  }

  /// All that there are in few moves, in an order of their own; each as often in many.
  private List<Fault> faults() {
    List<Fault> faults = new ArrayList<>(List.of(Fault.values()));
    if (MOVES <= FEW) {
      return faults.subList(0, FEW);
    }
    Collections.shuffle(faults, random);
    return faults;
  }

  private void settle(OsStage made) throws IOException {
    Path bundle = ContainerBundle.build(workspace.state().resolve("bundle"), MEBIBYTES, 1);
    Path bundles = workspace.state().resolve("bundles");
    settle(new Lodger.Serving(made, Lodger.spec("c1", "10.80.0.11", bundle)), "older");
    settle(new Lodger.Serving(made, Lodger.spec("c2", "10.80.0.12", bundle)), "newer");
    settle(new Lodger.Counting(made, "c3", new JobBundle(bundles)), "older");
    if (MOVES > FEW) {
      RealBundles real = new RealBundles(Workshop.CACHE, bundles, Workshop.PACKAGES, Workshop::say);
      settle(
          new Lodger.Answering(
              made, Lodger.spec("c4", "10.80.0.14", real.redis()), RedisClient::open),
          "newer");
      settle(
          new Lodger.Answering(
              made,
              Lodger.spec("c5", "10.80.0.15", real.nginx()),
              (address, patience) ->
                  PageClient.open(address, RealBundles.PAGE_PORT, RealBundles.PAGE, patience)),
          "older");
    }
  }

  private void settle(Lodger lodger, String os) {
    lodgers.put(lodger.name, lodger);
    lodger.begin(os);
  }

  /// @param oldPid the hardware of the OS that the container is to leave
  private record Order(
      String name, String from, String to, Fault fault, int delayMs, int oldPid, int newPid) {
    String text() {
      return String.format(Locale.ROOT, "%s to %s, %s after %d ms", name, to, fault, delayMs);
    }

    String killed() {
      return switch (fault) {
        case NEW_OS_KILLED -> to;
        case OLD_OS_KILLED -> from;
        default -> "";
      };
    }
  }

  /// One move under a daemon of its own, and what became of it under this process.
  private void move(int number, String name, Fault fault) throws Exception {
    String from = systems().container(name).os().name();
    String to = from.equals("older") ? "newer" : "older";
    int delay = random.nextInt(LONGEST_DELAY_MS);
    String step = fault == Fault.RESTORE_FAILS ? "usleep " + delay * 1000L + "; exit 1" : "";
    stage().beforeRestore(to, name, step);
    Order order =
        new Order(name, from, to, fault, delay, stage().os(from).pid(), stage().os(to).pid());
    stage().letGo();
    carryOut(order);
    stage().takeBack();
    check("move " + number + " of " + order.text(), order);
  }

  private void carryOut(Order order) throws Exception {
    Process daemon = stage().launchDaemon();
    List<Process> all = new ArrayList<>(List.of(daemon));
    try {
      for (String each : lodgers.keySet()) {
        Workshop.await(each, LIMIT, () -> stage().runs(each));
      }
      Process asking = stage().launchMove(order.name(), order.to());
      all.add(asking);
      stage().awaitIn(asking, LIMIT, () -> stage().said("Planned"));
      Workshop.pause(Duration.ofMillis(order.delayMs()));
      switch (order.fault()) {
        case DAEMON_KILLED -> daemon.destroyForcibly().waitFor();
        case DAEMON_ENDED -> OsStage.end(daemon);
        case DAEMON_UPGRADED -> all.add(stage().launchDaemon("--upgrade"));
        case NEW_OS_SILENT -> silence(order.newPid());
        case OLD_OS_SILENT -> silence(order.oldPid());
        case NEW_OS_KILLED -> signal(order.newPid(), Signals.KILL);
        case OLD_OS_KILLED -> signal(order.oldPid(), Signals.KILL);
        case RESTORE_FAILS, NONE -> {}
      }
      assertThat(asking.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)).as(order.text()).isTrue();
      for (Process each : all) {
        if (each.isAlive()) {
          OsStage.end(each);
        }
      }
    } finally {
      for (Process each : all) {
        each.destroyForcibly().waitFor();
      }
    }
  }

  private void silence(int pid) {
    signal(pid, Signals.STOP);
    Workshop.pause(Duration.ofMillis(1 + random.nextInt(LONGEST_SILENCE_MS)));
    signal(pid, Signals.CONT);
  }

  private static void signal(int pid, int signal) {
    try (PidFd process = PidFd.open(pid)) {
      process.signal(signal);
    }
  }

  private void check(String what, Order order) throws Exception {
    String told = what + ": " + String.join(" / ", stage().daemon().told);
    if (order.fault().killsOs()) {
      stage().boot(order.killed(), order.killed().equals("older") ? "6.1" : "6.12");
    }
    for (String each : List.copyOf(lodgers.keySet())) {
      if (systems().view(each).state().hasEnded()) {
        // Its OS took it along, or half of its memory, where it was moving.
        boolean gone =
            systems().view(each).state() instanceof ContainerState.Lost(String os, _)
                && os.equals(order.killed());
        assertThat(order.fault().killsOs() && (gone || each.equals(order.name())))
            .as(told + " / " + each + ": " + systems().view(each).state())
            .isTrue();
        lost.merge(order.fault(), 1, Integer::sum);
        lodger(each).beginAgain(order.killed());
      }
      assertRuns(told, each);
    }
    String os = systems().container(order.name()).os().name();
    boolean arrived = os.equals(order.to());
    (arrived ? moved : stayed).merge(order.fault(), 1, Integer::sum);
    if (order.fault() == Fault.NONE || order.fault() == Fault.DAEMON_UPGRADED) {
      assertThat(arrived).as(told).isTrue();
    }
    if (order.fault() == Fault.RESTORE_FAILS) {
      assertThat(arrived).as(told).isFalse();
    }
    System.out.printf(
        Locale.ROOT,
        "  %s: in %s; clients waited %s ms%n",
        what,
        os,
        lodgers.values().stream()
            .map(Lodger::waitedMs)
            .filter(ms -> ms > 0)
            .map(Math::round)
            .toList());
  }

  private Lodger lodger(String name) {
    return Optional.ofNullable(lodgers.get(name)).orElseThrow();
  }

  private void assertRuns(String told, String name) {
    Container container = systems().container(name);
    assertThat(container.state()).as(told).isInstanceOf(ContainerState.Running.class);
    lodger(name).check(told);
    String other = container.os().name().equals("older") ? "newer" : "older";
    List<String> inOther =
        stage().os(other).run(List.of("ls", "/sys/fs/cgroup"), LIMIT).lines().toList();
    assertThat(inOther).as(told).doesNotContain(name);
    assertThat(OsStage.read(workspace.state().resolve("placements/" + name + ".json")))
        .as(told)
        .contains("\"move\":null");
    // The hardware unmaps what was taken out a moment later.
    Workshop.await(
        "neither to see the other's memory: " + told,
        LIMIT,
        () -> !stage().maps("older", "newer") && !stage().maps("newer", "older"));
  }
}
