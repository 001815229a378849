package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.Replaced;
import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsRecipe;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.RestartPolicy;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmReleases;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;

/// One demonstration of operating systems, on a daemon that belongs to it.
final class OsDemoRun {
  private static final String HARDWARE = "qemu-10.0";
  private static final String OLDER = "6.1";
  private static final String NEWER = "6.12";
  private static final String BRIDGE = "hf-demo";
  private static final String HOST_ADDRESS = "10.78.0.1/24";
  private static final int VCPUS = 2;
  private static final long MEMORY_BYTES = 1536L << 20;
  private static final Duration PATIENCE = Duration.ofMinutes(2);
  private static final Duration SAMPLE = Duration.ofSeconds(3);

  private final Daemon daemon;
  private final PrintStream out;

  OsDemoRun(Daemon daemon, PrintStream out) {
    this.daemon = daemon;
    this.out = out;
  }

  /// One container and who asks it.
  private record Served(String name, int mebibytes, OutageClient client) {}

  /// Brings everything that a demonstration needs and this machine lacks.
  static void fetch(Cache cache, PrintStream out) {
    Consumer<String> say = line -> out.println("  " + line);
    cache.releases().fetch(HARDWARE, say);
    VmReleases<OsRelease> releases = cache.osReleases();
    for (String kernel : List.of(OLDER, NEWER)) {
      var _ =
          releases
              .find("os-" + kernel)
              .orElseGet(() -> releases.build(kernel, OsRecipe.USERLAND, say));
    }
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RUN_LOST] when anything that it
  ///   shows was lost
  void run(boolean json) {
    DemoRun.ip("link", "set", "lo", "up");
    DemoRun.ip("link", "add", BRIDGE, "type", "bridge");
    DemoRun.ip("addr", "add", HOST_ADDRESS, "dev", BRIDGE);
    DemoRun.ip("link", "set", BRIDGE, "up");
    List<Served> served = new ArrayList<>();
    List<Map<String, Object>> moves = new ArrayList<>();
    try (Losses losses = Losses.of(daemon)) {
      losses.during(() -> demonstrate(served, moves, losses));
      served.stream()
          .filter(one -> !one.client().fault().isEmpty())
          .forEach(one ->
              losses.add(
                  "The connection to container " + one.name() + " broke: " + one.client().fault()));
      if (json) {
        System.out.println(
            JsonMapper.shared()
                .writeValueAsString(Map.of("relocations", moves, "lost", losses.all())));
      }
      losses.require();
    } finally {
      served.forEach(one -> one.client().close());
    }
  }

  private void demonstrate(List<Served> served, List<Map<String, Object>> moves, Losses losses) {
    Progress say = (_, text) -> out.println("  " + text);
    out.println("An OS with Linux " + OLDER + " and two containers in it that serve TCP");
    daemon.systems().create("os1", "os-" + OLDER, VCPUS, MEMORY_BYTES, say);
    served.add(serve("small", 64, 5));
    served.add(serve("large", 256, 6));
    out.println("The new OS boots beside the old one while the containers keep running");
    daemon.systems().create("os2", "os-" + NEWER, VCPUS, MEMORY_BYTES, say);
    Map<String, Compared> compared = new LinkedHashMap<>();
    served.forEach(one -> compared.put(one.name(), compare(one)));
    move(served, compared, say, moves, losses);
  }

  private Served serve(String name, int mebibytes, int host) {
    String address = "10.78.0." + host;
    try {
      Path bundle =
          ContainerBundle.build(daemon.config().state().resolve("bundle-" + name), mebibytes, 0);
      daemon
          .systems()
          .run(
              new ContainerSpec(
                  name,
                  bundle,
                  Optional.of(
                      new ContainerSpec.Network(
                          address + "/24", Optional.empty(), Optional.of(BRIDGE)))),
              RestartPolicy.NO,
              "os1",
              Progress.NONE);
      OutageClient client =
          OutageClient.open(new InetSocketAddress(address, ContainerBundle.PORT), PATIENCE);
      out.printf("  %s has %d MiB and answers at %s%n", name, mebibytes, address);
      return new Served(name, mebibytes, client);
    } catch (IOException e) {
      throw Problem.INTERNAL.because("Container " + name + ": " + e.getMessage(), e);
    }
  }

  /// What the ordinary way took.
  ///
  /// @param outageMs for a dump, a copy and a restore, as the client saw it
  /// @param drainMibS by which CRIU's own daemon fetched pages
  private record Compared(double outageMs, double drainMibS) {}

  private Compared compare(Served one) {
    out.printf(
        "  For comparison, %s moves in the ordinary way, there and back; %d MiB by TCP, which takes"
            + " a while%n",
        one.name(), one.mebibytes());
    one.client().takeLongestMs();
    var _ = moved(one, "os2", Transport.COPIED);
    double outage = one.client().takeLongestMs();
    RelocationRecord back = moved(one, "os1", Transport.COPIED_LAZILY);
    return new Compared(outage, back.drain().mibPerSecond());
  }

  private RelocationRecord moved(Served one, String to, Transport transport) {
    RelocationRecord record =
        daemon.systems().relocate(one.name(), to, transport, true, Progress.NONE);
    if (!record.outcome().equals("committed")) {
      throw Problem.RELOCATE_ROLLED_BACK.because(one.name() + ": " + record.detail());
    }
    return record;
  }

  private void move(
      List<Served> served,
      Map<String, Compared> compared,
      Progress say,
      List<Map<String, Object>> moves,
      Losses losses) {
    served.forEach(one -> one.client().takeLongestMs());
    LockSupport.parkNanos(SAMPLE.toNanos());
    Map<String, Double> floor = new LinkedHashMap<>();
    served.forEach(one -> floor.put(one.name(), one.client().takeLongestMs()));
    Replaced<RelocationRecord> replaced =
        daemon
            .systems()
            .replace(
                "os1",
                "os2",
                Rollout.ONE_BY_ONE,
                (_, state, text) -> {
                  say.step(state, text);
                  return true;
                });
    for (Served one : served) {
      double outage = one.client().takeLongestMs();
      replaced.rollout().entries().stream()
          .flatMap(entry -> entry.record().stream())
          .filter(move -> move.container().equals(one.name()))
          .findFirst()
          .ifPresentOrElse(
              record ->
                  moves.add(
                      show(
                          one,
                          record,
                          outage,
                          floor.getOrDefault(one.name(), 0.0),
                          compared.getOrDefault(one.name(), new Compared(0, 0)),
                          losses)),
              () -> losses.add("Container " + one.name() + " did not move."));
    }
  }

  private Map<String, Object> show(
      Served one,
      RelocationRecord record,
      double outage,
      double noise,
      Compared ordinary,
      Losses losses) {
    boolean verified = one.client().isMemoryGood();
    if (!record.outcome().equals("committed")) {
      losses.add("Container " + one.name() + ": " + record.outcome() + ", " + record.detail());
    }
    if (!verified) {
      losses.add("Not every page of container " + one.name() + " was found as it was written.");
    }
    Map<String, Object> move = new LinkedHashMap<>(Views.relocation(record));
    move.put("outage_ms", tenths(outage));
    move.put("noise_floor_ms", tenths(noise));
    move.put("baseline_outage_ms", tenths(ordinary.outageMs()));
    move.put("criu_drain_mib_s", tenths(ordinary.drainMibS()));
    move.put("pages_verified", verified);
    move.put("tcp_survived", one.client().fault().isEmpty());
    print(one, record, outage, noise, move);
    out.printf(
        Locale.ROOT,
        "    the ordinary way: a dump, a copy by TCP and a restore kept the client waiting %.0f ms, %.1f"
            + " times as long; CRIU's own daemon fetched %.1f MiB/s%n",
        ordinary.outageMs(),
        ordinary.outageMs() / outage,
        ordinary.drainMibS());
    return move;
  }

  private static double tenths(double value) {
    return Math.round(value * 10) / 10.0;
  }

  private void print(
      Served one, RelocationRecord record, double outage, double noise, Map<String, Object> move) {
    out.printf(
        Locale.ROOT,
        "%n  %s: Linux %s → %s, %s%n",
        one.name(),
        record.kernelFrom(),
        record.kernelTo(),
        record.outcome());
    out.printf(
        Locale.ROOT,
        "    its client waited %.0f ms at most (%.0f ms before the move); the connection %s%n",
        outage,
        noise,
        one.client().fault().isEmpty() ? "held" : "broke: " + one.client().fault());
    out.printf(
        Locale.ROOT,
        "    %d MiB of memory followed at %.0f MiB/s; %d bytes were copied while it was paused;"
            + " every page is %s%n",
        record.memoryBytes() >> 20,
        record.drain().mibPerSecond(),
        record.frozenBytes(),
        Boolean.TRUE.equals(move.get("pages_verified")) ? "as it was written" : "NOT as it was");
    out.println("    phases: " + move.get("phases_ms"));
  }
}
