package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port.Bridged;
import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.UserMode;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Tap;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;

/// Real ports, in a network of their own.
@Timeout(30)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PortTest {
  private final String network = "hf-port-" + ProcessHandle.current().pid();
  private boolean made;

  @BeforeAll
  void make() throws Exception {
    require(Host.effectiveUid() == 0, "needs root");
    require(Files.exists(Path.of("/dev/net/tun")), "needs /dev/net/tun");
    made = isMade();
    require(made, "no network namespace can be made");
    ip("link", "add", "br0", "type", "bridge", "stp_state", "0");
  }

  private boolean isMade() throws Exception {
    try {
      return new ProcessBuilder("ip", "netns", "add", network).start().waitFor() == 0;
    } catch (IOException e) {
      return false;
    }
  }

  @AfterAll
  void remove() throws Exception {
    if (made) {
      run("ip", "netns", "del", network);
    }
  }

  private static void require(boolean possible, String otherwise) {
    if (!possible) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  private static String run(String... command) throws Exception {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(said).isZero();
    return said;
  }

  private String ip(String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of("ip", "-n", network));
    command.addAll(List.of(arguments));
    return run(command.toArray(String[]::new));
  }

  private Path namespace() {
    return Path.of("/run/netns", network);
  }

  private Port.Successor successor(String bridge) {
    return new Port.Successor("new-0", new Bridged("old0", bridge, 1), namespace());
  }

  /// Broadcasts would pile up in it, and reach the guest when it has arrived.
  @Test
  void aNewPortJoinsItsBridgeWithTheSwitchOfACopy() throws Exception {
    Port.Successor port = successor("br0");
    assertThat(port.check())
        .isEqualTo(Check.pass("port new-0", "A new port replaces the old one in br0."));
    assertThat(port.spares()).hasSize(1);

    port.join(true);
    assertThat(ip("-o", "link", "show", "new-0")).doesNotContain("master");

    port.switchOver();
    port.switchOver();
    assertThat(ip("-o", "link", "show", "new-0")).contains("master br0", "UP");

    port.switchBack();
    port.drop();
    assertThat(ip("-o", "link")).doesNotContain("new-0");
    assertThat(port.spares()).as("another try").hasSize(1);
    port.join(false);
    assertThat(ip("-o", "link", "show", "new-0")).as("no copy").contains("master br0", "UP");
    port.switchOver();
    port.close();
  }

  /// The guest has arrived on it without a daemon.
  @Test
  void aNewPortJoinsItsBridgeUnderTheNextDaemon() throws Exception {
    Port.Successor first = successor("br0");
    List<Fd> queues = first.spares().stream().map(Fd::duplicate).toList();
    first.close();
    Bridged old = new Bridged("old0", "br0", 1);

    Endpoints next = Host.inNetworkNamespace(namespace(), () -> adopted(queues, old));
    assertThat(ip("-o", "link", "show", "new-0")).contains("master br0", "UP");

    ip("link", "set", "new-0", "nomaster");
    Host.inNetworkNamespace(
        namespace(),
        () -> {
          next.joinLate(List.of(old));
          return true;
        });
    assertThat(ip("-o", "link", "show", "new-0")).as("somebody took it out").doesNotContain("br0");
    next.close();
  }

  /// It is somebody else's: every hypervisor has a queue of its own, and it stays.
  @Test
  void aMacvtapIsOpenedByEveryHypervisorAndStays() throws Exception {
    String index = Long.toString(200_000 + ProcessHandle.current().pid() % 50_000);
    try {
      ip("link", "add", "cab0", "type", "veth", "peer", "name", "cab1");
      ip("link", "add", "link", "cab0", "name", "mv0", "index", index, "type", "macvtap");
    } catch (AssertionError refused) {
      require(false, "no macvtap can be made: " + refused.getMessage());
    }
    GuestSpec spec = spec(List.of(Nic.ofMacvtap("mv0", "52:54:00:00:00:01")));
    MacVtap first = Host.inNetworkNamespace(namespace(), () -> MacVtap.of("mv0"));
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of(),
            Path.of("/q"),
            Optional.empty(),
            List.of(),
            List.of(new AdoptedMachine.Port.Kept(List.of(first.queue().number()))));

    Endpoints ports =
        Adopting.endpoints(
            spec, machine, List.of(first.queue()), (int) ProcessHandle.current().pid());
    assertThat(ports.checks())
        .containsExactly(Check.pass("port mv0", "A second queue of the macvtap can be opened."));
    Fd spare = ports.spares().getFirst();
    ports.join(false);
    ports.switchOver();
    ports.switchBack();
    ports.switchOver();
    ports.keep();
    assertThat(ports.queues()).containsExactly(spare);
    Fd survivor = spare.duplicate();
    ports.close();

    Endpoints next = Endpoints.adopt(List.of(survivor), spec, Optional.of(machine));
    assertThat(next.queues()).containsExactly(survivor);
    next.giveUp();
    assertThat(survivor.isOpen()).isFalse();
    assertThat(ip("-o", "link")).contains("mv0");
    ip("link", "del", "cab0");
  }

  /// One without a tap may stand before it.
  @Test
  void aTapIsFoundAgainBesideOtherCards() {
    Nic user =
        new Nic(
            "",
            Optional.empty(),
            "52:54:00:00:00:01",
            Card.PLAIN,
            Optional.of(new UserMode(List.of())));
    Nic tap = new Nic("new-3", Optional.empty(), "52:54:00:00:00:02");
    List<Fd> queues =
        List.of(Host.inNetworkNamespace(namespace(), () -> Tap.create("new-3")).queue());

    try (Endpoints ports =
        Host.inNetworkNamespace(
            namespace(),
            () -> Endpoints.adopt(queues, spec(List.of(user, tap)), Optional.empty()))) {
      assertThat(ports.queues()).isEqualTo(queues);
    }
  }

  private static GuestSpec spec(String... taps) {
    return spec(
        Stream.of(taps).map(tap -> new Nic(tap, Optional.empty(), "52:54:00:00:00:01")).toList());
  }

  private static GuestSpec spec(List<Nic> nics) {
    return new GuestSpec(
        "g",
        1,
        1 << 20,
        "pc-q35-7.2",
        "qemu64",
        GuestSpec.AcceleratorWish.TCG,
        Optional.empty(),
        List.of(),
        nics);
  }

  private static Endpoints adopted(List<Fd> queues, Bridged old) {
    Endpoints ports = Endpoints.adopt(queues, spec("new-0"), Optional.empty());
    ports.joinLate(List.of(old));
    return ports;
  }

  /// It carries nothing for a while.
  @Test
  void aPortOfABridgeThatLooksForLoopsJoinsAtOnce() throws Exception {
    ip("link", "add", "br1", "type", "bridge", "stp_state", "1", "forward_delay", "400");
    Port.Successor port = successor("br1");
    assertThat(port.check())
        .matches(check -> check.verdict() == Verdict.PASS)
        .extracting(Check::sentences)
        .asString()
        .contains("carries nothing for the first 8 s", "ip link set br1 type bridge stp_state 0");
    assertThat(port.spares()).hasSize(1);

    port.join(true);

    assertThat(ip("-o", "link", "show", "new-0")).contains("master br1");
    port.switchOver();
    port.close();
  }

  @Test
  void whatWouldKeepItFromBeingMadeIsFoundBefore() throws Exception {
    assertThat(successor("br9").check())
        .isEqualTo(
            Check.fail(
                "port new-0",
                "There is no bridge br9 any more.",
                "Make it again, with its ports."));
    assertThat(
            new Port.Successor("new-0", new Bridged("old0", "br0", 1), Path.of("/no/ns")).check())
        .matches(Check::failed)
        .extracting(Check::finding)
        .asString()
        .contains("in place of old0", "/no/ns");
    assertThat(successor("no bridge has such a name").check().failed()).isTrue();
    try (Tap _ = Host.inNetworkNamespace(namespace(), () -> Tap.create("new-0"))) {
      assertThat(successor("br0").check())
          .matches(Check::failed)
          .extracting(Check::finding)
          .asString()
          .contains("There is a network interface new-0 already");
    }
    assertThat(successor("br0").check().failed()).isFalse();
  }

  /// It is tried again every second.
  @Test
  void portsThatCannotBeAdoptedLeaveNothingOpen() throws Exception {
    try (Tap tap = Host.inNetworkNamespace(namespace(), () -> Tap.create("new-1"));
        Fd noTap = Fd.open(Path.of("/dev/null"), OpenFlags.READ_ONLY)) {
      List<Fd> queues = List.of(tap.queue().duplicate(), noTap);
      long before = openDescriptors();
      for (int attempt = 0; attempt < 3; attempt++) {
        List<Fd> copies = queues.stream().map(Fd::duplicate).toList();
        assertThatThrownBy(() ->
                Host.inNetworkNamespace(
                    namespace(),
                    () -> Endpoints.adopt(copies, spec("new-1", "new-2"), Optional.empty())))
            .isInstanceOf(LinuxException.class);
        copies.forEach(Fd::close);
      }
      assertThat(openDescriptors()).isEqualTo(before);
      queues.forEach(Fd::close);
    }
  }

  private static long openDescriptors() throws Exception {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.count();
    }
  }
}
