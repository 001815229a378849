package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Two operating systems, `older` and `newer`, and a container with an address in the first, which
/// clients ask all the time. They serve all tests of a class.
abstract class RelocationScene {
  static final String ADDRESS = "10.78.0.5";
  static final String ADDRESS6 = "fd78::5";
  static final String LATE_ADDRESS = "10.78.0.9";
  static final int MEBIBYTES = 64;
  static final Duration LIMIT = Duration.ofMinutes(3);

  /// What a client may wait for a move that leads back: as long as the container stands, and as
  /// long again until its kernel sends once more what was lost meanwhile.
  private static final double MOST_WAIT_MS = 30_000;

  /// An OS takes its time from a clock of whole seconds.
  private static final double MOST_CLOCK_MS = 20;

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();
  static final Witness WITNESS = new Witness();
  static Optional<TestNetwork> network = Optional.empty();
  static Optional<Systems> systems = Optional.empty();

  @BeforeAll
  static void boot() throws IOException {
    TestNetwork made = TestNetwork.create();
    network = Optional.of(made);
    made.ip("link", "set", "lo", "up");
    made.ip("link", "add", "br0", "type", "bridge");
    made.ip("addr", "add", "10.78.0.1/24", "dev", "br0");
    made.ip("addr", "add", "fd78::1/64", "dev", "br0", "nodad");
    made.ip("link", "set", "br0", "up");
    Path run = Files.createDirectories(WORKSPACE.state().resolve("run"));
    Systems all = new Systems(WORKSPACE.state(), run, WITNESS);
    systems = Optional.of(all);
    Workshop.together(() -> create("older", "6.1"), () -> create("newer", "6.12"));
    Path bundle = ContainerBundle.build(WORKSPACE.state().resolve("bundle"), MEBIBYTES, 1);
    ContainerSpec spec =
        new ContainerSpec(
            "c1",
            bundle,
            Optional.of(
                new ContainerSpec.Network(
                    Optional.of(ADDRESS + "/24"),
                    Optional.empty(),
                    Optional.of("br0"),
                    Optional.of(ADDRESS6 + "/64"),
                    Optional.of("fd78::1"),
                    List.of("fd78::1"))));
    Container container = made.within(() -> all.run(spec, "older", Progress.NONE));
    assertThat(container.state()).isInstanceOf(ContainerState.Running.class);
  }

  @AfterAll
  static void end() {
    systems.ifPresent(Systems::close);
    network.ifPresent(TestNetwork::close);
  }

  static OsVm create(String name, String kernel) {
    // The timer of a second processor that is translated may stand still, and programs with it.
    int vcpus = Workshop.KVM.verdict() == KvmProbe.Verdict.USABLE ? 2 : 1;
    OsVm os = systems().create(OsDaemon.settings(name, kernel, vcpus, 1L << 30));
    // What it says of a rehearsal that failed is in the log of the test; here it is an error.
    assertThat(os.run(List.of("/usr/lib/hyperfresh/rehearse"), LIMIT)).isEqualTo("rehearsed");
    double clockMs = OsClock.offsetMs(os);
    System.out.printf(
        Locale.ROOT,
        "  %s runs Linux %s: up after %.1f s, its clock %.3f ms from the host's%n",
        name,
        os.settings().release().kernelVersion(),
        os.bootMs() / 1000,
        clockMs);
    assertThat(Math.abs(clockMs)).isLessThan(MOST_CLOCK_MS);
    return os;
  }

  static Systems systems() {
    return systems.orElseThrow();
  }

  static OutageClient client() {
    return client(ADDRESS);
  }

  static OutageClient client(String address) {
    return network
        .orElseThrow()
        .within(() -> {
          try {
            return OutageClient.open(
                new InetSocketAddress(address, ContainerBundle.PORT), Duration.ofMinutes(1));
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  static Socket connected(TestNetwork net) {
    return net.within(() -> {
      try {
        Socket client = new Socket();
        int millis = Math.toIntExact(LIMIT.toMillis());
        client.connect(new InetSocketAddress(LATE_ADDRESS, ContainerBundle.PORT), millis);
        client.setSoTimeout(millis);
        return client;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
  }

  static RelocationRecord relocate(String to, Progress progress) {
    return network
        .orElseThrow()
        .within(() -> systems().relocate("c1", to, Transport.MAPPED, progress));
  }

  /// What was first while the container stood is ordinary again: of all processes but the agent and
  /// the kernel's none has another policy, and the container's group its weight.
  static void assertOrdinary(OsVm os) {
    String policies =
        "cat /proc/[0-9]*/task/*/stat 2>/dev/null | sed 's/ (.*) / /'"
            + " | awk '$1 > 2 && $3 != 2 && $40 != 0'; cat /sys/fs/cgroup/c1/cpu.weight";
    assertThat(os.run(List.of("sh", "-c", policies), LIMIT).strip()).isEqualTo("100");
  }

  static void assertRolledBack(RelocationRecord move, OutageClient client) {
    assertThat(move.outcome()).isEqualTo("rolled-back");
    assertThat(Views.relocation(move))
        .containsEntry("problem", Problem.RELOCATE_ROLLED_BACK.code());
    assertThat(systems().container("c1").os().name()).isEqualTo("older");
    assertThat(systems().container("c1").state()).isInstanceOf(ContainerState.Running.class);
    assertThat(client.verified()).startsWith("good ");
    assertThat(client.fault()).isEmpty();
    double waited = client.takeLongestMs();
    System.out.printf(
        Locale.ROOT,
        "  rolled back: client waited %.0f ms; %s; %s%n",
        waited,
        move.phasesMs(),
        move.detail());
    assertThat(waited).isLessThan(MOST_WAIT_MS * Workshop.crowd());
    assertThat(systems().execute("c1", List.of("/bin/app")).output()).contains("usage");
    assertOrdinary(systems().get("older"));
  }
}
