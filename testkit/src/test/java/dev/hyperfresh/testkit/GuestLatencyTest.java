package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.linux.Background;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a guest that serves requests feels of a whole replacement, commands and rehearsal included,
/// with what belongs to it behind the guest and, by turns, beside it as an equal. A peer on the
/// network asks it something every few milliseconds and measures each answer.
///
/// A measurement of minutes, which `./verify` leaves out: `-DexcludedGroups= -Dgroups=measure`.
@Tag("slow")
@Tag("measure")
@Timeout(1800)
class GuestLatencyTest {
  private static final String GUEST = "server";
  private static final String TAP = "hf-peer0";
  private static final int TURNS = Integer.getInteger("hyperfresh.turns", 6);
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final QemuRelease older = Workshop.release("qemu-7.2");
  private final QemuRelease newer = Workshop.release("qemu-10.0");
  private boolean onNewer;

  /// How the commands and the processes of a replacement stand to the guest.
  private enum Way {
    /// Nothing is done: the noise floor.
    NOTHING,
    EQUAL,
    BEHIND
  }

  /// What the guest is waited for in.
  private enum Step {
    COMMANDS,
    DRY_RUN,
    REPLACEMENT
  }

  @Test
  void whatAServingGuestFeelsOfAReplacement() throws Exception {
    try (TestNetwork network = TestNetwork.create();
        Daemon daemon =
            Daemon.start(
                new DaemonConfig(
                    workspace.state(),
                    Workshop.CACHE.resolve("releases"),
                    Workshop.CACHE.resolve("apt")))) {
      Nic nic = new Nic(TAP, Optional.empty(), "52:54:00:77:00:02");
      GuestSpec spec = Workshop.linux(GUEST, 256, List.of(), List.of(nic));
      network.within(() -> daemon.hyperplexor().create(spec, older, Progress.NONE));
      network.ip("addr", "add", "10.77.0.1/24", "dev", TAP);
      Workshop.awaitReady(workspace.files(GUEST));
      try (OutageClient client = network.within(GuestLatencyTest::client)) {
        measure(client);
        assertThat(client.fault()).isEmpty();
      }
      daemon.hyperplexor().delete(GUEST);
    }
  }

  private static OutageClient client() {
    try {
      return OutageClient.open(new InetSocketAddress("10.77.0.2", 7), PATIENCE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void measure(OutageClient client) throws Exception {
    Map<Way, Map<Step, Sample>> all = new EnumMap<>(Way.class);
    Map<Way, Sample> longest = new EnumMap<>(Way.class);
    for (Way way : Way.values()) {
      all.put(way, new EnumMap<>(Step.class));
      longest.put(way, new Sample("longest wait of a turn, " + way));
      for (Step step : Step.values()) {
        in(all, way).put(step, new Sample(step + " " + way));
      }
    }
    // Classes are loaded and both pairs have been rehearsed.
    turn(Way.EQUAL, client);
    turn(Way.BEHIND, client);
    for (int i = 0; i < TURNS; i++) {
      for (Way way : Way.values()) {
        double worst = 0;
        for (Map.Entry<Step, List<Double>> step : turn(way, client).entrySet()) {
          for (double millis : step.getValue()) {
            in(in(all, way), step.getKey()).add(millis);
            worst = Math.max(worst, millis);
          }
        }
        in(longest, way).add(worst);
        System.out.printf(
            Locale.ROOT, "  turn %d of %d, %s: longest %.2f ms%n", i + 1, TURNS, way, worst);
      }
    }
    for (Step step : Step.values()) {
      for (Way way : Way.values()) {
        Sample waits = in(in(all, way), step);
        System.out.printf(
            Locale.ROOT,
            "  %-11s %-7s p50 %7.2f p90 %7.2f p99 %7.2f max %7.2f ms, n %d%n",
            step,
            way,
            waits.quantile(0.5),
            waits.quantile(0.9),
            waits.quantile(0.99),
            waits.quantile(1),
            waits.size());
      }
    }
    longest.values().forEach(sample -> System.out.println("  " + sample));
    assertThat(in(longest, Way.BEHIND).median())
        .as("the longest wait behind the guest, ms, against that beside it")
        .isLessThanOrEqualTo(
            in(longest, Way.EQUAL).median()
                + 2 * Sample.errorOfDifference(in(longest, Way.BEHIND), in(longest, Way.EQUAL)));
  }

  private Map<Step, List<Double>> turn(Way way, OutageClient client) throws Exception {
    System.setProperty(Background.SWITCH, Boolean.toString(way == Way.BEHIND));
    Map<Step, List<Double>> waits = new EnumMap<>(Step.class);
    String to = (onNewer ? older : newer).name();
    client.takeWaitsMs();
    if (way == Way.NOTHING) {
      for (Step step : Step.values()) {
        Workshop.pause(Duration.ofSeconds(2));
        waits.put(step, client.takeWaitsMs());
      }
      return waits;
    }
    for (int i = 0; i < 3; i++) {
      run(way, "guest", "show", GUEST);
    }
    waits.put(Step.COMMANDS, client.takeWaitsMs());
    run(way, "replace", GUEST, "--to", to, "--dry-run");
    waits.put(Step.DRY_RUN, client.takeWaitsMs());
    run(way, "replace", GUEST, "--to", to, "--max-blackout", "10000");
    onNewer = !onNewer;
    waits.put(Step.REPLACEMENT, client.takeWaitsMs());
    return waits;
  }

  /// As the launcher starts a command.
  private void run(Way way, String... arguments) throws Exception {
    List<String> command = new ArrayList<>();
    if (way == Way.BEHIND) {
      command.addAll(List.of("nice", "-n", "10"));
    }
    command.addAll(CommandRun.command(arguments));
    command.addAll(List.of("--state", workspace.state().toString()));
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(workspace.state().resolve("command.log").toFile())
            .start();
    assertThat(process.waitFor()).as(String.join(" ", arguments)).isZero();
  }

  private static <K, V> V in(Map<K, V> map, K key) {
    return Optional.ofNullable(map.get(key)).orElseThrow();
  }
}
