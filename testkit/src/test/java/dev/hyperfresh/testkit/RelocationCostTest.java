package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsSettings;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
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

  /// Moves of each container, half of them to the newer kernel.
  private static final int MOVES = 14;

  /// How much longer the client of sixteen times the memory may wait.
  private static final double MAX_GROWTH = 1.25;

  /// How many times as long the ordinary way must keep the client waiting.
  private static final double MIN_ORDINARY_RATIO = 3;

  /// How much faster than CRIU's own daemon pages must come.
  private static final double MIN_DRAIN_RATIO = 10;

  /// What a host whose KVM runs Linux at speed has to hold, milliseconds.
  private static final double MAX_KVM_OUTAGE_MS = 300;

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private final boolean isFast = Workshop.KVM.verdict() == KvmProbe.Verdict.USABLE;

  @Test
  void theOutageBesideTheOrdinaryWay() throws IOException {
    Path run = Files.createDirectories(WORKSPACE.state().resolve("run"));
    try (TestNetwork network = TestNetwork.create();
        Systems systems = new Systems(WORKSPACE.state(), run)) {
      network.ip("link", "set", "lo", "up");
      network.ip("link", "add", "br0", "type", "bridge");
      network.ip("addr", "add", "10.78.0.1/24", "dev", "br0");
      network.ip("link", "set", "br0", "up");
      boot(systems, "older", "6.1");
      boot(systems, "newer", "6.12");
      Sample small = new Sample(SMALL + " MiB");
      Sample large = new Sample(LARGE + " MiB");
      Sample copied = new Sample("copied");
      double stock;
      double own = 0;
      try (OutageClient few = serve(network, systems, "small", SMALL, 5);
          OutageClient many = serve(network, systems, "large", LARGE, 6)) {
        copied.add(outage(network, systems, few, "small", "newer", Transport.COPIED).outage());
        copied.add(outage(network, systems, few, "small", "older", Transport.COPIED).outage());
        copied.add(outage(network, systems, few, "small", "newer", Transport.COPIED).outage());
        stock =
            outage(network, systems, few, "small", "older", Transport.COPIED_LAZILY)
                .record()
                .drain()
                .mibPerSecond();
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
          assertThat(client.isMemoryGood()).isTrue();
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
          "  the ordinary way at %d MiB: %.0f ms, %.1f times as long; CRIU's own daemon: %.1f MiB/s,"
              + " ours at best %.0f%n",
          SMALL,
          copied.median(),
          copied.median() / small.median(),
          stock,
          own);
      assertThat(large.median())
          .isLessThan(MAX_GROWTH * small.median() + 2 * Sample.errorOfDifference(large, small));
      assertThat(copied.median()).isGreaterThan(MIN_ORDINARY_RATIO * small.median());
      assertThat(own).isGreaterThan(MIN_DRAIN_RATIO * stock);
      if (isFast) {
        assertThat(large.median()).isLessThan(MAX_KVM_OUTAGE_MS);
      } else {
        System.out.println("  not checked, less than 300 ms at 1 GiB: " + Workshop.KVM.reason());
      }
    }
  }

  private void boot(Systems systems, String name, String kernel) {
    var _ =
        systems.create(
            new OsSettings(
                name,
                OsDaemon.release(kernel),
                Workshop.release("qemu-10.0"),
                isFast ? Accelerator.KVM : Accelerator.TCG,
                2,
                MEMORY_BYTES));
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

  /// The first move to each side warms it up.
  private static double mapped(
      TestNetwork network,
      Systems systems,
      OutageClient client,
      String name,
      int index,
      Sample sample) {
    Moved moved =
        outage(
            network, systems, client, name, index % 2 == 0 ? "newer" : "older", Transport.MAPPED);
    assertThat(moved.record().frozenBytes()).isLessThan(moved.record().memoryBytes() / 100);
    if (index >= 2) {
      sample.add(moved.outage());
    }
    return moved.record().drain().mibPerSecond();
  }
}
