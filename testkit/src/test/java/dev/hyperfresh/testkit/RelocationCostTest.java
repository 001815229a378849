package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.SystemsWatch;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a relocation costs a container's client, by the size of the container, beside the ordinary
/// way in the same run: a dump, a copy and a restore, and CRIU's own daemon for pages. Outside
/// `./verify`: `mvn test -DexcludedGroups= -Dgroups=measure -Dtest=RelocationCostTest`.
@Tag("slow")
@Tag("measure")
class RelocationCostTest {
  private static final int SMALL = 64;
  private static final int LARGE = 1024;
  private static final long MEMORY_BYTES = 2304L << 20;
  private static final long NEIGHBOUR_MEMORY_BYTES = 512L << 20;

  /// Moves of each container, half of them to the newer kernel.
  private static final int MOVES = 14;

  /// Moves into an OS that has just booted, each way.
  private static final int FRESH = 4;

  /// How much longer the client of sixteen times the memory may wait.
  private static final double MAX_GROWTH = 1.10;

  /// How many times as long the ordinary way must keep the client waiting.
  private static final double MIN_ORDINARY_RATIO = 10;

  /// How much faster than CRIU's own daemon pages must come.
  private static final double MIN_DRAIN_RATIO = 10;

  /// What a host whose KVM runs Linux at speed has to hold, milliseconds.
  private static final double MAX_KVM_OUTAGE_MS = 300;

  /// Moves beside neighbours, half of them with neighbours that rest.
  private static final int NEIGHBOUR_MOVES = 18;

  /// How many times as long the client may wait beside neighbours that never rest.
  private static final double MAX_NEIGHBOUR_RATIO = 1.5;

  private static final List<String> NEIGHBOURS = List.of("n1", "n2");

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private final boolean isFast = Workshop.KVM.verdict() == KvmProbe.Verdict.USABLE;

  @Test
  void theOutageBesideTheOrdinaryWay() throws IOException {
    try (TestNetwork network = bridged();
        Systems systems = systems()) {
      boot(systems, "older", "6.1");
      boot(systems, "newer", "6.12");
      Sample small = new Sample(SMALL + " MiB");
      Sample large = new Sample(LARGE + " MiB");
      Sample copied = new Sample("the ordinary way");
      Sample first = new Sample("ours");
      double stock;
      double own = 0;
      try (OutageClient few = serve(network, systems, "small", SMALL, 5);
          OutageClient many = serve(network, systems, "large", LARGE, 6)) {
        // As it is used: into an OS that has just booted, and each way once first.
        for (int i = 0; i < 2 * FRESH; i++) {
          boolean isOrdinary = i % 4 == 0 || i % 4 == 3;
          (isOrdinary ? copied : first)
              .add(
                  intoFresh(
                      network, systems, few, isOrdinary ? Transport.COPIED : Transport.MAPPED));
        }
        stock =
            outage(network, systems, few, "small", "newer", Transport.COPIED_LAZILY)
                .record()
                .drain()
                .mibPerSecond();
        var _ = outage(network, systems, few, "small", "older", Transport.COPIED);
        // By turns, so that both have the same part of what else goes on here; and each goes first
        // as often to either side, because the second one finds the new OS warm.
        for (int i = 0; i < MOVES; i++) {
          if (i % 4 < 2) {
            own = Math.max(own, mapped(network, systems, few, "small", i, small));
          }
          own = Math.max(own, mapped(network, systems, many, "large", i, large));
          if (i % 4 >= 2) {
            own = Math.max(own, mapped(network, systems, few, "small", i, small));
          }
        }
        for (OutageClient client : List.of(few, many)) {
          assertThat(client.verified()).startsWith("good ");
          assertThat(client.fault()).isEmpty();
        }
      }
      System.out.printf(
          Locale.ROOT,
          "  client waited: %s; %s; %.2f times as long for %d times the memory%n",
          small,
          large,
          large.median() / small.median(),
          LARGE / SMALL);
      System.out.printf(
          Locale.ROOT,
          "  into an OS that has just booted, %d MiB: %s; %s; %.1f times as long;"
              + " CRIU's own daemon: %.1f MiB/s, ours at best %.0f%n",
          SMALL,
          copied,
          first,
          copied.median() / first.median(),
          stock,
          own);
      assertThat(large.median())
          .isLessThan(MAX_GROWTH * small.median() + 2 * Sample.errorOfDifference(large, small));
      assertThat(copied.median()).isGreaterThan(MIN_ORDINARY_RATIO * first.median());
      assertThat(own).isGreaterThan(MIN_DRAIN_RATIO * stock);
      if (isFast) {
        assertThat(large.median()).isLessThan(MAX_KVM_OUTAGE_MS);
      } else {
        System.out.println("  not checked, less than 300 ms at 1 GiB: " + Workshop.KVM.reason());
      }
    }
  }

  private static TestNetwork bridged() {
    TestNetwork network = TestNetwork.create();
    network.ip("link", "set", "lo", "up");
    network.ip("link", "add", "br0", "type", "bridge");
    network.ip("addr", "add", "10.78.0.1/24", "dev", "br0");
    network.ip("link", "set", "br0", "up");
    return network;
  }

  private static Systems systems() throws IOException {
    return new Systems(
        WORKSPACE.state(),
        Files.createDirectories(WORKSPACE.state().resolve("run")),
        SystemsWatch.NONE);
  }

  /// Two containers in either OS never rest, or are stopped, by turns; so both have the same part
  /// of what else goes on here.
  @Test
  void neighboursThatNeverRestDoNotMultiplyTheOutage() throws IOException {
    try (TestNetwork network = bridged();
        Systems systems = systems()) {
      Path bundle = ContainerBundle.busy(WORKSPACE.state().resolve("bundle-busy"));
      for (String os : List.of("older", "newer")) {
        boot(systems, os, os.equals("older") ? "6.1" : "6.12", 1, NEIGHBOUR_MEMORY_BYTES);
        for (String name : NEIGHBOURS) {
          var _ =
              systems.run(
                  new ContainerSpec(name + "-" + os, bundle, Optional.empty()), os, Progress.NONE);
        }
      }
      Sample rest = new Sample("beside neighbours that rest");
      Sample busy = new Sample("beside neighbours that do not");
      try (OutageClient client = serve(network, systems, "small", SMALL, 5)) {
        for (int i = 0; i < NEIGHBOUR_MOVES; i++) {
          boolean isBusy = i % 4 >= 2;
          let(systems, isBusy);
          double outage =
              outage(
                      network,
                      systems,
                      client,
                      "small",
                      i % 2 == 0 ? "newer" : "older",
                      Transport.MAPPED)
                  .outage();
          // The first to each side warms it up.
          if (i >= 2) {
            (isBusy ? busy : rest).add(outage);
          }
        }
        let(systems, false);
        assertThat(client.verified()).startsWith("good ");
        assertThat(client.fault()).isEmpty();
      }
      System.out.printf(
          Locale.ROOT,
          "  client waited: %s; %s; %.2f times as long%n",
          rest,
          busy,
          busy.median() / rest.median());
      assertThat(busy.median())
          .isLessThan(
              MAX_NEIGHBOUR_RATIO * rest.median() + 2 * Sample.errorOfDifference(rest, busy));
    }
  }

  /// Has the neighbours in both OSes run, or stop.
  private static void let(Systems systems, boolean run) {
    for (String os : List.of("older", "newer")) {
      for (String name : NEIGHBOURS) {
        var _ =
            systems
                .get(os)
                .run(
                    List.of(
                        "sh",
                        "-c",
                        "echo "
                            + (run ? 0 : 1)
                            + " >/sys/fs/cgroup/"
                            + name
                            + "-"
                            + os
                            + "/cgroup.freeze"),
                    Duration.ofMinutes(1));
      }
    }
  }

  private double intoFresh(
      TestNetwork network, Systems systems, OutageClient client, Transport transport) {
    boot(systems, "fresh", "6.12");
    double outage = outage(network, systems, client, "small", "fresh", transport).outage();
    var _ = outage(network, systems, client, "small", "older", Transport.MAPPED);
    systems.delete("fresh");
    return outage;
  }

  private void boot(Systems systems, String name, String kernel) {
    boot(systems, name, kernel, 2, MEMORY_BYTES);
  }

  private void boot(Systems systems, String name, String kernel, int vcpus, long memoryBytes) {
    var _ =
        systems.create(
            new VmSettings<>(
                name,
                OsDaemon.release(kernel),
                Workshop.release("qemu-10.0"),
                isFast ? Accelerator.KVM : Accelerator.TCG,
                vcpus,
                memoryBytes));
  }

  private static OutageClient serve(
      TestNetwork network, Systems systems, String name, int mebibytes, int host)
      throws IOException {
    Path bundle = ContainerBundle.build(WORKSPACE.state().resolve("bundle-" + name), mebibytes, 0);
    String address = "10.78.0." + host;
    return network.within(() -> {
      var _ =
          systems.run(
              new ContainerSpec(
                  name,
                  bundle,
                  Optional.of(
                      new ContainerSpec.Network(
                          address + "/24", Optional.empty(), Optional.of("br0")))),
              "older",
              Progress.NONE);
      try {
        return OutageClient.open(
            new InetSocketAddress(address, ContainerBundle.PORT), Duration.ofMinutes(2));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
  }

  private record Moved(RelocationRecord record, double outage) {}

  private static Moved outage(
      TestNetwork network,
      Systems systems,
      OutageClient client,
      String name,
      String to,
      Transport transport) {
    Workshop.pause(Duration.ofSeconds(1));
    client.takeLongestMs();
    RelocationRecord record =
        network.within(() -> systems.relocate(name, to, transport, Progress.NONE));
    assertThat(record.outcome()).as(record.detail()).isEqualTo("committed");
    double outage = client.takeLongestMs();
    System.out.printf(
        Locale.ROOT,
        "  %s to %s, %s: client waited %.0f ms; %s; %.0f MiB/s%n",
        name,
        to,
        transport.label(),
        outage,
        record.phasesMs(),
        record.drain().mibPerSecond());
    return new Moved(record, outage);
  }

  /// Until the memory of a container lies in huge pages, as that of a program that runs for long.
  private static void awaitGathered(Systems systems, String os, String name) {
    String file = "/run/containers/" + name + "/gather";
    long begin = System.nanoTime();
    var _ =
        systems
            .get(os)
            .run(
                List.of(
                    "/bin/sh",
                    "-c",
                    "read -r pid _ <"
                        + file
                        + "; while kill -0 $pid 2>/dev/null; do usleep 200000; done"),
                Duration.ofMinutes(3));
    System.out.printf(
        Locale.ROOT,
        "  %s lies together after another %.0f s%n",
        name,
        (System.nanoTime() - begin) / 1e9);
  }

  /// The first move to each side warms it up.
  private static double mapped(
      TestNetwork network,
      Systems systems,
      OutageClient client,
      String name,
      int index,
      Sample sample) {
    String to = index % 2 == 0 ? "newer" : "older";
    Moved moved = outage(network, systems, client, name, to, Transport.MAPPED);
    awaitGathered(systems, to, name);
    assertThat(moved.record().frozenBytes()).isLessThan(moved.record().memoryBytes() / 100);
    if (index >= 2) {
      sample.add(moved.outage());
    }
    return moved.record().drain().mibPerSecond();
  }
}
